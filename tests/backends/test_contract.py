"""Our own backends prove themselves with the tests that ship for everybody's."""

from dataclasses import replace

import pytest
from support.lava import installed
from support.loihi import model_of, within_registers
from support.profiles import FLOAT_PROFILES

from backends.brian2_backend import Brian2Backend
from backends.registry import Registry
from fusion.contract import make_contract
from simulators.loihi import LoihiEngine
from simulators.loihi_random import random_network
from snn_fusion.testing import BATCH, STEPS, BackendContract


class UnderEveryProfile(BackendContract):
    """The contract under every profile; the networks hold seconds, whatever a platform writes."""

    @pytest.fixture(autouse=True, params=FLOAT_PROFILES)
    def profile(self, request):
        self.chosen = request.param

    def contract(self):
        return make_contract(self.chosen, 1e-3, {"time_unit": "seconds"})


class TestNumpy(UnderEveryProfile):
    @classmethod
    def make_backend(cls):
        return Registry().backend("numpy")


class TestCpu(UnderEveryProfile):
    @classmethod
    def make_backend(cls):
        return Registry().backend("cpu")


class TestLoihiEmulator(BackendContract):
    """In integers: random networks of them, behind graphs of just their inputs and outputs."""

    @classmethod
    def make_backend(cls):
        return Registry().backend("loihi-emulator")

    @pytest.fixture(params=range(8))
    def network(self, request):
        return IntegerNetwork(request.param)

    def contract(self):
        return make_contract("loihi", 1e-3)

    def model(self, network):
        return network.model

    def reference(self, network, inputs):
        return LoihiEngine(network.integers).run(inputs, record=["all"])


@pytest.mark.full
class TestLoihiLava(TestLoihiEmulator):
    """The same networks, fewer of them: every test starts Lava anew."""

    @classmethod
    def make_backend(cls):
        installed()
        return Registry().backend("loihi-lava")

    @pytest.fixture(params=range(2))
    def network(self, request):
        return IntegerNetwork(request.param)

    def reference(self, network, inputs):
        # Lava does not say what left its range.
        return replace(super().reference(network, inputs), overflows={})


class IntegerNetwork:
    def __init__(self, seed):
        network, self._inputs = random_network(seed, batch=BATCH, steps=STEPS)
        self.integers = within_registers(network)
        self.model = model_of(self.integers)
        self.graph = self.model.graph

    def inputs(self, batch, steps):
        return {name: x[:batch, :steps].astype(float) for name, x in self._inputs.items()}


@pytest.mark.full
class TestBrian2(UnderEveryProfile):
    @classmethod
    def make_backend(cls):
        return Brian2Backend(replace(Registry().targets["brian2"], options={"codegen": "numpy"}))


@pytest.mark.full
class TestBrian2AsItIsServed(BackendContract):
    @classmethod
    def make_backend(cls):
        return Registry().backend("brian2")
