"""Two real worker processes that ask for keys: changes under load, and limits that they share."""

import json
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import NamedTuple

import pytest
from support.access import bearer, id_in
from support.api_process import process, wait_until_ready
from support.api_server import metric, until

from api.access.keys import new_key

ROUTE = "/v1/samples"


class Reply(NamedTuple):
    status_code: int
    headers: dict[str, str]
    text: str


@pytest.fixture
def two_workers(shelf_dir, keys, tmp_path):
    """Give the process, a function that asks either worker, over a connection of its own, and one
    that waits until both have taken a change of a key: who answers says nothing of the other.
    """
    scraper = keys.add("metrics")
    places = {"KEYS_FILE": keys.path, "AUDIT_FILE": tmp_path / "audit", "DATA_DIR": tmp_path / "d"}
    # Nobody reads the log while the server runs, so it has to fit into a pipe.
    chosen = {"WORKERS": 2, "TARGETS": "numpy", "LOG_LEVEL": "ERROR", **places}
    both_may_open = 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with process(shelf_dir, tmp_path, **chosen) as (started, client):
        wait_until_ready(started, client)

        def ask(key, route=ROUTE):
            url = client.base_url
            with closing(HTTPConnection(url.host, url.port, timeout=60)) as connection:
                connection.request("GET", route, headers=bearer(key))
                reply = connection.getresponse()
                return Reply(reply.status, dict(reply.headers), reply.read().decode())

        until(lambda: metric(ask(scraper, "/metrics").text, "snn_fusion_max_fds") == both_may_open)

        def await_both(key, change):
            until(lambda: len(taken(places["AUDIT_FILE"], id_in(key), change)) == 2)

        yield started, ask, await_both


def taken(audit, key_id, change):
    """Return the audit log's lines of changes in which a key was `added` or `removed`."""
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    changes = [one for one in lines if one["event"] == "keys" and one["outcome"] == "taken"]
    return [one for one in changes if key_id in one[change]]


class Load:
    """Threads that ask with one key each, and what they were told that is not as it should be."""

    def __init__(self, ask, expected):
        self.wrong, self.asked = [], 0
        self._ask = ask
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=one) for one in expected.items()]

    def __enter__(self):
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for one in self._threads:
            one.join()

    def _run(self, key, status):
        while not self._ended.is_set():
            told = self._ask(key).status_code
            self.asked += 1
            if told != status:
                self.wrong.append((key, told))


def test_changes_under_load_make_no_wrong_decision(two_workers, keys, tmp_path):
    started, ask, await_both = two_workers
    good, narrow = keys.add("models:read"), keys.add("fuse")
    gone = keys.add("models:read", disabled=True)
    await_both(gone, "added")
    expected = {good: 200, narrow: 403, gone: 401, new_key()[1]: 401}
    with Load(ask, expected) as load:
        added = keys.add("models:read")
        await_both(added, "added")
        whole = keys.path.read_bytes()
        for end in range(0, len(whole), len(whole) // 5):  # a slow editor, not settling
            keys.path.write_bytes(whole[:end])
            keys.path.write_bytes(whole)
        keys.path.write_text("keys: [")
        until(lambda: '"outcome":"refused"' in (tmp_path / "audit").read_text())
        keys.entries = [one for one in keys.entries if one["id"] != id_in(added)]
        keys.write()
        await_both(added, "removed")
        keys.path.unlink()
        keys.write()
        last = keys.add("models:read")
        await_both(last, "added")
    assert load.asked > 100
    assert load.wrong == []
    started.send_signal(signal.SIGTERM)
    started.communicate(timeout=60)
    assert started.returncode == 0


def test_a_limit_holds_over_both_workers(two_workers, keys):
    _, ask, await_both = two_workers
    key = keys.add("models:read", limits={"requests_per_s": 1e-6, "burst": 30})
    other = keys.add("models:read")
    await_both(other, "added")
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: ask(key), range(200)))
    told = [one.status_code for one in replies]
    assert set(told) == {200, 429}
    assert 30 <= told.count(200) <= 60, "at most the burst of each, whatever they hear"
    refused = next(one for one in replies if one.status_code == 429)
    assert int(refused.headers["retry-after"]) > 1000
    assert refused.headers["ratelimit"].startswith('"requests_per_s";r=0;')
    assert refused.headers["ratelimit-policy"].startswith('"requests_per_s";q=30;')


def test_without_keys_no_worker_is_started(shelf_dir):
    with process(shelf_dir, WORKERS=2, WITHOUT_KEYS="false") as (started, _):
        _, logged = started.communicate(timeout=60)
        assert started.returncode != 0
        assert "SNN_FUSION_KEYS_FILE: is not set" in logged
        assert "snn-fusion keys new" in logged


def test_a_broken_file_stops_the_start_and_is_named(shelf_dir, keys):
    keys.path.write_text("keys: [{id: 1}]")
    with process(shelf_dir, KEYS_FILE=keys.path) as (started, _):
        _, logged = started.communicate(timeout=60)
        assert started.returncode != 0
        assert "SNN_FUSION_KEYS_FILE: keys.yaml.keys[0]" in logged


def test_metrics_of_refusals_are_of_both_workers(two_workers, keys):
    _, ask, await_both = two_workers
    scraper = keys.add("metrics", "models:read")
    await_both(scraper, "added")
    for _ in range(20):
        assert ask("nobody's").status_code == 401
    text = ask(scraper, "/metrics").text
    assert metric(text, "snn_fusion_refused_total", reason="unknown_key") >= 20
