"""Answers kept in a real Redis: what is a hit is, bit for bit, what a run would give."""

import threading
from dataclasses import replace

import pytest
from support.api_backends import HookedRegistry
from support.api_models import CAM_EVENTS, body
from support.api_server import answer_of, running, tensor, until
from support.oip import INFER
from support.redis_server import redis_server

from api.redis import answer_key
from api.redis.cache import PREFIX
from api.settings import load_settings
from backends.registry import Registry

CACHE = "snn_fusion_cache_total"


@pytest.fixture(scope="module", autouse=True)
def patient():
    """On a busy machine an answer may take longer than a request would wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.redis.cache.READ_S", 30.0)
        yield


@pytest.fixture(scope="module")
def kept():
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def service(kept, shelf_dir):
    """A service that keeps the answers of whatever has run once."""
    settings = load_settings(
        models_dir=shelf_dir, redis_url=kept.url, target="numpy", cache_min_run_ms=0
    )
    with running(settings) as service:
        service.wait_until_ready()
        until(lambda: service.service.shared.link.up)
        for target in ("numpy", "cpu", "loihi-emulator"):
            service.fuse(body(target=target, quantise=True))
        yield service


@pytest.fixture
def empty(kept, service):
    """The service, with nothing kept."""
    until(lambda: not busy(service))
    kept.client().flushall()
    return service


def busy(service):
    link, cache = service.service.shared.link, service.service.shared.cache
    return len(link._tasks) > 1 or cache._packing.running or cache._packing.waiting


def said(reply):
    return reply.headers.get("Cache-Status")


def kept_after(service, sent, **headers):
    """Post what shall be a miss, and return its reply once its answer is kept."""
    reply = service.fuse(sent, **headers)
    assert reply.status_code == 200, reply.text
    assert said(reply) == "snn-fusion; fwd=miss"
    until(lambda: not busy(service))
    return reply


def test_a_hit_is_the_answer_of_a_run_with_the_requests_own_id_and_times(empty):
    def ran():
        return empty.metric("snn_fusion_run_seconds_count", target="numpy")

    def counted(outcome):
        return empty.metric(CACHE, model="listening", target="numpy", outcome=outcome)

    sent = body(record=["all"], seed=7)
    hits, misses = counted("hit"), counted("miss")
    first = kept_after(empty, sent)
    runs = ran()
    again = empty.fuse(sent, **{"X-Request-Id": "again"})
    assert said(again) == "snn-fusion; hit"
    assert answer_of(again) == answer_of(first)
    told = again.json()
    assert told["request_id"] == "again"
    assert (told["timing"]["run_s"], told["timing"]["queue_s"]) == (0.0, 0.0)
    assert told["timing"]["decode_s"] > 0
    assert told["timing"]["total_s"] >= told["timing"]["decode_s"]
    assert ran() == runs
    assert (counted("hit"), counted("miss")) == (hits + 1, misses + 1)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_what_is_kept_has_an_end(kept, empty, target):
    kept_after(empty, body(target=target))
    (name,) = kept.client().keys(PREFIX + b"*")
    assert len(name) - len(PREFIX) >= 16
    assert 0 < kept.client().pttl(name) <= 300_000


def moved(**changes):
    return {**CAM_EVENTS, **{key: [*CAM_EVENTS[key][:-1], last] for key, last in changes.items()}}


@pytest.mark.parametrize(
    "change",
    [
        {"target": "cpu"},
        {"seed": 1},
        {"record": ["cam_lif"]},
        {"record": ["all"]},
        {"profile": "snntorch"},
        {"dt_s": 0.0025},
        {"contract": {"reset": "subtract_threshold"}},
        {"sensors": {"cam": {"events": moved(times_us=120_000)}}},
        {"sensors": {"cam": {"events": moved(channels=2)}}},
        {"sensors": {"cam": {"events": CAM_EVENTS | {"values": [1.0] * 6 + [2.0]}}}},
        {"sensors": {"cam": {"events": moved(times_us=900_000)}}},
        {"sensors": {"mic": {"sample": "one"}}},
    ],
    ids=str,
)
def test_whatever_changes_the_answer_is_another_question(empty, change):
    plain = {"sensors": {"cam": {"events": CAM_EVENTS}}}
    kept_after(empty, plain)
    kept_after(empty, plain | change)
    assert said(empty.fuse(plain)) == "snn-fusion; hit"


def test_how_it_is_asked_is_no_other_question(empty):
    sent = {"sensors": {"cam": {"events": CAM_EVENTS}}}
    first = kept_after(empty, sent)
    inputs = [
        tensor("cam.times_us", CAM_EVENTS["times_us"], "<i8"),
        tensor("cam.channels", CAM_EVENTS["channels"], "<i4"),
    ]
    header = {"inputs": [entry for entry, _ in inputs], "deadline_s": 30}
    tail = b"".join(raw for _, raw in inputs)
    binary = empty.send_binary(header, tail)
    assert said(binary) == "snn-fusion; hit"
    assert answer_of(binary) == answer_of(first)


def test_both_protocols_keep_their_answers_in_one_place(empty):
    def infer():
        times, channels = CAM_EVENTS["times_us"], CAM_EVENTS["channels"]
        inputs = [
            {"name": "cam.times_us", "datatype": "INT64", "shape": [7], "data": times},
            {"name": "cam.channels", "datatype": "INT32", "shape": [7], "data": channels},
        ]
        reply = empty.client.post(INFER, json={"inputs": inputs, "id": "mine"})
        assert reply.status_code == 200, reply.text
        return reply

    ran = infer()
    assert said(ran) == "snn-fusion; fwd=miss"
    until(lambda: not busy(empty))
    again = infer()
    assert said(again) == "snn-fusion; hit"
    assert again.json()["outputs"] == ran.json()["outputs"]
    assert again.json()["parameters"]["run_s"] == 0
    assert again.json()["id"] == "mine"


@pytest.mark.parametrize("asked", ["no-cache", "no-store", "max-age=0, No-Cache"])
def test_a_caller_can_have_it_run(empty, asked):
    kept_after(empty, body())
    reply = empty.fuse(body(), **{"Cache-Control": asked})
    assert said(reply) == "snn-fusion; fwd=bypass"
    assert reply.json()["timing"]["run_s"] > 0


def test_what_is_quantised_on_the_way_is_not_kept(empty):
    for _ in range(2):
        assert said(empty.fuse(body(quantise=True))) == "snn-fusion; fwd=bypass"


@pytest.mark.parametrize("damage", [b"", b"not zlib", b"\x78\x9c", "cut"], ids=str)
def test_what_is_unreadable_is_run_again(kept, empty, damage):
    first = kept_after(empty, body())
    (name,) = kept.client().keys(PREFIX + b"*")
    kept.client().set(name, kept.client().get(name)[:-9] if damage == "cut" else damage)
    reply = empty.fuse(body())
    assert said(reply) == "snn-fusion; fwd=miss; detail=unavailable"
    assert answer_of(reply) == answer_of(first)
    until(lambda: not busy(empty))
    assert said(empty.fuse(body())) == "snn-fusion; hit"


def test_other_code_gives_other_answers(empty, monkeypatch):
    kept_after(empty, body())
    monkeypatch.setattr(answer_key, "code_version", lambda: b"another")
    assert said(empty.fuse(body())) == "snn-fusion; fwd=miss"


def test_an_error_is_not_kept_and_is_told_as_ever(empty):
    for _ in range(2):
        reply = empty.fuse({"sensors": {"cam": {"events": moved(channels=99)}}})
        assert reply.status_code == 422
        assert "sensors.cam" in reply.json()["field"]


@pytest.mark.parametrize("setting", [{"cache_ttl_s": 0}, {"cache_min_run_ms": 60_000}], ids=str)
def test_without_a_need_nothing_is_asked_or_kept(kept, shelf_dir, setting):
    chosen = load_settings(models_dir=shelf_dir, redis_url=kept.url, **setting)
    with running(chosen) as service:
        service.wait_until_ready()
        until(lambda: service.service.shared.link.up)
        kept.client().config_resetstat()
        for _ in range(3):
            assert said(service.fuse(body())) is None
        assert "cmdstat_get" not in kept.client().info("commandstats")
        assert service.metric(CACHE) == 0


class Varying(Registry):
    """The reference, which says of itself that its bits vary."""

    def __init__(self):
        super().__init__()
        target = self.targets["numpy"]
        varying = replace(target.capabilities, deterministic=False)
        self.targets = {**self.targets, "numpy": replace(target, capabilities=varying)}


def test_a_target_whose_bits_vary_is_always_run(kept, shelf_dir):
    chosen = load_settings(
        models_dir=shelf_dir, redis_url=kept.url, target="numpy", cache_min_run_ms=0
    )
    with running(chosen, registry=Varying()) as service:
        service.wait_until_ready()
        until(lambda: service.service.shared.link.up)
        service.fuse(body())
        for seed in (None, 1, 1):
            assert said(service.fuse(body(seed=seed))) == "snn-fusion; fwd=bypass"


def test_a_hit_needs_no_place_on_a_target_that_is_busy(kept, shelf_dir):
    free, entered = threading.Event(), threading.Event()
    free.set()

    def hook():
        entered.set()
        assert free.wait(60)

    chosen = load_settings(
        models_dir=shelf_dir, redis_url=kept.url, target="numpy", threads=1, max_queue=0,
        cache_min_run_ms=0,
    )  # fmt: skip
    with running(chosen, registry=HookedRegistry(hook)) as service:
        service.wait_until_ready()
        until(lambda: service.service.shared.link.up)
        service.fuse(body(target="hooked"))
        kept_after(service, body(target="hooked"))
        free.clear()
        entered.clear()
        holding = threading.Thread(target=service.fuse, args=(body(target="hooked", seed=1),))
        holding.start()
        try:
            assert entered.wait(60)
            assert service.fuse(body(target="hooked", seed=2)).status_code == 503
            assert said(service.fuse(body(target="hooked"))) == "snn-fusion; hit"
        finally:
            free.set()
            holding.join()


def test_what_is_too_large_is_not_kept(kept, empty, monkeypatch):
    monkeypatch.setattr("api.redis.cache.MAX_ENTRY_BYTES", 10)
    for _ in range(2):
        assert said(empty.fuse(body())) == "snn-fusion; fwd=miss"
        until(lambda: not busy(empty))
    monkeypatch.setattr("api.redis.answer_codec.MAX_BYTES", 10)
    assert said(empty.fuse(body())) == "snn-fusion; fwd=miss"
    until(lambda: not busy(empty))
    assert kept.client().dbsize() == 0
