"""Machine code for what every event of a request passes through, if an engine brings it along."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

ROOM = 4
"""Entries that a list needs behind its last one, because some are written at a time."""


class MachineCode(Protocol):
    """What an engine that compiles brings along for all that every event passes through.

    `simulators.compiled_events` documents it; it is held to what is written out in Python.
    """

    def are_in_order(  # noqa: D102
        self,
        times: NDArray[np.int64],
        channels: NDArray[np.int32] | NDArray[np.int64],
        size: int,
        last_us: int,
    ) -> bool: ...

    def scan_events(  # noqa: D102
        self,
        times: NDArray[np.int64],
        channels: NDArray[np.int32],
        values: NDArray[np.float32],
        edges: NDArray[np.int64],
        size: int,
        binary: bool,
        start: NDArray[np.int64],
        channel: NDArray[np.int32],
        value: NDArray[np.float32],
    ) -> int: ...

    def weigh(  # noqa: D102
        self,
        scores: NDArray[np.float64],
        fused: NDArray[np.float64],
        posteriors: NDArray[np.float64],
        contributions: NDArray[np.float64],
    ) -> tuple[int, float, float]: ...

    def scan_integers(self, text: Bytes, out: NDArray[np.int64]) -> int: ...  # noqa: D102


_code: MachineCode | None = None


def machine_code() -> MachineCode | None:
    """Return what this process uses, None if it has nothing but NumPy."""
    return _code


def use_machine_code(code: MachineCode | None) -> None:
    """Have this process use machine code from now on; None goes back to NumPy."""
    global _code  # noqa: PLW0603 (machine code is a property of the process)
    _code = code
