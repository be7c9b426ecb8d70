"""What a run took in energy: measured before estimated, estimated before unknown."""

from dataclasses import replace

import numpy as np
import pytest

from backends.base import Energy, RunResult
from backends.energy import energy_report, measured_energy
from backends.registry import Registry
from simulators.trace import Counts

TARGETS = Registry().targets
LOIHI = TARGETS["loihi-emulator"]


def result(energy: Energy | None) -> RunResult:
    counts = Counts(np.array([10, 20]), 30, {})
    return RunResult({}, {}, {}, 1, counts, 0.0, energy)


def test_the_estimate_is_the_published_figures_times_the_counts() -> None:
    report = energy_report(LOIHI, 1000, 100, None)
    assert report.reason is None
    assert report.energy is not None
    assert report.energy.joules == pytest.approx((23.6 * 1000 + 81 * 100) * 1e-12)
    assert (report.energy.kind, report.energy.model) == ("estimate", "loihi1-davies2018")
    assert report.energy.excludes == ("static", "I/O", "routing", "host")
    assert "23.6 pJ x synaptic events + 81 pJ x neuron updates" in report.energy.formula


def test_what_was_measured_goes_before_an_estimate() -> None:
    probed = Energy("measured", np.array([0.5, 0.25]), "the chip's probe", "probe", ("host",))
    measured = measured_energy(result(probed), 1)
    assert measured is not None
    assert (measured.kind, measured.joules) == ("measured", 0.25)
    assert energy_report(LOIHI, 1000, 100, measured).energy == measured
    assert measured_energy(result(None), 0) is None


@pytest.mark.parametrize("name", ["numpy", "brian2"])
def test_a_simulator_s_energy_is_unknown_and_why(name: str) -> None:
    report = energy_report(TARGETS[name], 1000, 100, None)
    assert report.energy is None
    assert report.reason == f"target '{name}': it runs on a processor, whose energy is not measured"


def test_a_target_that_says_nothing_is_unknown_too() -> None:
    silent = replace(LOIHI, energy=None)
    assert "no energy of an operation" in str(energy_report(silent, 1, 1, None).reason)


def test_the_shipped_figures_have_a_source() -> None:
    for target in TARGETS.values():
        assert target.energy is None or len(target.energy.citation) > 20, target.name
