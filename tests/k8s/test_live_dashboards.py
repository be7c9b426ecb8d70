"""A real Prometheus that scrapes a real service has an answer to every query of the dashboards."""

import math
import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import httpx
import pytest
import yaml
from k8s.test_monitoring import MONITORING, filled, queries
from support.access import KeysFile, bearer
from support.api_server import metric, until
from support.chart import ROOT, tool

pytestmark = pytest.mark.full
FUSE = {
    "model": "av_digits",
    "target": "cpu",
    "sensors": {"audio": {"sample": "digit-7"}, "vision": {"sample": "digit-7"}},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def process(*command, **options):
    with subprocess.Popen([*map(str, command)], **options) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


@contextmanager
def service(folder, key_file):
    """Serve with a shadow target, a peer that is away and a Redis that is away."""
    port = free_port()
    settings = {
        "PORT": port,
        "ENV": "production",
        "HOST": "127.0.0.1",
        "DATA_DIR": folder,
        "KEYS_FILE": key_file,
        "TARGETS": "cpu,numpy",
        "TARGET": "cpu",
        "PEERS": "brian2=http://127.0.0.1:1",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SHADOW_TARGET": "numpy",
        "SHADOW_SHARE": "1",
        "HEAD_S": "0.2",
        "CACHE_TTL_S": "0",
    }
    environment = os.environ | {
        f"SNN_FUSION_{name}": str(value) for name, value in settings.items()
    }
    command = (sys.executable, "-m", "api.cli", "serve")
    with process(*command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL):
        address = f"127.0.0.1:{port}"
        until(lambda: answers(f"http://{address}/healthz/ready"), 300)
        yield address


@contextmanager
def prometheus(folder, address, key):
    """Scrape as the shipped configuration does, every second, another address."""
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / "rules.yaml")]
    (scrape,) = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [address]}]
    (folder / scrape["authorization"]["credentials_file"]).write_text(key)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = (
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with process(tool("prometheus"), *options, stderr=subprocess.DEVNULL):
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/-/ready"))
        yield url


def answers(url):
    with suppress(httpx.HTTPError):
        return httpx.get(url).status_code == 200
    return False


def values(prometheus_url, query):
    reply = httpx.get(f"{prometheus_url}/api/v1/query", params={"query": query}).json()
    assert reply["status"] == "success", reply
    return [float(series["value"][1]) for series in reply["data"]["result"]]


def traffic(address, key):
    """Ask for an answer, be refused, ask an owner that is away, and send half a request."""
    url = f"http://{address}/v1/fuse"
    assert httpx.post(url, json=FUSE, headers=bearer(key)).status_code == 200
    assert httpx.post(url, json=FUSE).status_code == 401
    away = httpx.post(url, json=FUSE | {"target": "brian2"}, headers=bearer(key))
    assert away.status_code == 503
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/fuse HTTP/1.1\r\n")
        slow.recv(1000)


def test_every_query_has_an_answer(tmp_path):
    keys = KeysFile(tmp_path / "keys.yaml")
    caller = keys.add("fuse")
    scraper = keys.add("metrics")
    with (
        service(tmp_path / "data", keys.path) as address,
        prometheus(tmp_path, address, scraper) as url,
    ):
        text = httpx.get(f"http://{address}/metrics", headers=bearer(scraper)).text
        asked = {filled(query) for _, query in queries()}
        if not metric(text, "snn_fusion_memory_limit_bytes"):  # this machine bounds no memory
            asked = {query for query in asked if "memory_limit" not in query}
        unanswered = set(asked)

        def all_answered():
            traffic(address, caller)
            for query in list(unanswered):
                if any(not math.isnan(value) for value in values(url, query)):
                    unanswered.remove(query)
            return not unanswered

        with suppress(AssertionError):
            until(all_answered, 120)
        assert unanswered == set()
        assert len(asked) > 20
        rules = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
        states = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
        assert states.keys() == set(alerts())
        until(lambda: firing(url) >= {"SnnFusionRedisDown"}, 120)


def firing(url):
    found = httpx.get(f"{url}/api/v1/alerts").json()["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in found}


def alerts():
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}
