"""Adapters between host and chip; the one to the host is a step late, as embedded I/O is."""

import os
from pathlib import Path

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class _Adapter(AbstractProcess):
    def __init__(self, shape, num_message_bits=0):
        super().__init__(shape=shape)
        self.inp = InPort(shape=shape)
        self.out = OutPort(shape=shape)
        if "CHIP_LOG" in os.environ:
            with Path(os.environ["CHIP_LOG"]).open("a") as log:
                chosen = {k: os.environ.get(k) for k in ("LOIHI_GEN", "PARTITION", "NXSDKHOST")}
                log.write(f"{type(self).__name__} {shape} {num_message_bits} {chosen}\n")


class PyToNxAdapter(_Adapter):
    """Takes spikes to the chip."""


class NxToPyAdapter(_Adapter):
    """Brings spikes back."""


@implements(proc=PyToNxAdapter, protocol=LoihiProtocol)
@requires(CPU)
class _PyToNx(PyLoihiProcessModel):
    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self):
        self.out.send(self.inp.recv())


@implements(proc=NxToPyAdapter, protocol=LoihiProtocol)
@requires(CPU)
class _NxToPy(PyLoihiProcessModel):
    inp: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    late = None

    def run_spk(self):
        spikes = self.inp.recv()
        self.out.send(np.zeros_like(spikes) if self.late is None else self.late)
        self.late = spikes
