"""The random networks of Loihi's integers: reproducible, alive, and of every kind."""

import numpy as np

from simulators.loihi import LoihiEngine
from simulators.loihi_connections import Conv
from simulators.loihi_file import save
from simulators.loihi_random import random_network

SEEDS = range(40)


def test_a_seed_names_one_network() -> None:
    one, inputs = random_network(7)
    other, same = random_network(7)
    assert save(one) == save(other)
    np.testing.assert_array_equal(inputs["input"], same["input"])
    assert save(one) != save(random_network(8)[0])


def test_everything_occurs_and_most_populations_are_alive() -> None:
    seen: set[str] = set()
    shares = []
    for seed in SEEDS:
        network, inputs = random_network(seed, steps=25)
        trace = LoihiEngine(network).run(inputs, record=["all"])
        shares += [float(trace.recorded[f"{p.name}.spikes"].mean()) for p in network.populations]
        seen |= {key.rpartition(".")[2] for key in trace.overflows}
        for one in network.connections:
            seen.add(type(one).__name__)
            seen.add("graded" if one.num_message_bits else "binary")
            seen.add("loop" if one.name.startswith("loop") else "forward")
            if not isinstance(one, Conv):
                seen |= {f"mode {one.sign_mode}", f"exponent {np.sign(one.weight_exp)}"}
                seen |= {f"bits {one.num_weight_bits}"} | {"delays"} - {one.delays is None}
        seen |= {"reset" for one in network.populations if one.reset is not None}
    assert seen >= {
        "Dense", "Sparse", "Conv", "graded", "binary", "loop", "forward", "delays", "reset",
        "mode None", "mode mixed", "mode excitatory", "mode inhibitory",
        "exponent -1", "exponent 0", "exponent 1", *(f"bits {bits}" for bits in range(1, 9)),
        "input", "i", "v", "sum", "weights",
    }  # fmt: skip
    alive = np.mean([0.01 <= share <= 0.5 for share in shares])
    assert alive > 0.75, alive
