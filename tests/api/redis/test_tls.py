"""TLS with a certificate authority of the test's own, and a user of the access control list.

Valkey's wheel speaks no TLS, so this takes Debian's `redis-server`.
"""

import asyncio
import gc
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import redis
import trustme
from prometheus_client import CollectorRegistry
from support.api_models import body
from support.api_server import free_port, running, until

from api.metrics import Metrics
from api.redis.link import Link, RedisFailed
from api.settings import load_settings

SERVER = shutil.which("redis-server")
DOCUMENTED = Path(__file__).parents[3] / "docs" / "use-your-own-redis.md"


def speaks_tls():
    return (
        SERVER is not None
        and "ssl"
        in subprocess.run(["ldd", SERVER], capture_output=True, text=True, check=False).stdout
    )


pytestmark = pytest.mark.skipif(
    not speaks_tls(), reason="no redis-server with TLS here: apt-get install redis-server"
)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def folder(authority, tmp_path_factory):
    """The server's files; its user `fusion` is the one that the documentation proposes."""
    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "strangers.pem")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(folder / "cert.pem", append=number > 0)
    (user,) = re.findall(r"^user fusion .*$", DOCUMENTED.read_text(), re.MULTILINE)
    users = f"user default off\n{user}\nuser operator on >key ~* +@all\n"
    (folder / "users.acl").write_text(users)
    return folder


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module", autouse=True)
def server(port, folder):
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(folder / "cert.pem"),
        "tls-key-file": str(folder / "key.pem"),
        "tls-ca-cert-file": str(folder / "ca.pem"),
        "tls-auth-clients": "no",
        "aclfile": str(folder / "users.acl"),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "save": "",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with subprocess.Popen([SERVER, *words], stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: answered(port, folder))
            yield server
        finally:
            server.kill()


def operator(port, folder):
    return redis.Redis(
        host="localhost", port=port, username="operator", password="key", ssl=True,
        ssl_ca_certs=str(folder / "ca.pem"), protocol=2,
    )  # fmt: skip


def answered(port, folder):
    try:
        with operator(port, folder) as client:
            return client.ping()
    except redis.ConnectionError:
        return False


def url(port, password="PASSWORD", host="localhost"):
    return f"rediss://fusion:{password}@{host}:{port}/0"


def test_answers_and_counts_are_kept_over_tls_by_the_documented_user(port, folder, shelf_dir):
    settings = load_settings(
        models_dir=shelf_dir, target="numpy", cache_min_run_ms=0, redis_url=url(port),
        redis_ca_file=folder / "ca.pem",
    )  # fmt: skip
    with running(settings) as service:
        service.wait_until_ready()
        until(lambda: service.service.shared.link.up)
        hit = "snn-fusion; hit"
        until(lambda: service.fuse(body()).headers.get("Cache-Status") == hit)
        service.service.shared.counters.add("key", 3)
        with operator(port, folder) as client:
            until(lambda: list(client.scan_iter("snn-fusion:count:*")))
            names = list(client.scan_iter("*"))
        assert all(name.startswith(b"snn-fusion:") for name in names)
        for kind in ("refused", "response"):
            assert service.metric("snn_fusion_redis_errors_total", kind=kind) == 0


async def until_up(link):
    """Return once a link is up."""
    async with asyncio.timeout(30):
        while not link.up:
            await asyncio.sleep(0.01)


async def problem_of(url, ca_file):
    """Return why a link is not up, once it has tried."""
    link = Link(url, ca_file, Metrics(CollectorRegistry()))
    await link.open()
    try:
        async with asyncio.timeout(30):
            while link.problem == "not connected yet":
                await asyncio.sleep(0.01)
        return link.problem
    finally:
        await link.close()


@pytest.mark.parametrize(
    ("password", "host", "ca", "says"),
    [
        ("PASSWORD", "localhost", "strangers.pem", "certificate verify failed"),
        ("PASSWORD", "localhost", None, "certificate verify failed"),
        ("PASSWORD", "127.0.0.1", "ca.pem", "IP address mismatch"),
        ("wrong", "localhost", "ca.pem", "username-password pair"),
    ],
)
def test_whom_it_does_not_trust_it_does_not_use(port, folder, password, host, ca, says):
    problem = asyncio.run(problem_of(url(port, password, host), ca and folder / ca))
    assert says in problem
    assert "PASSWORD" not in problem


def test_the_documented_user_has_its_own_names_alone(port, folder):
    async def main():
        registry = CollectorRegistry()
        link = Link(url(port), folder / "ca.pem", Metrics(registry))
        await link.open()
        try:
            await until_up(link)
            for call in (lambda c: c.get("other"), lambda c: c.flushall()):
                with pytest.raises(RedisFailed, match="permissions"):
                    await link.ask(call, 1.0)
            assert link.up
            kind = {"kind": "refused"}
            assert registry.get_sample_value("snn_fusion_redis_errors_total", kind) == 2
        finally:
            await link.close()

    asyncio.run(main())


def test_no_connection_outlives_the_link_when_the_server_hangs(port, folder, server):
    async def main():
        link = Link(url(port), folder / "ca.pem", Metrics(CollectorRegistry()))
        await link.open()
        try:
            await until_up(link)
            server.send_signal(signal.SIGSTOP)
            assert link.later(lambda c: c.get("snn-fusion:key"), 1.0)
            await asyncio.sleep(0.01)
        finally:
            await link.close()

    try:
        asyncio.run(main())
        gc.collect()  # what is left open now warns, and so fails the test
    finally:
        server.send_signal(signal.SIGCONT)
