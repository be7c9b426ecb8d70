"""Lava's process models with one more port each, through which they show what they hold.

Their arithmetic is Lava's own, untouched. Importing this module makes Lava 0.10.0 importable on
Python 3.11 and newer first.
"""

import dataclasses
from typing import Any

import numpy as np


def _let_lava_import() -> None:
    """Import the one module of Lava that Python 3.11 refuses.

    Its class `ByteEncoder` is the default of dataclass fields, which has to be hashable since.
    """
    original = dataclasses.dataclass

    def hashable(cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    dataclasses.dataclass = hashable
    try:
        import lava.magma.compiler.var_model  # noqa: F401, PLC0415
    finally:
        dataclasses.dataclass = original


_let_lava_import()

from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.model.py.model import PyLoihiProcessModel  # noqa: E402
from lava.magma.core.model.py.ports import PyInPort, PyOutPort  # noqa: E402
from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.process.ports.ports import InPort, OutPort  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.lif.models import (  # noqa: E402
    PyLifModelBitAcc,
    PyLifModelFloat,
    PyLifResetModelBitAcc,
    PyLifResetModelFloat,
)
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402

AHEAD = 64
"""Steps that a channel to or from the outside holds."""


class Feed(AbstractProcess):  # type: ignore[misc]
    """Sends on, in every step, what it is given from outside Lava."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.given = InPort(shape=(size,))
        self.given.flag_external_pipe(buffer_size=AHEAD)
        self.s_out = OutPort(shape=(size,))


@implements(proc=Feed, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FeedFixed(PyLoihiProcessModel):  # type: ignore[misc]
    """See `Feed`."""

    given: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        """Step."""
        self.s_out.send(self.given.recv())


@implements(proc=Feed, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class FeedFloat(PyLoihiProcessModel):  # type: ignore[misc]
    """See `Feed`."""

    given: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        """Step."""
        self.s_out.send(self.given.recv())


class ShownLIF(LIF):  # type: ignore[misc]
    """Lava's LIF with a port `shown`, [3, neurons]: its spikes, u and v after the step."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        _add_port(self, values["shape"])


class ShownLIFReset(LIFReset):  # type: ignore[misc]
    """Lava's LIFReset with the port of `ShownLIF`."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        _add_port(self, values["shape"])


def _add_port(process: Any, shape: tuple[int, ...]) -> None:
    process.shown = OutPort(shape=(3, *shape))
    process.shown.flag_external_pipe(buffer_size=AHEAD)


class _Showing:
    """Sends after each step what Lava's model, the next class in line, has computed."""

    spiked: Any

    def reset_voltage(self, spike_vector: Any) -> None:
        """Keep the spikes, which Lava's models hold nowhere, and go on."""
        self.spiked = spike_vector
        super().reset_voltage(spike_vector=spike_vector)  # type: ignore[misc]

    def run_spk(self) -> None:
        """Step."""
        super().run_spk()  # type: ignore[misc]
        model: Any = self
        model.shown.send(np.stack([self.spiked, model.u, model.v]).astype(model.shown._d_type))


# `implements` refuses a subclass of a model that implements another process already.
class ShownLifFixed(_Showing, PyLifModelBitAcc):  # type: ignore[misc]
    """See `ShownLIF`."""

    implements_process = ShownLIF
    shown: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)


class ShownLifFloat(_Showing, PyLifModelFloat):  # type: ignore[misc]
    """See `ShownLIF`."""

    implements_process = ShownLIF
    shown: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)


class ShownLifResetFixed(_Showing, PyLifResetModelBitAcc):  # type: ignore[misc]
    """See `ShownLIFReset`."""

    implements_process = ShownLIFReset
    shown: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)


class ShownLifResetFloat(_Showing, PyLifResetModelFloat):  # type: ignore[misc]
    """See `ShownLIFReset`."""

    implements_process = ShownLIFReset
    shown: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
