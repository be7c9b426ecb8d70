"""The engine of Loihi's integers, by numbers worked out by hand and by what must always hold."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.equality import differences
from support.loihi import every_kind, one_layer, population

from fusion.errors import InvalidInput
from simulators.loihi import LoihiEngine
from simulators.loihi_connections import Conv, Dense, Sparse
from simulators.loihi_network import InputNode, LoihiNetwork, OutputNode, PeriodicReset
from simulators.loihi_random import random_network
from simulators.trace import Trace


def spikes_at(steps: int, *times: int) -> dict[str, np.ndarray]:
    raster = np.zeros((1, steps, 1))
    raster[0, list(times)] = 1
    return {"in": raster}


def run(network: LoihiNetwork, inputs: dict[str, np.ndarray], **given: Any) -> Trace:
    return LoihiEngine(network).run(inputs, record=["all"], **given)


def column(trace: Trace, key: str) -> list[int]:
    return trace.recorded[key][0].reshape(-1).tolist()


def test_one_spike_through_current_and_membrane() -> None:
    """Weight 100 at step 0: u = 6400 at step 1, then · 2095/4096; v = v · 3096/4096 + u."""
    network = one_layer([[100]], lif={"du": 2000, "dv": 1000, "vth": 170})
    trace = run(network, spikes_at(5, 0))
    assert column(trace, "lif.i") == [0, 6400, 3273, 1674, 856]
    # 6400; 4837 + 3273 = 8110; 6130 + 1674 = 7804; 5898 + 856 = 6754
    assert column(trace, "lif.v") == [0, 6400, 8110, 7804, 6754]
    assert column(trace, "lif.spikes") == [0] * 5


def test_a_neuron_spikes_above_its_threshold_and_keeps_its_current() -> None:
    network = one_layer([[100]], lif={"du": 2000, "dv": 0, "vth": 100})
    trace = run(network, spikes_at(4, 0))
    # v reaches exactly 64 · 100 = 6400 at step 1, which is not above it; 9673 is.
    assert column(trace, "lif.v") == [0, 6400, 0, 1674]
    assert column(trace, "lif.spikes") == [0, 0, 1, 0]
    assert column(trace, "lif.i") == [0, 6400, 3273, 1674]
    assert trace.outputs["out"][0, :, 0].tolist() == [0, 0, 1, 0]


def test_delays_come_on_top_of_the_step_that_every_synapse_takes() -> None:
    for kind in ("dense", "sparse"):
        network = one_layer([[100]], delays=np.array([[3]]))
        if kind == "sparse":
            sparse = Sparse(
                name="w", source="in", target="lif", n_pre=1, n_post=1, pre=np.zeros(1, int),
                post=np.zeros(1, int), weights=np.array([100]), delays=np.array([3]),
            )  # fmt: skip
            network = replace(network, connections=(sparse,))
        assert column(run(network, spikes_at(7, 0, 1)), "lif.i") == [0, 0, 0, 0, 6400, 6400, 0]


def test_shifts_act_on_every_delay_before_slots_are_added() -> None:
    """3 >> 1 is 1 for each of two synapses of different delay, though 6 >> 1 would be 3."""
    network = one_layer([[3, 3]], weight_exp=-1, delays=np.array([[0, 1]]), sign_mode="excitatory")
    raster = np.zeros((1, 4, 2))
    raster[0, 1, 0] = raster[0, 0, 1] = 1
    assert column(run(network, {"in": raster}), "lif.i") == [0, 0, 2 * 64, 0]
    together = one_layer([[3, 3]], weight_exp=-1, sign_mode="excitatory")
    assert column(run(together, {"in": raster[:, ::-1] + raster}), "lif.i")[-2:] == [64, 64]


def test_negative_sums_are_shifted_downwards() -> None:
    network = one_layer([[-2]], weight_exp=-2, sign_mode="mixed")
    assert column(run(network, spikes_at(2, 0)), "lif.i") == [0, -64]


def test_graded_spikes_multiply_their_weight() -> None:
    network = one_layer([[7]], num_message_bits=8)
    assert column(run(network, {"in": np.array([[[200], [0]]])}), "lif.i") == [0, 7 * 200 * 64]


def test_a_bias_drives_without_input() -> None:
    network = one_layer([[0]], lif={"dv": 0, "bias_mant": 3, "bias_exp": 5, "vth": 4})
    assert column(run(network, spikes_at(4)), "lif.v") == [96, 192, 0, 96]


def test_a_periodic_reset_comes_before_the_update() -> None:
    """Lava's LIFReset counts steps from 1: interval 3, offset 2 acts at our steps 1, 4, ..."""
    lif = {
        "dv": 0,
        "vth": 99,
        "bias_mant": 1,
        "u": 640,
        "v": 7,
        "du": 0,
        "reset": PeriodicReset(3, 2),
    }
    trace = run(one_layer([[0]], lif=lif), spikes_at(6))
    assert column(trace, "lif.v") == [7 + 639 + 1, 1, 2, 3, 1, 2]
    assert column(trace, "lif.i")[:2] == [639, 0]


def test_a_convolution_correlates_as_nir_does() -> None:
    """Checked against the sum written out, tap by tap."""
    rng = np.random.default_rng(1)
    weights = rng.integers(-9, 9, (4, 1, 2, 3)).astype(np.int32)
    conv = Conv(
        name="c", source="in", target="lif", weights=weights, input_shape=(2, 5, 6),
        stride=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2, num_message_bits=4,
    )  # fmt: skip
    shape = conv.output_shape
    network = LoihiNetwork(
        dt_s=1e-3, inputs=(InputNode("in", (2, 5, 6)),), populations=(population("lif", shape),),
        connections=(conv,), outputs=(OutputNode(name="out", source="lif", shape=shape),),
    )  # fmt: skip
    image = rng.integers(0, 15, (2, 5, 6))
    given = np.stack((image, image * 0))[None]
    padded = np.pad(image, ((0, 0), (1, 1), (2, 2)))
    for channel, row, col in np.ndindex(*shape):
        window = padded[channel // 2, row * 2 : row * 2 + 3 : 2, col : col + 3]
        expected = 64 * int((window * weights[channel, 0]).sum())
        assert run(network, {"in": given}).recorded["lif.i"][0, 1, channel, row, col] == expected
    assert run(network, {"in": given}).counts.synaptic_events[0] > 0


def test_outputs_read_spikes_or_the_scaled_membrane() -> None:
    network = one_layer([[100]], lif={"vth": 2**17 - 1})
    read = OutputNode(name="v", source="lif", shape=(1,), reads="v", scale=0.5, offset=-1.0)
    trace = run(replace(network, outputs=(read,)), spikes_at(3, 0))
    assert trace.outputs["v"][0, :, 0].tolist() == [-1.0, 3199.0, -0.5]
    assert trace.outputs["v"].dtype == np.float64


def test_counts_are_synapses_that_carried_a_spike() -> None:
    network = one_layer([[100, 0, 9], [100, 1, 9]], sign_mode="mixed")  # 1 is cut to 0
    raster = np.array([[[1, 1, 0], [1, 0, 1]], [[0, 0, 0], [0, 1, 0]]])
    counts = run(network, {"in": raster}).counts
    assert counts.synaptic_events.tolist() == [2 + 4, 0]
    assert counts.neuron_updates == 2 * 2
    assert counts.spikes["lif"].tolist() == [2, 0]


def overflows(network: LoihiNetwork, inputs: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {key: number.tolist() for key, number in run(network, inputs).overflows.items()}


def test_registers_that_left_their_range_are_counted() -> None:
    graded = {"num_message_bits": 23, "sign_mode": "excitatory"}
    high = {"vth": 2**17 - 1}
    at_limit = {"in": np.array([[[2**15 // 8]], [[2**15 // 8 - 1]]])}
    once = {"in": np.pad(at_limit["in"], ((0, 0), (0, 1), (0, 0)))}
    assert overflows(one_layer([[8]], lif=high, **graded), once) == {"lif.input": [1, 0]}
    many = {"in": np.array([[[2**14], [0]]])}  # 16 · 2^14 · 64 = 2^24: wraps to 0
    assert overflows(one_layer([[16]], lif=high, **graded), many) == {
        "lif.input": [1], "lif.i": [1],
    }  # fmt: skip
    driven = {"dv": 0, "bias_mant": 2**14, "bias_exp": 9, **high}
    assert overflows(one_layer([[0]], lif=driven), spikes_at(1)) == {"lif.v": [1]}
    wide = {"in": np.array([[[2**23 - 1], [0]]])}
    sums = overflows(one_layer([[255]], lif=high, weight_exp=3, **graded), wide)
    assert sums["w.sum"] == [1]
    assert overflows(one_layer([[300, -300, 3]]), {"in": np.zeros((2, 1, 3))}) == {
        "w.weights": [2, 2],
    }  # fmt: skip


def test_a_convolution_that_leaves_24_bits_is_counted() -> None:
    conv = Conv(
        name="c", source="in", target="lif", weights=np.array([[[[32000]]]]),
        input_shape=(1, 1, 1), num_message_bits=10,
    )  # fmt: skip
    network = replace(one_layer([[0]]), connections=(conv,))
    found = overflows(network, {"in": np.array([[[1000], [0]], [[10], [0]]])})
    assert found["c.sum"] == [1, 0]


def test_nothing_is_reported_where_all_fits() -> None:
    assert overflows(one_layer([[100]]), spikes_at(3, 0, 1)) == {}


@pytest.mark.parametrize("seed", range(12))
def test_state_and_batch_change_nothing(seed: int) -> None:
    network, inputs = random_network(seed, batch=3, steps=24)
    engine = LoihiEngine(network)
    whole = engine.run(inputs, record=["all"])
    first = engine.run({name: x[:, :9] for name, x in inputs.items()}, record=["all"])
    rest = {name: x[:, 9:] for name, x in inputs.items()}
    second = engine.run(rest, state=first.state, record=["all"])
    for key, values in whole.recorded.items():
        parts = np.concatenate((first.recorded[key], second.recorded[key]), axis=1)
        np.testing.assert_array_equal(parts, values, err_msg=key)
    assert second.state.keys() == whole.state.keys()
    for key, values in whole.state.items():
        np.testing.assert_array_equal(second.state[key], values, err_msg=key)
    for sample in range(3):
        alone = engine.run({n: x[sample : sample + 1] for n, x in inputs.items()}, record=["all"])
        for key, values in whole.recorded.items():
            np.testing.assert_array_equal(alone.recorded[key][0], values[sample], err_msg=key)


def test_two_runs_give_the_same_bits() -> None:
    network = every_kind()
    inputs = {"in": np.random.default_rng(0).integers(0, 2, (2, 30, 6))}
    assert run(network, inputs).counts.spikes["a"].all()
    assert not differences(run(network, inputs), run(network, inputs))


@pytest.mark.parametrize(
    ("value", "bits", "named"),
    [(0.5, 0, r"inputs.in\[0, 1, 0\]: is 0.5"), (2, 0, "from 0 to 1"), (-1, 0, "is -1"),
     (16, 4, "from 0 to 15"), (float("nan"), 4, "not a finite number")],
)  # fmt: skip
def test_input_that_a_spike_cannot_carry_is_refused(value: float, bits: int, named: str) -> None:
    network = one_layer([[1]], num_message_bits=bits)
    with pytest.raises(InvalidInput, match=named):
        run(network, {"in": np.array([[[0.0], [value]]])})


def test_the_narrowest_connection_limits_an_input() -> None:
    network = one_layer([[1]], num_message_bits=8)
    binary = Dense(name="b", source="in", target="lif", weights=np.array([[1]]))
    assert network.payload_limit("in") == 255
    assert replace(network, connections=(*network.connections, binary)).payload_limit("in") == 1


def test_what_does_not_fit_is_named() -> None:
    network = one_layer([[1]])
    with pytest.raises(InvalidInput, match="nowhere"):
        LoihiEngine(network).run(spikes_at(2), record=["nowhere"])
    with pytest.raises(InvalidInput, match="'in' records nothing"):
        LoihiEngine(network).run(spikes_at(2), record=["in"])
    state = run(network, spikes_at(2)).state
    with pytest.raises(InvalidInput, match=r"state\.w\.line: is missing"):
        run(network, spikes_at(2), state={k: v for k, v in state.items() if k != "w.line"})
    with pytest.raises(InvalidInput, match=r"state\.lif\.v: is int64"):
        run(network, spikes_at(2), state={**state, "lif.v": state["lif.v"].astype(np.int64)})
