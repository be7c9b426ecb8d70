"""The target `loihi-emulator`: machine code where Numba works, the same bits where it does not."""

import numpy as np
import pytest
from support.equality import differences
from support.loihi import every_kind, model_of

from backends import loihi_emulator_backend
from backends.loihi_emulator_backend import fastest_engine
from backends.registry import Registry
from fusion.contract import make_contract
from simulators.loihi import LoihiEngine
from simulators.loihi_compiled import CompiledLoihiEngine


def test_machine_code_runs_where_numba_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(fastest_engine(every_kind()), CompiledLoihiEngine)
    monkeypatch.setattr(loihi_emulator_backend, "why_numba_fails", lambda: "it does not")
    assert type(fastest_engine(every_kind())) is LoihiEngine
    backend = Registry().backend("loihi-emulator")
    backend.available()
    backend.warm_up()


def test_both_give_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Registry().backend("loihi-emulator")
    contract = make_contract("loihi", 1e-3)
    inputs = {"in": np.random.default_rng(0).integers(0, 2, (2, 30, 6)).astype(float)}
    fast = backend.compile(model_of(every_kind()), contract).run(inputs, record=["all"])
    monkeypatch.setattr(loihi_emulator_backend, "why_numba_fails", lambda: "it does not")
    slow = backend.compile(model_of(every_kind()), contract).run(inputs, record=["all"])
    for key, values in slow.recorded.items():
        np.testing.assert_array_equal(fast.recorded[key], values, err_msg=key)
    assert fast.counts.synaptic_events.tolist() == slow.counts.synaptic_events.tolist()


def test_warming_up_leaves_nothing_to_compile() -> None:
    Registry().backend("loihi-emulator").warm_up()
    network = every_kind()
    inputs = {"in": np.zeros((1, 3, 6), np.uint8)}
    engine = fastest_engine(network)
    assert differences(engine.run(inputs), LoihiEngine(network).run(inputs)) == []
