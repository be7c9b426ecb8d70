"""The Brian2 engine beside its equality with the reference: batches, state, caches, fallbacks."""

import logging
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from support.equality import differences
from support.random_graphs import cases
from support.small_graphs import chain, contract, filled, graph

from fusion.errors import InvalidContract, InvalidInput
from simulators import brian2_codegen, brian2_engine
from simulators.brian2_codegen import (
    CannotCompile,
    b2,
    cache_folder,
    check_compiler,
    preferences,
)
from simulators.brian2_engine import Brian2Engine
from simulators.plan import Plan, make_plan
from simulators.reference import ReferenceEngine

# Brian2's equation parser uses names that the parser's package has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


def engine_of(plan: Plan) -> Brian2Engine:
    return Brian2Engine(plan, codegen="numpy")


def layered() -> Plan:
    """Return a recurrent layer of five neurons behind three inputs."""
    rng = np.random.default_rng(1)
    nodes = {
        "in": nir.Input(np.array([3])),
        "w": nir.Affine(rng.normal(1, 1, (5, 3)), np.full(5, 0.1)),
        "n": filled("LIF", 5, tau=0.01, r=5.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0),
        "loop": nir.Linear(rng.normal(0, 0.5, (5, 5))),
        "late": nir.Delay(np.arange(5) * 1e-3),
        "out": nir.Output(np.array([5])),
    }
    return make_plan(graph(nodes, "in -> w -> n -> late -> out", "n -> loop -> n"), contract())


def spikes(batch: int, steps: int = 30) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    return {"in": (rng.random((batch, steps, 3)) < 0.3).astype(float)}


@pytest.mark.parametrize("batch", [0, 1, 3, 7])
@pytest.mark.parametrize("steps", [0, 30])
def test_any_batch_and_any_number_of_steps_give_the_bits_of_the_reference(
    batch: int, steps: int
) -> None:
    plan, inputs = layered(), spikes(batch, steps)
    expected = ReferenceEngine(plan).run(inputs, record=["all"])
    assert not differences(engine_of(plan).run(inputs, record=["all"]), expected)


def test_a_batch_wider_than_a_network_runs_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brian2_engine, "_MAX_COPIES", 4)
    plan, inputs = layered(), spikes(11)
    expected = ReferenceEngine(plan).run(inputs, record=["all"])
    assert not differences(engine_of(plan).run(inputs, record=["all"]), expected)


def test_runs_of_any_width_leave_nothing_behind_for_the_next() -> None:
    plan = layered()
    engine, reference = engine_of(plan), ReferenceEngine(plan)
    for batch in (3, 1, 8, 2, 16, 3, 5):
        expected = reference.run(spikes(batch), record=["all"])
        assert not differences(engine.run(spikes(batch), record=["all"]), expected), batch


def test_a_run_goes_on_from_a_state_of_either_engine() -> None:
    for case in cases(3, 700):
        engines = engine_of(case.plan), ReferenceEngine(case.plan)
        parts = [
            {name: x[:, chosen] for name, x in case.inputs.items()}
            for chosen in (slice(0, 17), slice(17, 18), slice(18, None))
        ]
        states: list[Any] = [None, None]
        for inputs in parts:
            traces = [
                engine.run(inputs, state, ["all"])
                for engine, state in zip(engines, states, strict=True)
            ]
            assert not differences(*traces), case.seed
            # Each goes on from the other's state.
            states = [traces[1].state, traces[0].state]


def test_a_returned_state_does_not_change_with_the_next_run() -> None:
    engine = engine_of(layered())
    first = engine.run(spikes(2))
    kept = {key: array.copy() for key, array in first.state.items()}
    engine.run(spikes(2), first.state)
    assert all(np.array_equal(first.state[key], kept[key]) for key in kept)


def test_a_diverging_membrane_overflows_as_in_the_reference() -> None:
    nodes = {
        "in": nir.Input(np.array([2])),
        "n": filled("LI", 2, tau=1e-3, r=1.0, v_leak=0.0),
        "loop": nir.Linear(np.array([[1e200, 1.0], [0.0, 1e200]])),
        "out": nir.Output(np.array([2])),
    }
    plan = make_plan(graph(nodes, "in -> n -> out", "n -> loop -> n"), contract())
    inputs = {"in": np.ones((1, 6, 2))}
    expected = ReferenceEngine(plan).run(inputs, record=["all"])
    assert np.isinf(expected.recorded["n.v"]).any()
    assert not differences(engine_of(plan).run(inputs, record=["all"]), expected)


@pytest.mark.parametrize("wrong", ["inputs", "record", "state"])
def test_what_does_not_fit_is_refused_as_by_the_reference(wrong: str) -> None:
    plan = layered()
    options: dict[str, Any] = {"inputs": spikes(2), "record": ["n"], "state": None}
    options[wrong] = {"inputs": {"in": np.ones((2, 3, 4))}, "record": ["no"], "state": {}}[wrong]
    messages = []
    for engine in (engine_of(plan), ReferenceEngine(plan)):
        with pytest.raises(InvalidInput) as caught:
            engine.run(**options)
        messages.append((caught.value.field, caught.value.problem))
    assert messages[0] == messages[1]


def test_source_texts_do_not_depend_on_sizes_or_the_names_of_nodes() -> None:
    texts = []
    for size, name in ((3, "a"), (17, "some other name")):
        nodes = {
            "in": nir.Input(np.array([2])),
            f"w {name}": nir.Linear(np.ones((size, 2))),
            name: filled("LIF", size, tau=0.01, r=1.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0),
            "out": nir.Output(np.array([size])),
        }
        plan = make_plan(graph(nodes, f"in -> w {name} -> {name} -> out"), contract())
        engine = engine_of(plan)
        engine.run({"in": np.zeros((size, 1, 2))})
        network = engine._networks[1]
        texts.append(
            [code.code.run for updater in network._updaters for code in updater.code_objects]
        )
    assert texts[0] == texts[1]
    assert len(texts[0]) > 4


def test_brian2s_preferences_are_as_before() -> None:
    before = b2.prefs.as_file
    engine_of(layered()).run(spikes(1))
    assert b2.prefs.as_file == before


def test_importing_brian2_leaves_no_hooks_and_no_log_file() -> None:
    assert sys.excepthook is sys.__excepthook__ or "brian2" not in sys.excepthook.__module__
    assert b2.BrianLogger.file_handler is None
    kinds = [type(handler).__name__ for handler in logging.getLogger("brian2").handlers]
    assert "RotatingFileHandler" not in kinds


def test_without_a_compiler_auto_falls_back_to_numpy_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.setenv(name, "/no/such/compiler")
    plan = layered()
    with caplog.at_level(logging.WARNING):
        engine = Brian2Engine(plan, codegen="auto", cache_dir=tmp_path)
    assert engine.codegen == "numpy"
    assert "without compiled code" in caplog.text
    expected = ReferenceEngine(plan).run(spikes(2), record=["all"])
    assert not differences(engine.run(spikes(2), record=["all"]), expected)
    with pytest.raises(CannotCompile):
        Brian2Engine(plan, codegen="cython", cache_dir=tmp_path)


def test_a_compiler_that_failed_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from brian2.codegen import cpp_prefs  # noqa: PLC0415 (after the codegen module has set it up)

    monkeypatch.setattr(cpp_prefs, "_compiler_flag_compatibility", {})
    with preferences("cython", np.dtype(np.float64)):
        with monkeypatch.context() as gone:
            gone.setenv("CC", "/no/such/compiler")
            gone.setenv("CXX", "/no/such/compiler")
            with pytest.raises(CannotCompile):
                check_compiler()
        check_compiler()


def test_compiled_code_goes_into_a_folder_named_by_what_decides_its_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = [cache_folder(tmp_path)]
    monkeypatch.setattr(brian2_codegen, "COMPILER_FLAGS", ("-O2",))
    folders.append(cache_folder(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    folders.append(cache_folder(None))
    assert all(folder.is_dir() for folder in folders)
    assert all(one != other for one, other in pairwise(folders))
    assert folders[2].parent == tmp_path / "xdg" / "snn-fusion" / "brian2"


def test_where_nothing_can_be_written_the_cache_is_temporary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder(blocked)
    assert folder.is_dir()
    assert folder.parent == tmp_path


def test_a_chips_integers_are_refused_by_name() -> None:
    plan = layered()
    integers = Plan(plan.nodes, replace(plan.contract, arithmetic="loihi_fixed"))
    with pytest.raises(InvalidContract, match="float64 or float32"):
        engine_of(integers)


def test_a_lif_alone_in_a_chain_runs() -> None:
    node = filled("LIF", tau=0.01, r=30.0, v_leak=0.0, v_threshold=1.0, v_reset=0.0)
    plan = make_plan(chain(node), contract())
    inputs = {"in": np.ones((1, 5, 1))}
    expected = ReferenceEngine(plan).run(inputs, record=["all"])
    assert expected.counts.spikes["n0"].sum() > 0
    assert not differences(engine_of(plan).run(inputs, record=["all"]), expected)
