"""The profile lava-float against Lava's own float models: every bin of random networks."""

import nir
import numpy as np
import pytest
from support.lava import installed

from backends.lava_engine import lava_host
from backends.lava_float import float_violations
from backends.lava_float_engine import LavaFloatEngine
from fusion.contract import make_contract
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine

DT_S, STEPS, BATCH, SEEDS = 1e-3, 200, 2, 6
LINES, FIRST, SECOND = 12, 24, 16

pytestmark = pytest.mark.full


class Draw:
    """Weights of one network: `tie` numbers are such that no sum or product is ever rounded."""

    def __init__(self, weights, seed):
        self.rng = np.random.default_rng([ord(weights[0]), seed])
        self.ties = weights == "tie"

    def matrix(self, post, pre, mean=0.1):
        values = self.rng.normal(mean, 1.5, (post, pre)) / np.sqrt(pre)
        return np.round(values * 64) / 64 if self.ties else values

    def tau(self, size):
        """Return time constants; ties have powers of two of the step."""
        steps = 2.0 ** self.rng.integers(1, 5, size) if self.ties else self.rng.uniform(2, 30, size)
        return steps * DT_S

    def threshold(self, size):
        values = self.rng.uniform(0.05, 0.3, size)
        return np.round(values * 64) / 64 if self.ties else values

    def lif(self, size):
        return nir.LIF(
            tau=self.tau(size), r=np.ones(size) * 2, v_leak=np.zeros(size),
            v_threshold=self.threshold(size), v_reset=np.zeros(size),
        )  # fmt: skip

    def cuba(self, size):
        return nir.CubaLIF(
            tau_syn=self.tau(size), tau_mem=self.tau(size), r=np.ones(size) * 2,
            v_leak=np.zeros(size), v_threshold=self.threshold(size) / 2, v_reset=np.zeros(size),
            w_in=np.ones(size) * 2,
        )  # fmt: skip

    def image(self, size):
        shape = (2, *size)
        return nir.IF(
            r=np.full(shape, 1 / DT_S), v_threshold=self.threshold(shape) * 8,
            v_reset=np.zeros(shape),
        )  # fmt: skip


def layers(draw, cell):
    return {
        "w1": nir.Affine(draw.matrix(FIRST, LINES), draw.matrix(FIRST, 1, 0.2)[:, 0]),
        "n1": cell(FIRST),
        "w2": nir.Linear(draw.matrix(SECOND, FIRST)),
        "n2": cell(SECOND),
    }  # fmt: skip


CHAIN = [("in", "w1"), ("w1", "n1"), ("n1", "w2"), ("w2", "n2"), ("n2", "out")]
LOOP = [("n1", "loop"), ("loop", "n1")]


def feed_forward(draw):
    return layers(draw, draw.lif), CHAIN


def recurrent(draw):
    return layers(draw, draw.lif) | {"loop": nir.Linear(draw.matrix(FIRST, FIRST, 0))}, CHAIN + LOOP


def currents(draw):
    return layers(draw, draw.cuba), CHAIN


def recurrent_currents(draw):
    loop = nir.Affine(draw.matrix(FIRST, FIRST, 0), draw.matrix(FIRST, 1)[:, 0])
    return layers(draw, draw.cuba) | {"loop": loop}, CHAIN + LOOP


def delays(draw):
    nodes = layers(draw, draw.lif) | {"late": nir.Delay(draw.rng.integers(0, 5, FIRST) * DT_S)}
    edges = [e for e in CHAIN if e != ("n1", "w2")] + [("n1", "late"), ("late", "w2")]
    return nodes, edges


def image(draw):
    kernel = draw.matrix(2, 2 * 9).reshape(2, 2, 3, 3) * 4
    nodes = {
        "w1": nir.Conv2d((8, 8), kernel, 1, 1, 1, 1, np.zeros(2)),
        "n1": draw.image((8, 8)),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([2, 4, 4])}, start_dim=0, end_dim=-1),
        "w2": nir.Linear(draw.matrix(SECOND, 32)),
        "n2": draw.lif(SECOND),
    }
    edges = [("in", "w1"), ("w1", "n1"), ("n1", "pool"), ("pool", "flat"), ("flat", "w2"),
             ("w2", "n2"), ("n2", "out")]  # fmt: skip
    return nodes, edges


CELLS = {
    made.__name__: made
    for made in (feed_forward, recurrent, currents, recurrent_currents, delays, image)
}


def network(cell, weights, seed):
    """Return a graph and inputs for it."""
    draw = Draw(weights, seed)
    nodes, edges = CELLS[cell](draw)
    lines = (2, 8, 8) if cell == "image" else (LINES,)
    ends = {"in": nir.Input(np.array(lines)), "out": nir.Output(np.array([SECOND]))}
    raster = (draw.rng.random((BATCH, STEPS, *lines)) < 0.25).astype(float)
    return nir.NIRGraph(ends | nodes, edges), {"in": raster}


@pytest.fixture(scope="module")
def host():
    host = lava_host("test", installed())
    yield host
    host.close()


def lavas(host, graph, inputs, *, runtime=False):
    plan = make_plan(graph, make_contract("lava-float", DT_S))
    assert float_violations(plan) == []
    engine = LavaFloatEngine(plan, host, runtime=runtime)
    trace = engine.run(inputs, record=["all"])
    engine.forget()
    return trace.recorded


def ours(graph, inputs, **changes):
    plan = make_plan(graph, make_contract("lava-float", DT_S, changes))
    return ReferenceEngine(plan).run(inputs, record=["all"]).recorded


@pytest.mark.parametrize("weights", ["tie", "gauss"])
@pytest.mark.parametrize("cell", CELLS)
def test_lavas_spikes_come_out_bin_for_bin(cell, weights, host):
    """Networks of ties agree in every membrane too; else up to the rounding of their sums."""
    bins = spikes = 0
    for seed in range(SEEDS):
        graph, inputs = network(cell, weights, seed)
        theirs, expected = lavas(host, graph, inputs), ours(graph, inputs)
        for key, values in expected.items():
            if key.endswith(".spikes"):
                np.testing.assert_array_equal(theirs[key], values, err_msg=f"{seed} {key}")
                assert values.any(), (seed, key)
                bins, spikes = bins + values.size, spikes + int(values.sum())
            elif weights == "gauss":
                np.testing.assert_allclose(theirs[key], values, rtol=0, atol=1e-12)
            elif "currents" not in cell:  # their currents grow more digits than a float has
                np.testing.assert_array_equal(theirs[key], values, err_msg=f"{seed} {key}")
    print(f"lava-float {cell:20}{weights:6}{bins:8} bins {spikes:7} spikes")


@pytest.mark.parametrize("cell", ["recurrent_currents", "image"])
def test_lavas_runtime_gives_what_its_models_give(cell, host):
    graph, inputs = network(cell, "gauss", 0)
    host.close()
    in_runtime = lavas(host, graph, inputs, runtime=True)
    host.close()
    for key, values in lavas(host, graph, inputs).items():
        np.testing.assert_array_equal(in_runtime[key], values, err_msg=key)


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        ("feed_forward", {"feedforward_delay_steps": 0}),
        ("feed_forward", {"spike_condition": ">="}),
        ("feed_forward", {"reset": "subtract_threshold"}),
        ("feed_forward", {"integrator": "exponential"}),
        ("currents", {"membrane_reads": "old_current"}),
        ("currents", {"synapse_order": "add_then_decay"}),
    ],
)
def test_another_choice_gives_other_spikes(cell, changed, host):
    differing = 0
    for seed in range(SEEDS):
        graph, inputs = network(cell, "tie", seed)
        theirs, other = lavas(host, graph, inputs), ours(graph, inputs, **changed)
        differing += sum(
            np.count_nonzero(theirs[k] != v) for k, v in other.items() if "spikes" in k
        )
    assert differing > 0
