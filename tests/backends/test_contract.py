"""Our own backends prove themselves with the tests that ship for everybody's."""

from dataclasses import replace

import pytest
from support.profiles import FLOAT_PROFILES

from backends.brian2_backend import Brian2Backend
from backends.registry import Registry
from fusion.contract import make_contract
from snn_fusion.testing import BackendContract


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
