"""Our own backends prove themselves with the tests that ship for everybody's."""

import pytest

from backends.registry import Registry
from snn_fusion.testing import BackendContract


class TestNumpy(BackendContract):
    @classmethod
    def make_backend(cls):
        return Registry().backend("numpy")


@pytest.mark.full
class TestBrian2(BackendContract):
    @classmethod
    def make_backend(cls):
        return Registry().backend("brian2")
