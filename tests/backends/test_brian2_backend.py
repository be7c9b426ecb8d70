"""Brian2 as a backend, in a real child process."""

import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.equality import differences
from support.random_graphs import Case, cases
from support.small_graphs import chain, contract, filled

from backends.base import RunResult
from backends.brian2_backend import Brian2Backend
from backends.errors import InvalidTarget, ModelRejected, RunFailed, RunTimeout, TargetUnavailable
from backends.registry import Registry
from backends.simulated import from_tree, to_tree
from fusion.errors import InvalidInput, InvalidModel
from fusion.model import bare_model
from simulators.reference import ReferenceEngine
from simulators.trace import Trace

TARGET = replace(Registry().targets["brian2"], options={"codegen": "numpy"})
LIF = {"tau": 0.01, "r": 30.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
X = {"in": np.ones((1, 5, 1))}


@pytest.fixture(scope="module")
def backend() -> Iterator[Brian2Backend]:
    backend = Brian2Backend(TARGET)
    backend.available()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def some() -> list[Case]:
    return cases(3, 800)


def as_trace(result: RunResult) -> Trace:
    return Trace(result.outputs, result.recorded, result.state, result.counts)


def test_results_are_bit_for_bit_those_of_the_reference(
    backend: Brian2Backend, some: list[Case]
) -> None:
    for case in some:
        program = backend.compile(bare_model(case.graph), case.contract)
        reference = ReferenceEngine(case.plan)
        first = program.run(case.inputs, record=["all"])
        expected = reference.run(case.inputs, record=["all"])
        assert not differences(as_trace(first), expected), case.seed
        again = program.run(case.inputs, first.state)
        assert not differences(as_trace(again), reference.run(case.inputs, expected.state))
        assert first.steps == next(iter(case.inputs.values())).shape[1]
        assert first.wall_s > 0
        assert first.energy is None
        program.close()


def test_plans_cross_to_the_child_unchanged(some: list[Case]) -> None:
    for case in some:
        plan = from_tree(to_tree(case.plan))
        assert plan.contract == case.contract
        assert [node.shape for node in plan.nodes] == [node.shape for node in case.plan.nodes]
        expected = ReferenceEngine(case.plan).run(case.inputs, record=["all"])
        assert not differences(ReferenceEngine(plan).run(case.inputs, record=["all"]), expected)


def test_a_model_beyond_the_target_is_rejected_with_every_reason() -> None:
    poor = replace(TARGET.capabilities, arithmetic=("float64",), max_neurons=0)
    backend = Brian2Backend(replace(TARGET, capabilities=poor))
    model, under = bare_model(chain(filled("LIF", **LIF))), contract(arithmetic="float32")
    assert [v.node for v in backend.check(model, under)] == ["contract.arithmetic", "n0"]
    with pytest.raises(ModelRejected):
        backend.compile(model, under)


def test_a_graph_that_runs_nowhere_names_its_node(backend: Brian2Backend) -> None:
    with pytest.raises(InvalidModel) as caught:
        backend.compile(bare_model(chain(filled("LIF", **{**LIF, "tau": 0.0}))), contract())
    assert caught.value.field == "nodes.n0.tau"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "inputs.in"),
        ({"in": np.ones((1, 2, 3))}, "inputs.in"),
        ({"in": np.array([[["a"]]])}, "inputs.in"),
        ({"in": np.array([[[None]]])}, "inputs.in"),
        ({"in": np.array([[[np.inf]]])}, "inputs.in[0, 0, 0]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    backend: Brian2Backend, options: dict[str, Any], field: str
) -> None:
    program = backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    with pytest.raises(InvalidInput) as caught:
        program.run(options)
    assert caught.value.field == field
    assert program.run(X).steps == 5


def test_a_run_past_its_deadline_ends_and_the_program_runs_on(backend: Brian2Backend) -> None:
    program = backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    endless = {"in": np.ones((1, 3_000_000, 1))}
    with pytest.raises(RunTimeout):
        program.run(endless, deadline_s=0.5)
    assert program.run(X).steps == 5


def test_a_killed_child_fails_its_run_and_the_program_runs_on(backend: Brian2Backend) -> None:
    program = backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    expected = program.run(X)
    pid = backend._host.pid
    assert pid is not None
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(program.run, {"in": np.ones((1, 3_000_000, 1))})
        while not backend._host._lock.locked():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunFailed):
            running.result()
    assert not differences(as_trace(program.run(X)), as_trace(expected))


def test_threads_share_a_program(backend: Brian2Backend, some: list[Case]) -> None:
    case = some[0]
    program = backend.compile(bare_model(case.graph), case.contract)
    expected = ReferenceEngine(case.plan).run(case.inputs)
    together = threading.Barrier(3)

    def run(_: int) -> list[str]:
        together.wait()
        return differences(as_trace(program.run(case.inputs)), expected)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(3))) == [[], [], []]


def test_a_closed_program_does_not_run_and_a_dropped_one_is_freed(backend: Brian2Backend) -> None:
    closed = backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    closed.close()
    closed.close()
    with pytest.raises(RunFailed, match="closed"):
        closed.run(X)
    kept = backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    dropped = backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    dropped.run(X)
    del dropped
    gc.collect()
    kept.run(X)
    assert len(backend._host._opened) == len(backend._host._parts) > 0


def test_without_brian2_the_target_says_what_to_install(
    backend: Brian2Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TargetUnavailable) as caught:
        backend.available()
    assert "pip install" in caught.value.hint


def test_without_the_compiler_that_was_asked_for_the_target_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.setenv(name, "/no/such/compiler")
    options = {"codegen": "cython", "cache_dir": str(tmp_path)}
    backend = Brian2Backend(replace(TARGET, options=options))
    with pytest.raises(TargetUnavailable, match="C\\+\\+ compiler") as caught:
        backend.compile(bare_model(chain(filled("LIF", **LIF))), contract())
    assert "numpy" in caught.value.hint
    backend.close()


@pytest.mark.parametrize(
    ("options", "name"), [({"codegen": "fortran"}, "codegen"), ({"codgen": "numpy"}, "codgen")]
)
def test_wrong_options_are_named(options: dict[str, str], name: str) -> None:
    with pytest.raises(InvalidTarget, match=f"options.{name}"):
        Brian2Backend(replace(TARGET, options=options))


def test_the_service_never_imports_brian2() -> None:
    code = (
        "import sys\n"
        "from backends.registry import Registry\n"
        "Registry().backend('brian2').available()\n"
        "sys.exit('brian2' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
