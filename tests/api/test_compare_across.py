"""A comparison of targets that several deployments own is the one of a single process."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from support.api_backends import Gate, HeavyRegistry, HookedRegistry, failing
from support.api_models import CAM_EVENTS, body, tone, write_shelf
from support.api_peer import peer
from support.api_server import free_port, refused, running, tensor, until

from api.settings import load_settings

TARGETS = ["cpu", "numpy", "heavy"]
LOIHI = ["numpy", "loihi-emulator", "cpu"]


def url_of(server):
    return str(server.client.base_url).rstrip("/")


def compare(server, content=None, **changes):
    return server.client.post("/v1/compare", json=body(**changes) if content is None else content)


def compared(reply):
    """Return a comparison without the times of its runs."""
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    for target in answer["targets"]:
        assert target.pop("run_s") > 0
    return answer


@pytest.fixture(scope="module")
def whole(shelf_dir):
    """A deployment that serves every target."""
    with running(load_settings(models_dir=shelf_dir), registry=HeavyRegistry()) as server:
        yield server


@pytest.fixture(scope="module")
def owner(shelf_dir):
    settings = load_settings(models_dir=shelf_dir, targets=("heavy", "numpy"))
    with running(settings, registry=HeavyRegistry()) as server:
        yield server


@pytest.fixture(scope="module")
def fronts(shelf_dir, owner, whole, tmp_path_factory):
    """A front that runs `cpu` itself, and one without models before two deployments."""
    here = {"targets": ("cpu", "loihi-emulator"), "models_dir": shelf_dir}
    there = {"heavy": url_of(owner), "numpy": url_of(owner)}
    empty = {"targets": ("none",), "models_dir": tmp_path_factory.mktemp("empty")}
    apart = there | {"cpu": url_of(whole), "loihi-emulator": url_of(whole)}
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running(load_settings(peers=peers, **settings), registry=HeavyRegistry())
            )
            for settings, peers in ((here, there), (empty, apart))
        ]


@pytest.mark.parametrize("asked", [
    {"targets": TARGETS},
    {"targets": ["heavy", "cpu"], "tolerance": 1, "dt_s": 0.004},
    {"targets": LOIHI, "quantise": True},
    {"targets": TARGETS, "sensors": {"cam": {"sample": "one"}}},
])  # fmt: skip
def test_several_deployments_tell_what_one_tells(whole, fronts, asked):
    expected = compared(compare(whole, **asked))
    for front in fronts:
        assert compared(compare(front, **asked)) == expected
    if "heavy" in asked["targets"]:
        assert expected["pairs"][-1]["divergence"]["v"][0] > 0
    assert (expected["quantisation"] is None) == ("quantise" not in asked)


def test_a_binary_body_is_compared_by_several_deployments(whole, fronts):
    parts = [
        tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8"),
        tensor("cam.channels", CAM_EVENTS["channels"], "<i4"),
        tensor("mic.samples", tone(), "<f8", rate_hz=8000),
    ]
    header = {"inputs": [entry for entry, _ in parts], "targets": TARGETS}
    tail = b"".join(raw for _, raw in parts)
    expected = compared(whole.send_binary(header, tail, "/v1/compare"))
    for front in fronts:
        assert compared(front.send_binary(header, tail, "/v1/compare")) == expected


def test_what_an_owner_refuses_is_told_as_it_tells_it(whole, fronts):
    for asked in (
        {"targets": TARGETS, "model": "nope"},
        {"targets": TARGETS, "sensors": {"nose": {"sample": "one"}}},
        {"targets": LOIHI},
        {"targets": ["heavy", "abacus"]},
        {"targets": TARGETS, "deadline_s": 1e6},
    ):
        there = compare(whole, **asked).json()
        for front in fronts:
            problem = refused(compare(front, **asked), there["status"])
            assert (problem["type"], problem.get("field")) == (there["type"], there.get("field"))
            assert problem.get("violations") == there.get("violations")


def test_an_owner_that_is_away_is_named_at_once(shelf_dir):
    gate = Gate()
    peers = {"numpy": f"http://127.0.0.1:{free_port()}"}
    settings = load_settings(models_dir=shelf_dir, targets=("hooked",), peers=peers)
    with running(settings, registry=HookedRegistry(gate)) as front:
        for _ in range(2):  # whether it is found out now or known already
            reply = compare(front, targets=["hooked", "numpy"])
            problem = refused(reply, 503, "'numpy'", "takes no connections")
            assert problem["type"].endswith("target-unavailable")
            assert reply.headers["retry-after"] == "1"
        gate.opened.set()
        until(lambda: front.service.comparing.running == 0)


def test_a_run_that_breaks_off_here_or_there_is_told(shelf_dir):
    with ExitStack() as stack:

        def serve(target, hook, **peers):
            chosen = {"targets": (target,), "peers": peers, "models_dir": shelf_dir}
            registry = HookedRegistry(hook)
            return stack.enter_context(running(load_settings(**chosen), registry=registry))

        cpu, hooked = serve("cpu", failing), serve("hooked", failing)
        beside = serve("hooked", failing, cpu=url_of(cpu))
        for front in (serve("cpu", failing, hooked=url_of(hooked)), beside):
            refused(compare(front, targets=["cpu", "hooked"]), 502, "the child has ended")


def test_a_deadline_holds_for_all_deployments_together(shelf_dir):
    gate = Gate()
    with ExitStack() as stack:
        settings = load_settings(models_dir=shelf_dir, targets=("hooked",))
        there = stack.enter_context(running(settings, registry=HookedRegistry(gate)))
        chosen = {"targets": ("cpu",), "peers": {"hooked": url_of(there)}}
        front = stack.enter_context(
            running(load_settings(models_dir=shelf_dir, **chosen), registry=HookedRegistry(gate))
        )
        late = compare(front, targets=["cpu", "hooked"], deadline_s=0.3)
        refused(late, 504, "within 0.3 s")
        gate.opened.set()
        until(lambda: there.service.comparing.running == 0)
        asked = {"targets": ["cpu", "hooked"]}
        with ThreadPoolExecutor(2) as pool:
            replies = pool.map(lambda _: compare(front, **asked), range(2))
            pairs = [compared(reply)["pairs"][0] for reply in replies]
        assert [pair["verdict"] for pair in pairs] == ["identical"] * 2


def test_other_models_of_one_name_are_told_apart(whole, tmp_path, shelf_dir):
    other = write_shelf(tmp_path)
    manifest = next(other.rglob("fusion.yaml"))
    manifest.write_text(manifest.read_text().replace("A camera and", "One camera and"))
    settings = load_settings(models_dir=other, targets=("cpu",), peers={"numpy": url_of(whole)})
    with running(settings) as front:
        named = {"model": "listening", "targets": ["cpu", "numpy"]}
        refused(compare(front, **named), 502, "different models", "cpu has listening 2")
        unnamed = {"model": None, "targets": ["cpu", "numpy"]}
        refused(compare(front, **unnamed), 404, front.service.find_model(None).model.digest)


def test_answers_that_are_no_part_of_a_comparison_are_told(shelf_dir):
    with peer() as other:
        chosen = {"targets": ("cpu",), "peers": {"numpy": other.url}}
        with running(load_settings(models_dir=shelf_dir, **chosen)) as front:
            refused(compare(front, targets=["cpu", "numpy"]), 502, "no part of a comparison")
            path, headers, arrived = other.got[-1]
            assert (path, json.loads(arrived)["targets"]) == ("/v1/compare", ["cpu", "numpy"])
            assert json.loads(headers["snn-fusion-part"]) == {"run": ["numpy"], "test": {}}
            assert headers["snn-fusion-model"] == front.service.find_model(None).model.digest
            assert 0 < float(headers["snn-fusion-deadline-s"]) <= 120
            other.parts = [b"x" * (2**22 + 4 * 5_000_000 + 1)]
            refused(compare(front, targets=["cpu", "numpy"]), 502, "of which at most")


PARTS = {
    "no JSON": ("run numpy", 422, "no part of a comparison"),
    "unknown field": ({"ran": ["numpy"]}, 422, "no part of a comparison"),
    "not compared": ({"run": ["cpu"]}, 404, "not served where it was sent"),
    "unknown": ({"run": ["abacus"]}, 404, "not served where it was sent"),
    "population": ({"test": {"numpy": [[2, 0, 0]]}}, 422, "population 2"),
    "step": ({"test": {"numpy": [[0, 10_000, 0]]}}, 422, "step 10000"),
    "neuron": ({"test": {"numpy": [[0, 0, 6]]}}, 422, "neuron 6"),
    "negative": ({"test": {"numpy": [[0, -1, 0]]}}, 422, ">= 0"),
}


@pytest.mark.parametrize(("part", "status", "says"), PARTS.values(), ids=PARTS.keys())
def test_a_part_that_cannot_be_done_is_refused(owner, part, status, says):
    text = part if isinstance(part, str) else json.dumps(part)
    sent = json.dumps(body(targets=["numpy", "heavy"])).encode()
    marked = {"via": "1.1 snn-fusion", "snn_fusion_part": text}
    refused(owner.send(sent, "/v1/compare", **marked), status, says)


def test_a_part_is_never_sent_on_and_wants_every_target_known(fronts, whole):
    sent = json.dumps(body(targets=TARGETS)).encode()
    marked = {"via": "1.1 snn-fusion"}
    refused(fronts[0].send(sent, "/v1/compare", **marked), 508, "circle")
    run = {"snn_fusion_part": '{"run": ["heavy"]}'}
    refused(fronts[0].send(sent, "/v1/compare", **marked, **run), 508, "circle")
    odd = json.dumps(body(targets=["cpu", "abacus"])).encode()
    run = {"snn_fusion_part": '{"run": ["cpu"]}'}
    refused(whole.send(odd, "/v1/compare", **marked, **run), 404, "'abacus' is unknown to the")
