"""What may happen to a Redis happens to a real one, under load: no request fails or lies."""

import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from support.api_server import running, until
from support.redis_load import THREADS, under_load
from support.redis_server import RedisServer, redis_server

from api.redis.cache import PREFIX
from api.redis.link import LATE_IN_A_ROW
from api.settings import load_settings

AOF = ("--appendonly", "yes")
ERRORS = "snn_fusion_redis_errors_total"
UNAVAILABLE = "snn-fusion; fwd=miss; detail=unavailable"


@contextmanager
def service_on(server, shelf_dir, query=""):
    settings = load_settings(
        models_dir=shelf_dir, redis_url=server.url + query, target="numpy", cache_min_run_ms=0
    )
    with running(settings) as service:
        service.wait_until_ready()
        until(lambda: service.service.shared.link.up)
        yield service


def down(service):
    problem = service.client.get("/healthz/ready").json().get("problems", {}).get("redis")
    return problem is not None and service.metric("snn_fusion_redis_up") == 0


def test_killed_and_back(shelf_dir):
    with (
        redis_server(*AOF) as server,
        service_on(server, shelf_dir) as service,
        under_load(service.client) as load,
    ):
        for _ in range(2):
            load.more_hits()
            server.kill()
            until(lambda: down(service))
            load.more(50)
            assert service.client.get("/healthz/ready").status_code == 200
            server.start()
            load.more_hits()
        assert service.metric(ERRORS, kind="connection") >= 2
        until(lambda: service.metric("snn_fusion_redis_up") == 1)


def test_hanging_costs_the_first_few_requests_a_moment_and_the_rest_nothing(shelf_dir):
    with (
        redis_server() as server,
        service_on(server, shelf_dir) as service,
        under_load(service.client) as load,
    ):
        load.more_hits()
        server.hang()
        before = load.outcomes[UNAVAILABLE]
        until(lambda: down(service))
        load.more(100)
        assert load.outcomes[UNAVAILABLE] <= before + LATE_IN_A_ROW + 2 * THREADS
        server.go_on()
        load.more_hits()


def test_refusing(shelf_dir):
    with (
        redis_server() as server,
        service_on(server, shelf_dir) as service,
        under_load(service.client) as load,
    ):
        load.more_hits()
        server.kill()
        server.options = ("--requirepass", "another")
        server.start()
        until(lambda: service.metric(ERRORS, kind="refused") >= 1)
        load.more(50)
        assert down(service)
        server.client(password="another").config_set("requirepass", "")
        load.more_hits()


def test_full_memory(shelf_dir):
    with (
        redis_server("--maxmemory-policy", "noeviction") as server,
        service_on(server, shelf_dir) as service,
        under_load(service.client) as load,
    ):
        load.more_hits()
        server.client().config_set("maxmemory", "1mb")
        until(lambda: service.metric(ERRORS, kind="response") >= 5)
        load.more_hits()
        until(lambda: service.metric("snn_fusion_redis_up") == 1)  # what it knows is still used
        server.client().config_set("maxmemory", "0")
        writes = server.client().dbsize()
        until(lambda: server.client().dbsize() >= writes + 5)


def test_what_was_kept_outlives_a_kill(shelf_dir):
    with redis_server(*AOF) as server, service_on(server, shelf_dir) as service:
        with under_load(service.client) as load:
            load.more_hits()
        kept = set(server.client().scan_iter(PREFIX + b"*"))
        assert kept
        server.kill()
        server.start()
        assert set(server.client().scan_iter(PREFIX + b"*")) == kept


@contextmanager
def small_disk(mib):
    """Give a folder on a file system of its own."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this user cannot mount a small file system")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_full_disk(shelf_dir):
    with small_disk(4) as disk:
        server = RedisServer(disk, AOF)
        server.start()
        try:
            with service_on(server, shelf_dir) as service, under_load(service.client) as load:
                load.more_hits()
                fill(disk / "filler")
                until(lambda: refuses_writes(server))
                until(lambda: service.metric(ERRORS, kind="response") >= 5)
                load.more_hits()
                (disk / "filler").unlink()
                until(lambda: not refuses_writes(server))
                load.more_hits()
        finally:
            server.kill()


def fill(path):
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def refuses_writes(server):
    try:
        server.client().set("probe", "x" * 1000)
    except redis.ResponseError as error:
        return str(error).startswith("MISCONF")
    return False
