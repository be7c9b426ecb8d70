"""Loihi's integers in machine code: every bit is that of the readable engine."""

from dataclasses import replace

import numpy as np
import pytest
from support.equality import differences
from support.loihi import every_kind, one_layer, population

from fusion.errors import InvalidInput
from fusion.sparse_raster import SparseRaster
from simulators.loihi import LoihiEngine
from simulators.loihi_compiled import CompiledLoihiEngine
from simulators.loihi_connections import Conv, Dense
from simulators.loihi_network import InputNode, LoihiNetwork, OutputNode
from simulators.loihi_random import Inputs, random_network


def gentle(network: LoihiNetwork, inputs: Inputs) -> Inputs:
    """Return inputs whose payloads no sum can overflow with, so that machine code runs them."""
    return {name: np.minimum(values, 3) for name, values in inputs.items()}


class Machine(CompiledLoihiEngine):
    """The engine, which says whether machine code ran."""

    ran = False

    def _step(self, *arguments):  # type: ignore[no-untyped-def]
        self.ran = True
        return super()._step(*arguments)


def same(network: LoihiNetwork, inputs: Inputs) -> bool:
    """Check that both engines agree; return whether machine code ran."""
    machine, readable = Machine(network), LoihiEngine(network)
    ours, theirs = machine.run(inputs, record=["all"]), readable.run(inputs, record=["all"])
    assert differences(ours, theirs) == []
    assert ours.overflows.keys() == theirs.overflows.keys()
    for key, times in theirs.overflows.items():
        np.testing.assert_array_equal(ours.overflows[key], times, err_msg=key)
    return machine.ran


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_random_networks_agree_in_every_bit(first: int) -> None:
    in_machine_code = 0
    for seed in range(first, first + 10):
        network, inputs = random_network(seed, steps=30)
        same(network, inputs)
        in_machine_code += same(network, gentle(network, inputs))
    assert in_machine_code >= 8


def wide(seed: int) -> tuple[LoihiNetwork, Inputs]:
    """Return a network whose rows fill blocks of columns, or nearly, or a little more."""
    rng = np.random.default_rng(seed)
    lines, *sizes = rng.choice([1, 63, 64, 65, 128, 130, 300], 3).tolist()
    populations = tuple(
        population(
            name, (size,), du=int(rng.choice([4095, seed])), dv=int(rng.integers(0, 4096)),
            vth=int(rng.integers(0, 2 ** rng.integers(1, 18))), bias_exp=int(rng.integers(-3, 10)),
            bias_mant=rng.integers(-(2**15), 2**15, size) * (seed % 2),
            v=rng.integers(1 - 2**23, 2**23, size),
        )
        for name, size in zip("ab", sizes, strict=True)
    )  # fmt: skip
    message_bits = int(rng.choice([0, 8]))
    ends = [("in", "a", lines), ("in", "b", lines), ("a", "b", sizes[0]), ("b", "b", sizes[1])]
    connections = []
    for source, target, n_pre in ends:
        mode = str(rng.choice(["mixed", "excitatory", "inhibitory"]))
        low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[mode]
        connections.append(
            Dense(
                name=source + target, source=source, target=target, sign_mode=mode,
                weights=rng.integers(low, high, (sizes["ab".index(target)], n_pre)),
                weight_exp=int(rng.integers(-8, 8)), num_weight_bits=int(rng.choice([1, 5, 8])),
                num_message_bits=message_bits if source == "in" else 0,
            )
        )  # fmt: skip
    network = LoihiNetwork(
        dt_s=1e-3,
        inputs=(InputNode("in", (lines,)),),
        populations=populations,
        connections=tuple(connections),
        outputs=(OutputNode(name="out", source="b", shape=(sizes[1],), reads="v"),),
    )
    active = rng.random((2, 12, lines)) < rng.choice([0.02, 0.3, 1.0])
    return network, {"in": active * rng.integers(1, 2 ** max(message_bits, 1), active.shape)}


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_rows_of_every_width_sign_and_exponent_agree(first: int) -> None:
    assert all(same(*wide(seed)) for seed in range(first, first + 10))


def test_rows_that_bytes_cannot_hold_agree() -> None:
    weights = np.array([[[[2**15 - 1, -(2**15)], [129, 3]]]])
    conv = Conv(name="w", source="in", target="lif", weights=weights, input_shape=(1, 2, 2))
    network = replace(one_layer([[0] * 4], lif={"vth": 2**17 - 1}), connections=(conv,))
    assert same(network, {"in": np.eye(4, dtype=np.uint8)[None]})


def test_states_go_from_one_engine_to_the_other() -> None:
    for seed in range(20, 32):
        network, inputs = random_network(seed, steps=30)
        inputs = gentle(network, inputs)
        machine, readable = Machine(network), LoihiEngine(network)
        whole = readable.run(inputs, record=["all"])
        early = {name: values[:, :11] for name, values in inputs.items()}
        late = {name: values[:, 11:] for name, values in inputs.items()}
        for first, second in ((machine, readable), (readable, machine)):
            state = first.run(early).state
            before = {key: values.copy() for key, values in state.items()}
            rest = second.run(late, state, ["all"])
            for key, values in before.items():
                np.testing.assert_array_equal(state[key], values)  # a caller's state is kept
            for key, values in whole.recorded.items():
                np.testing.assert_array_equal(rest.recorded[key], values[:, 11:], err_msg=key)
            for key, values in whole.state.items():
                np.testing.assert_array_equal(rest.state[key], values, err_msg=key)


def test_only_what_is_asked_for_is_recorded() -> None:
    inputs = {"in": np.random.default_rng(0).integers(0, 2, (2, 20, 6))}
    ours = Machine(every_kind()).run(inputs, record=["b"])
    theirs = LoihiEngine(every_kind()).run(inputs, record=["b"])
    assert set(ours.recorded) == {"b.spikes", "b.v", "b.i"}
    assert differences(ours, theirs) == []


@pytest.mark.parametrize("kind", [np.uint8, np.bool_, np.int64, np.float32, np.float64])
def test_rasters_of_every_type_are_taken(kind: type) -> None:
    raster = np.random.default_rng(0).integers(0, 2, (2, 20, 6)).astype(kind)
    assert same(every_kind(), {"in": raster})


def test_lists_of_what_is_active_are_taken() -> None:
    raster = np.random.default_rng(0).integers(0, 2, (2, 20, 6))
    rows, channels = np.nonzero(raster.reshape(40, 6))
    start = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=40))))
    sparse = SparseRaster((2, 20, 6), start, channels.astype(np.int32))
    ours = Machine(every_kind()).run({"in": sparse}, record=["all"])
    theirs = LoihiEngine(every_kind()).run({"in": raster}, record=["all"])
    assert differences(ours, theirs) == []


def test_sums_that_could_leave_their_registers_are_left_to_the_readable_engine() -> None:
    network = one_layer([[255, 255]], weight_exp=7, num_message_bits=16, sign_mode="excitatory")
    most = (2**31 - 1) // (2 * 255 << 7)
    assert same(network, {"in": np.array([[[most, 0], [0, 0]]])})
    assert not same(network, {"in": np.array([[[most + 1, 0], [0, 0]]])})
    wide = {"in": np.array([[[2**16 - 1, 2**16 - 1], [0, 0]]])}
    assert Machine(network).run(wide).overflows["w.sum"].tolist() == [1]


@pytest.mark.parametrize(
    ("value", "named"),
    [(0.5, r"inputs.in\[0, 1, 1\]: is 0.5"), (2, "from 0 to 1"), (-1, "is -1"),
     (float("nan"), "not a finite number")],
)  # fmt: skip
def test_input_that_a_spike_cannot_carry_is_refused(value: float, named: str) -> None:
    engine = Machine(one_layer([[1, 2]]))
    with pytest.raises(InvalidInput, match=named):
        engine.run({"in": np.array([[[1.0, 0.0], [0.0, value]]])})


def test_no_connection_and_no_step_are_fine() -> None:
    network = replace(one_layer([[1]], lif={"bias_mant": 900, "dv": 0}), connections=())
    assert same(network, {"in": np.zeros((2, 5, 1))})
    assert same(every_kind(), {"in": np.zeros((1, 0, 6))})
