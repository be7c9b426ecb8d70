"""What is in memory: counted, bounded, and read again when it is asked for."""

import threading

import pytest
from support.api_backends import Gate, HookedRegistry
from support.api_server import running
from support.model_calls import EVENTS, asked, digest_of, stored
from support.stored import made

from api.models.catalogue import ModelAway
from api.settings import load_settings
from fusion.held import held_bytes

LOADED, BYTES = "snn_fusion_models_loaded", "snn_fusion_models_memory_bytes"
EVICTED = "snn_fusion_models_evicted_total"


def shrink(server, to_bytes):
    server.service.models.memory.budget_bytes = to_bytes
    server.service.models.memory.trim()


def loaded(server):
    listed = server.client.get("/v1/models").json()["models"]
    return {one["name"] for one in listed if one["loaded"]}


def test_models_and_programs_are_counted(server):
    before, held = server.metric(LOADED), server.metric(BYTES)
    assert before == 1
    assert held > held_bytes(server.service.models.find("listening").model)
    stored(server)
    assert server.metric(LOADED) == 2
    assert server.metric(BYTES) >= held + held_bytes(made())
    with_program = server.metric(BYTES)
    assert server.service.programs.held_bytes() > 0
    server.client.delete("/v1/models/small")
    assert server.metric(LOADED) == 1
    assert server.metric(BYTES) < with_program
    assert server.metric(BYTES) == held


def test_the_longest_unused_leaves_and_is_read_again_when_it_is_asked_for(server):
    for name in ("a", "b", "c"):
        stored(server, name)
    for name in ("c", "a", "b"):
        digest_of(server, name)
    per_model = held_bytes(made("a"))
    everything = server.service.models.memory.held_bytes
    shrink(server, everything - 1)
    assert loaded(server) == {"listening", "a", "b"}
    assert server.metric(EVICTED) == 1
    held = {digest for digest, *_ in server.service.programs._programs}
    assert made("c").digest not in held
    assert made("a").digest in held
    with pytest.raises(ModelAway):
        server.service.find_model("c")
    # Its state stays: it was compiled once, and is asked for by its name.
    assert server.client.get("/v1/models/c").json()["state"] == "ready"
    assert digest_of(server, "c") == made("c").digest
    assert "a" not in loaded(server), "now the longest unused"
    assert server.service.models.memory.held_bytes < everything + per_model


def test_a_model_larger_than_the_budget_is_served_alone(start):
    with start(models_memory_mib=1) as server:
        server.wait_until_ready()
        shrink(server, 1)
        for name in ("a", "b"):
            stored(server, name)
        for name in ("a", "b", "a"):
            assert digest_of(server, name) == made(name).digest
            assert loaded(server) == {"listening", name}
        reply = server.client.post("/v1/compare", json={
            "model": "b", "sensors": EVENTS, "targets": ["numpy", "brian2"],
        })  # fmt: skip
        assert reply.status_code == 404, "brian2 is not served here"


def test_many_ask_for_a_model_that_is_away_at_once(server):
    stored(server, "a")
    stored(server, "b")
    shrink(server, 1)
    assert loaded(server) == {"listening", "b"}
    reads = []
    read = server.service.models.store.read
    server.service.models.store.read = lambda version: reads.append(version) or read(version)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(asked(server, "a"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.status_code for one in answers} == {200}
    assert len(reads) == 1


def test_a_run_goes_on_while_its_model_leaves_or_is_deleted(shelf_dir, tmp_path):
    gate = Gate()
    settings = load_settings(
        models_dir=shelf_dir, store=str(tmp_path / "store"), targets="numpy,hooked", target="numpy"
    )
    with running(settings, registry=HookedRegistry(gate)) as server:
        server.wait_until_ready()
        stored(server)
        answers = []
        body = {"model": "small", "sensors": EVENTS, "target": "hooked"}
        thread = threading.Thread(target=lambda: answers.append(server.fuse(body)))
        thread.start()
        assert gate.entered.acquire(timeout=60)
        assert server.client.delete("/v1/models/small").status_code == 200
        assert asked(server, "small").status_code == 404
        gate.opened.set()
        thread.join()
        assert answers[0].status_code == 200
        assert answers[0].json()["model"]["digest"] == made().digest
        assert server.service.programs.held_bytes() >= 0


def test_only_what_there_is_room_for_is_compiled_at_the_start(start):
    with start() as server:
        server.wait_until_ready()
        for name in ("a", "b", "c"):
            stored(server, name)
        size = server.service.models.memory.held_bytes
    with start() as server:
        server.service.models.memory.budget_bytes = size // 2
        server.wait_until_ready()
        told = {one["name"]: one for one in server.client.get("/v1/models").json()["models"]}
        states = [told[name]["state"] for name in ("a", "b", "c")]
        assert states[0] == "known", "the oldest"
        assert states[2] == "ready", "the newest"
        assert digest_of(server, "a") == made("a").digest


def test_the_workers_limit_is_a_setting(start):
    with start(models_memory_mib=7) as server:
        assert server.service.models.memory.budget_bytes == 7 * 2**20
