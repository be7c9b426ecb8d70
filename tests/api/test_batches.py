"""Requests that share a run: everybody gets the answer they would get alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.api_backends import HookedRegistry, Turnstile
from support.api_models import CAM_EVENTS, STEPS, body
from support.api_server import answer_of, leaving, refused, running, until

from api.settings import load_settings
from backends.fuse import answer_of as raised
from backends.fuse import run_batch
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.events import EventStream
from fusion.shelf import Shelf
from fusion.window import encode_window


def weighted(*values, times=(1000, 2000, 2000, 30_000, 50_000, 51_000, 90_000), **changes):
    """Return a request of the camera alone, whose events have weights."""
    events = {**CAM_EVENTS, "times_us": list(times), "values": [float(v) for v in values]}
    return {"target": "hooked", "sensors": {"cam": {"events": events}}, **changes}


@pytest.fixture
def turnstile():
    return Turnstile()


@pytest.fixture
def server(shelf_dir, turnstile):
    """A server whose target `hooked` runs one batch at a time, each when the test lets it."""
    made = load_settings(models_dir=shelf_dir, threads=1, max_batch_size=8)
    with running(made, registry=HookedRegistry(turnstile)) as server:
        server.wait_until_ready()
        yield server


def together(server, turnstile, bodies):
    """Return the replies to requests that wait in the queue while another one runs."""
    lane = server.service.lanes["hooked"]
    with ThreadPoolExecutor(len(bodies) + 1) as pool:
        first = pool.submit(server.fuse, body(target="hooked"))
        assert turnstile.entered.acquire(timeout=60)
        replies = []
        for waiting, one in enumerate(bodies, 1):
            replies.append(pool.submit(server.fuse, one))
            until(lambda waiting=waiting: lane.waiting == waiting)
        turnstile.release(3 * len(bodies) + 1)
        assert first.result().status_code == 200
        return [reply.result() for reply in replies]


def alone(server, one):
    return server.fuse({**one, "target": "numpy"})


def same(reply, other):
    """Return whether two replies differ in nothing but the target's name."""
    return {**answer_of(reply), "target": "", "energy_reason": ""} == {
        **answer_of(other), "target": "", "energy_reason": ""
    }  # fmt: skip


def test_neighbours_share_a_run_and_get_the_answers_they_get_alone(server, turnstile):
    bodies = [weighted(*np.arange(7) * n, seed=n) for n in range(1, 4)]
    bodies.append(body(target="hooked"))
    replies = together(server, turnstile, bodies)
    assert all(same(reply, alone(server, one)) for reply, one in zip(replies, bodies, strict=True))
    assert len({str(answer_of(reply)["spikes"]) for reply in replies}) > 1
    assert server.metric("snn_fusion_batch_size_count", target="hooked") == 2
    assert server.metric("snn_fusion_batch_size_sum", target="hooked") == 5


def test_other_steps_records_and_contracts_do_not_share_it(server, turnstile):
    weights = [1.0] * 7
    bodies = [
        weighted(*weights),
        weighted(*weights, record=["cam_li"]),
        weighted(*weights, dt_s=0.004),
        weighted(*weights, contract={"reset": "subtract_threshold"}),
        weighted(*weights, record=["cam_li", "cam_li"]),
    ]
    replies = together(server, turnstile, bodies)
    assert all(same(reply, alone(server, one)) for reply, one in zip(replies, bodies, strict=True))
    assert server.metric("snn_fusion_batch_size_count", target="hooked") == 5


def test_a_neighbour_that_cannot_be_run_fails_alone(server, turnstile):
    single = {"contract": {"arithmetic": "float32"}}
    bodies = [
        weighted(*[2] * 7, **single),
        weighted(*[3e38] * 7, times=[1000] * 7, **single),  # infinite in one bin
        weighted(*[1] * 7, **single),
    ]
    good, infinite, too = together(server, turnstile, bodies)
    assert same(good, alone(server, bodies[0]))
    assert same(too, alone(server, bodies[2]))
    assert "not a finite number" in refused(infinite, 422)["detail"]
    assert infinite.json()["detail"] == alone(server, bodies[1]).json()["detail"]


def test_what_is_wrong_is_told_while_the_target_is_busy(server, turnstile):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.fuse, body(target="hooked"))
        assert turnstile.entered.acquire(timeout=60)
        short = refused(server.fuse(weighted(1, 1)), 422)
        assert short["field"] == "sensors.cam.events"
        turnstile.release()
        assert first.result().status_code == 200


def test_a_deadline_is_the_requests_own(server, turnstile):
    lane = server.service.lanes["hooked"]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(server.fuse, body(target="hooked"))
        assert turnstile.entered.acquire(timeout=60)
        patient = pool.submit(server.fuse, body(target="hooked"))
        until(lambda: lane.waiting == 1)
        assert refused(server.fuse(body(target="hooked", deadline_s=0.05)), 504)
        until(lambda: lane.waiting == 1)  # who was told that it is too late is not run
        turnstile.release()
        assert first.result().status_code == 200
        assert turnstile.entered.acquire(timeout=60)
        turnstile.release()
        assert patient.result().status_code == 200
    assert server.metric("snn_fusion_batch_size_sum", target="hooked") == 2


def test_who_leaves_while_the_batch_runs_does_no_harm(server, turnstile):
    lane = server.service.lanes["hooked"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.fuse, body(target="hooked"))
        assert turnstile.entered.acquire(timeout=60)
        stays = pool.submit(server.fuse, body(target="hooked"))
        until(lambda: lane.waiting == 1)
        with leaving(server, body(target="hooked")):
            until(lambda: lane.waiting == 2)
            turnstile.release()
            assert turnstile.entered.acquire(timeout=60)
            assert lane.running == 2
        until(lambda: server.metric("snn_fusion_requests_total", route="/v1/fuse", status="499"))
        turnstile.release()
        assert answer_of(first.result()) == answer_of(stays.result())
    until(lambda: lane.running == 0)


@pytest.fixture(scope="module")
def place(shelf_dir):
    """The model `listening`, its contract and its program on the reference."""
    model = Shelf(shelf_dir).find("listening").model
    contract = model.contract()
    programs = ProgramCache(Registry())
    yield model, contract, programs.get(model, "numpy", contract)
    programs.close()


EVENTS = st.lists(
    st.tuples(
        st.integers(0, STEPS * 5000 - 1), st.integers(0, 3), st.floats(-3, 3, width=32)
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(EVENTS, min_size=2, max_size=6))
def test_no_neighbour_changes_a_bit(place, batch):
    windows = []
    for events in batch:
        columns = [list(column) for column in zip(*sorted(events), strict=True)] or [[], [], []]
        stream = EventStream.checked(*columns, size=4)
        windows.append(encode_window(place[0], {"cam": stream}, place[1]))
    model, contract, program = place
    shared = run_batch(model, program, contract, windows, record=["all"])
    for one, window in zip(shared, windows, strict=True):
        (single,) = run_batch(model, program, contract, [window], record=["all"])
        mine, theirs = raised(one), raised(single)
        assert mine.counts == theirs.counts
        assert mine.windows[0].decision.posterior.tobytes() == (
            theirs.windows[0].decision.posterior.tobytes()
        )
        for key, values in theirs.recorded.items():
            assert mine.recorded[key].tobytes() == values.tobytes()
