"""State and batches mean the same under every contract."""

import nir
import numpy as np
import pytest
from support.profiles import FLOAT_PROFILES

from fusion.contract import make_contract
from simulators.plan import make_plan
from simulators.reference import SUPPORTED, ReferenceEngine


def network():
    """Two populations, one with a synaptic current, a loop and a readout."""
    rng = np.random.default_rng(3)
    three, two = np.ones(3), np.ones(2)
    nodes = {
        "input": nir.Input(np.array([4])),
        "in": nir.Affine(rng.normal(1, 2, (3, 4)), rng.normal(0, 0.2, 3)),
        "cuba": nir.CubaLIF(
            tau_mem=three * 4, tau_syn=three * 2, r=three, v_leak=three * 0.1, v_threshold=three
        ),
        "rec": nir.Linear(rng.normal(0, 1, (3, 3))),
        "out": nir.Linear(rng.normal(1, 2, (2, 3))),
        "lif": nir.LIF(tau=two * 3, r=two, v_leak=two * 0, v_threshold=two * 0.5),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "in"), ("in", "cuba"), ("cuba", "rec"), ("rec", "cuba"), ("cuba", "out")]
    return nir.NIRGraph(nodes, [*edges, ("out", "lif"), ("lif", "output")], type_check=False)


def contracts():
    """Every value of every field at least once, on the profile where it makes sense."""
    for profile in FLOAT_PROFILES:
        yield make_contract(profile, 1.0)
    for name, values in SUPPORTED.items():
        for value in values:
            overrides = {name: value}
            if overrides == {"recurrent_delay_steps": 0}:
                overrides["membrane_reads"] = "old_current"
            yield make_contract("nir", 1.0, overrides)


ALL = list(contracts())


@pytest.mark.parametrize("contract", ALL, ids=range(len(ALL)))
def test_a_run_in_pieces_and_samples_alone_give_the_same_bits(contract):
    engine = ReferenceEngine(make_plan(network(), contract))
    raster = np.random.default_rng(1).integers(0, 3, (3, 24, 4)).astype(float)
    whole = engine.run({"input": raster}, record=["all"])
    assert whole.counts.spikes["cuba"].sum() > 0
    pieces, state = [], None
    for start in (0, 7, 8):
        stop = {0: 7, 7: 8, 8: 24}[start]
        part = engine.run({"input": raster[:, start:stop]}, state, ["all"])
        pieces.append(part.recorded)
        state = part.state
    for key, expected in whole.recorded.items():
        assert np.array_equal(np.concatenate([p[key] for p in pieces], axis=1), expected), key
    assert all(np.array_equal(state[key], whole.state[key]) for key in whole.state)
    for sample in range(3):
        alone = engine.run({"input": raster[sample : sample + 1]}, record=["all"]).recorded
        assert all(np.array_equal(alone[key][0], whole.recorded[key][sample]) for key in alone)
