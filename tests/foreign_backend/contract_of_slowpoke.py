"""What the author of the foreign backend writes to prove it; run by `test_foreign_backend.py`."""

from pathlib import Path

from slowpoke import SlowpokeBackend

from snn_fusion import read_target
from snn_fusion.testing import BackendContract


class TestSlowpoke(BackendContract):
    @classmethod
    def make_backend(cls):
        return SlowpokeBackend(read_target(Path(__file__).parent / "targets" / "slowpoke.yaml"))
