"""Lava, the independent witness: what the quantiser makes runs there as in the emulator."""

import numpy as np
import pytest
from support.lava import installed
from support.quantising import NETWORKS, poisson, quantised

from backends.lava_engine import LavaEngine, lava_host
from simulators.loihi import LoihiEngine


@pytest.mark.full
@pytest.mark.parametrize("name", NETWORKS)
def test_every_spike_and_register_is_lavas(name):
    python = installed()
    network = NETWORKS[name]()
    samples = poisson(network, samples=2, steps=40)
    made, _ = quantised(network, samples)
    inputs = {key: np.stack([one[key] for one in samples]) for key in samples[0]}
    ours = LoihiEngine(made.network).run(inputs, record=["all"])
    host = lava_host("loihi-lava", python)
    try:
        theirs = LavaEngine(made.network, host, runtime=False).run(inputs, record=["all"])
    finally:
        host.close()
    assert ours.recorded.keys() == theirs.recorded.keys()
    for key, values in ours.recorded.items():
        np.testing.assert_array_equal(values, theirs.recorded[key], err_msg=key)
