"""The target loihi2-chip: honest without the extension; its control flow against a stand-in."""

import fcntl
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.lava import installed
from support.loihi import every_kind, model_of
from typer.testing import CliRunner

from api.cli import app
from backends import chip_first_run, loihi_chip_backend
from backends.base import Target
from backends.errors import InvalidTarget, ModelRejected, RunFailed, RunTimeout, TargetUnavailable
from backends.loihi_chip_backend import LoihiChipBackend
from backends.registry import Registry
from fusion.contract import make_contract
from fusion.errors import InvalidInput
from fusion.model import bare_model
from simulators.loihi import LoihiEngine
from snn_fusion.testing_networks import NETWORKS

TARGET = Registry().targets["loihi2-chip"]
STAND_IN = Path(__file__).parents[1] / "chip_stand_in"
CONTRACT = make_contract("loihi", 1e-3)
LOOPED = chip_first_run._looped()
PULSES = {"in": (np.arange(2 * 40).reshape(2, 40, 1) % 5 == 0).astype(float)}


def target(tmp_path, **options) -> Target:
    common = {"lock": str(tmp_path / "lock"), "select_tag": "fixed_pt", "lag_steps": 1}
    return replace(TARGET, options={**common, **options})


@pytest.fixture
def extension(monkeypatch, tmp_path):
    """Put the stand-in in the way of Lava's environment; return the log of what it was asked."""
    python = installed()
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.setenv("CHIP_LOG", str(tmp_path / "log"))
    loihi_chip_backend._has_extension.cache_clear()
    yield tmp_path / "log"
    assert python
    loihi_chip_backend._has_extension.cache_clear()


@pytest.fixture
def backend(extension, tmp_path):
    backend = LoihiChipBackend(target(tmp_path))
    yield backend
    backend.close()


def test_without_the_extension_it_is_unavailable_and_says_what_is_missing():
    installed()
    with pytest.raises(TargetUnavailable, match="Intel's closed extension") as caught:
        LoihiChipBackend(TARGET).available()
    assert "Research Community" in caught.value.hint
    with pytest.raises(TargetUnavailable):
        LoihiChipBackend(TARGET).compile(model_of(LOOPED), CONTRACT)


def test_without_the_extension_the_first_run_stops_at_once():
    installed()
    done = CliRunner().invoke(app, ["first-run", "loihi2-chip"])
    assert done.exit_code == 1
    assert "1. Lava and Intel's extension are installed: FAILED" in done.output
    assert done.output.count("not run") == 4


def test_a_target_without_a_board_has_no_checklist():
    done = CliRunner().invoke(app, ["first-run", "numpy"])
    assert done.exit_code == 2
    assert "'numpy' runs on no hardware" in done.output
    done = CliRunner().invoke(app, ["first-run", "nowhere"])
    assert done.exit_code == 2
    assert "target 'nowhere' is unknown" in done.output


def test_a_network_comes_back_shifted_by_the_adapters_and_measured(backend, extension):
    backend.available()
    program = backend.compile(model_of(LOOPED), CONTRACT)
    found = program.run(PULSES, record=["all"])
    ours = LoihiEngine(LOOPED).run(PULSES, record=["all"])
    assert set(found.recorded) == {"cells.spikes"}
    assert ours.recorded["cells.spikes"].any()
    np.testing.assert_array_equal(found.recorded["cells.spikes"], ours.recorded["cells.spikes"])
    np.testing.assert_array_equal(found.outputs["out"], ours.outputs["out"])
    assert found.counts.synaptic_events.tolist() == ours.counts.synaptic_events.tolist()
    assert found.state == {}
    assert found.energy.kind == "measured"
    np.testing.assert_allclose(found.energy.joules, [41 * 5e-6] * 2)
    said = extension.read_text()
    assert "PyToNxAdapter (1,) 0" in said
    assert "NxToPyAdapter (3,) 0" in said
    assert "'LOIHI_GEN': 'N3B3'" in said


def test_a_board_without_a_meter_gives_spikes_and_no_energy(backend, monkeypatch):
    monkeypatch.setenv("CHIP_NO_METER", "1")
    program = backend.compile(model_of(LOOPED), CONTRACT)
    found = program.run(PULSES)
    assert found.energy is None
    assert found.outputs["out"].any()


def test_a_board_that_somebody_uses_is_waited_for(backend, tmp_path):
    program = backend.compile(model_of(LOOPED), CONTRACT)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunTimeout):
            program.run(PULSES, deadline_s=1.0)
    assert program.run(PULSES).outputs["out"].any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slurm": {"partition": "oheogulch"}}, "this host has no program 'sinfo'"),
        ({"ethernet": {"address": "192.0.2.1"}}, "ping"),
        ({"generation": "N9"}, "'N9' is none of N2A2, N3B2, N3B3"),
    ],
)
def test_a_board_that_cannot_be_had_is_reported(extension, tmp_path, options, said):
    backend = LoihiChipBackend(target(tmp_path, **options))
    with pytest.raises(TargetUnavailable, match=said):
        backend.compile(model_of(LOOPED), CONTRACT)
    backend.close()


def test_a_state_or_a_wrong_record_is_refused_by_name(backend):
    program = backend.compile(model_of(LOOPED), CONTRACT)
    with pytest.raises(InvalidInput, match="state"):
        program.run(PULSES, state={})
    with pytest.raises(InvalidInput, match="nowhere"):
        program.run(PULSES, record=["nowhere"])
    program.close()
    program.close()
    with pytest.raises(RunFailed, match="closed"):
        program.run(PULSES)


def test_what_the_chip_is_not_known_to_do_is_refused_without_a_board():
    network = every_kind()
    contract = replace(CONTRACT, dt_s=network.dt_s)
    said = "; ".join(map(str, LoihiChipBackend(TARGET).check(model_of(network), contract)))
    for part in ("periodic reset", "kind is Conv", "reads is v at every step"):
        assert part in said
    assert LoihiChipBackend(TARGET).check(model_of(LOOPED), CONTRACT) == []


def test_a_model_without_integers_is_rejected(backend):
    with pytest.raises(ModelRejected, match="not quantised"):
        backend.compile(bare_model(NETWORKS["feed_forward"]().graph), CONTRACT)


def test_the_first_run_walks_through_and_finds_the_lag(extension, tmp_path):
    steps = list(LoihiChipBackend(target(tmp_path)).first_run())
    assert [step.passed for step in steps] == [True] * 5, steps
    steps = list(LoihiChipBackend(target(tmp_path, lag_steps=0)).first_run())
    assert [step.passed for step in steps] == [True, True, False, None, None], steps
    assert steps[2].found == "late by 1"
    assert "lag_steps" in steps[2].remedy


@pytest.mark.parametrize(
    ("options", "name"),
    [({"bord": 1}, "bord"), ({"lag_steps": "one"}, "lag_steps"), ({"slurm": {"x": 1}}, "slurm.x"),
     ({"ethernet": {}}, "ethernet")],
)  # fmt: skip
def test_wrong_options_are_named(options, name):
    with pytest.raises(InvalidTarget, match=f"options.{name}"):
        LoihiChipBackend(replace(TARGET, options=options))
