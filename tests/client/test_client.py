"""Both clients against a real service."""

import asyncio
import inspect
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from support.api_backends import Gate, HookedRegistry
from support.api_models import CAM_EVENTS, body, tone, write_shelf
from support.api_server import answer_of, running, until

from api.settings import load_settings
from snn_fusion.client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    DeadlinePassed,
    Events,
    InvalidRequest,
    ModelRejected,
    NotFound,
    Overloaded,
    Retry,
    RunFailed,
    Sample,
    Samples,
    Unavailable,
    UnreadableReply,
)

SENSORS = {
    "cam": Events(np.array(CAM_EVENTS["times_us"]), np.array(CAM_EVENTS["channels"])),
    "mic": Samples(np.array(tone()), 8000),
}


class Awaited:
    """The async client, called like the other one."""

    def __init__(self, address, **options):
        self._make = lambda: AsyncClient(address, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __getattr__(self, name):
        async def once(*args, **choices):
            async with self._make() as client:
                return await getattr(client, name)(*args, **choices)

        return lambda *args, **choices: asyncio.run(once(*args, **choices))


@pytest.fixture(params=[Client, Awaited])
def kind(request):
    return request.param


@pytest.fixture
def client(kind, address):
    with kind(address) as made:
        yield made


def test_an_answer_is_what_the_service_says(client, service):
    told = answer_of(service.fuse(body(record=["cam_lif"], seed=5)))
    answer = client.fuse(SENSORS, record=["cam_lif"], seed=5)
    (window,) = told["windows"]
    assert answer.label == window["label"]
    assert answer.windows[0].posterior == window["posterior"]
    assert answer.windows[0].quality.score == window["quality"]["score"]
    cam = answer.windows[0].sensors["cam"]
    assert cam.contribution == window["sensors"]["cam"]["contribution"]
    assert answer.model.digest == told["model"]["digest"]
    assert (answer.target, answer.seed, answer.steps) == ("cpu", 5, told["steps"])
    assert answer.contract == told["contract"]
    spikes = answer.spikes["cam_lif"]
    assert spikes.steps.dtype == spikes.neurons.dtype == np.int64
    assert spikes.steps.tolist() == told["spikes"]["cam_lif"]["steps"]
    v = answer.recorded["cam_lif"].v
    assert v.shape == (40, 6)
    assert v.dtype == np.float64
    assert v.tolist() == told["recorded"]["cam_lif"]["v"]
    assert answer.counts.synaptic_events == told["counts"]["synaptic_events"]
    assert answer.energy is None
    assert answer.energy_reason == told["energy_reason"]
    assert answer.timing.total_s > 0


def test_choices_reach_the_service(client):
    answer = client.fuse({"cam": Sample("one")}, target="twin", dt_s=0.01, deadline_s=30.0)
    assert (answer.target, answer.dt_s) == ("twin", 0.01)
    assert answer.warnings
    assert answer.windows[0].sensors.keys() == {"cam"}


def test_an_answer_of_a_chips_integers_says_what_they_lost(client):
    answer = client.fuse(SENSORS, target="loihi-emulator", quantise=True)
    assert answer.quantisation["calibration"] == 1
    assert answer.energy.kind == "estimate"
    assert answer.energy.joules > 0
    assert client.fuse(SENSORS).quantisation is None


def test_a_comparison(client):
    compared = client.compare(SENSORS, ["numpy", "twin"], tolerance=0.1)
    (pair,) = compared.pairs
    assert pair.targets == ("numpy", "twin")
    assert pair.verdict == "identical"
    assert pair.tolerance == 0.1
    assert pair.divergence is None
    assert [one.target for one in compared.targets] == ["numpy", "twin"]
    assert {one.node for one in pair.populations} == {"cam_lif", "mic_lif"}


def test_a_check(client):
    checked = client.check(targets=["numpy", "tiny", "absent"])
    fits, tiny, absent = checked.targets
    assert fits.fits
    assert fits.neurons == 18
    assert tiny.fits is False
    assert {one.limit for one in tiny.violations} == {"node type"}
    assert absent.fits is None
    assert not absent.available
    assert absent.hint


def test_what_there_is(client):
    targets = {one.name: one for one in client.targets()}
    assert targets["cpu"].default
    assert targets["cpu"].queue.threads == 2
    assert not targets["absent"].available
    (model,) = client.models()
    assert model.name == "listening"
    assert model.sensors["cam"].channels == 4
    assert model.heads["mic"].reliability == 0.6
    (sample,) = client.samples()
    assert (sample.name, sample.sensors) == ("one", ("cam", "mic"))


@pytest.mark.parametrize(
    ("choices", "error", "kind_of_problem", "field"),
    [
        ({"model": "nope"}, NotFound, "unknown-name", "model"),
        ({"target": "nope"}, NotFound, "unknown-target", "target"),
        ({"contract": {"reset": "x"}}, InvalidRequest, "invalid-contract", "contract.reset"),
        ({"target": "tiny"}, ModelRejected, "model-rejected", None),
        ({"target": "absent"}, Unavailable, "target-unavailable", "target"),
        ({"what": 1}, InvalidRequest, "invalid-input", "what"),
        ({"deadline_s": 1e-9}, RunFailed, "run-timeout", None),
    ],
)
def test_problems_have_types(client, choices, error, kind_of_problem, field):
    with pytest.raises(error) as caught:
        client.fuse(SENSORS, **choices)
    assert caught.value.kind == kind_of_problem
    assert caught.value.field == field
    assert caught.value.detail
    assert len(caught.value.request_id) == 32
    assert bool(caught.value.violations) == (error is ModelRejected)


def test_a_refused_connection_is_told(kind):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    retry = Retry(tries=2, first_s=0.001)
    with (
        kind(f"http://127.0.0.1:{port}", retry=retry) as client,
        pytest.raises(ConnectionFailed) as caught,
    ):
        client.targets()
    assert not caught.value.sent


def serve_once(listener, *replies):
    """Answer one connection after another with these bytes, then close it."""
    for reply in replies:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(reply)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def talk(kind, listener, *replies, **options):
    thread = threading.Thread(target=serve_once, args=(listener, *replies))
    thread.start()
    try:
        with kind(f"http://127.0.0.1:{listener.getsockname()[1]}", **options) as client:
            return client.samples()
    finally:
        thread.join()


def http(status, content, **headers):
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


REQUESTS = "snn_fusion_requests_total"
FINE = b'{"samples": []}'


def test_a_connection_that_breaks_after_sending_is_not_tried_again(kind, listener):
    with pytest.raises(ConnectionFailed) as caught:
        talk(kind, listener, b"")
    assert caught.value.sent


def test_what_is_not_this_service_is_told(kind, listener):
    with pytest.raises(UnreadableReply, match="samples"):
        talk(kind, listener, http(200, b'{"hello": 1}'))


def test_a_proxy_that_has_no_service_yet_is_asked_again(kind, listener):
    retry = Retry(first_s=0.001)
    sorry = http(503, b"<html>upstream", Retry_After="0")
    assert talk(kind, listener, sorry, sorry, http(200, FINE), retry=retry) == ()


def test_a_service_that_does_not_answer_in_time(kind, listener):
    with (
        kind(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.05) as client,
        pytest.raises(DeadlinePassed),
    ):
        client.samples()


def test_a_full_queue_is_waited_for(kind, tmp_path):
    gate = Gate()
    settings = load_settings(models_dir=write_shelf(tmp_path), threads=1, max_queue=0)
    with running(settings, registry=HookedRegistry(gate)) as server:
        server.wait_until_ready()
        address = str(server.client.base_url)
        with Client(address) as first, kind(address) as second:
            blocked = threading.Thread(target=lambda: first.fuse(SENSORS, target="hooked"))
            blocked.start()
            assert gate.entered.acquire(timeout=60)
            with (
                kind(address, retry=Retry(tries=1)) as hasty,
                pytest.raises(Overloaded) as caught,
            ):
                hasty.fuse(SENSORS, target="hooked")
            assert caught.value.retry_after_s >= 1
            before = server.metric(REQUESTS, status="503")
            opener = threading.Thread(
                target=lambda: (
                    until(lambda: server.metric(REQUESTS, status="503") > before),
                    gate.opened.set(),
                )
            )
            opener.start()
            assert second.fuse(SENSORS, target="hooked").target == "hooked"
            opener.join()
            blocked.join()


def test_both_clients_offer_the_same():
    def offered(kind):
        return {
            name: inspect.signature(one).parameters
            for name, one in vars(kind).items()
            if not name.startswith("_")
        }

    assert offered(Client) == offered(AsyncClient)


def test_without_httpx_the_way_out_is_told():
    code = "import sys; sys.modules['httpx'] = None; import snn_fusion.client"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'snn-fusion[client]'" in done.stderr
