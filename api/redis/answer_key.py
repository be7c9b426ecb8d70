"""What an answer depends on, as one name: 256 bits of all of it."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import backends
import fusion
import simulators
from api.job import Job
from fusion.window import Encoding

FORMAT = b"1"
"""Changes with how answers are packed."""
ENGINES = ("numpy", "scipy", "numba", "llvmlite", "nir", "brian2")
_SUFFIXES = (".py", ".yaml", ".txt")


def answer_key(job: Job) -> bytes:
    """Return the name of a job's answer: of all that it depends on, bit for bit.

    That is the model, the contract on the target, the target as it is configured, the code that
    runs it, the seed, what is recorded, and what drives the Input nodes, from which recordings.

    Raises:
        FusionError: if a recording cannot be used.
    """
    digest = _Digest()
    digest.add(FORMAT, code_version(), job.shelved.model.digest.encode())
    digest.add(repr(job.contract).encode(), repr(job.target).encode(), repr(job.seed).encode())
    digest.add(repr(sorted(set(job.record))).encode())
    _add_input(digest, job.window.encoding())
    return digest.value()


def _add_input(digest: "_Digest", encoding: Encoding) -> None:
    digest.add(repr(sorted(encoding.latency_steps.items())).encode())
    for sensor, report in encoding.reports.items():
        digest.add(b"sensor", sensor.encode(), repr(report).encode())
    for node, raster in encoding.inputs.items():
        digest.add(b"node", node.encode(), repr(raster.shape).encode())
        for array in (raster.start, raster.channel, raster.value):
            if array is not None:
                digest.add(array.dtype.str.encode(), np.ascontiguousarray(array).data)
        digest.add(b"" if raster.value is None else b"values")


@cache
def code_version() -> bytes:
    """Return a digest of the code that makes answers, and of the versions of its engines."""
    digest = _Digest()
    for package in (fusion, simulators, backends):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SUFFIXES:
                digest.add(str(path.relative_to(folder)).encode(), path.read_bytes())
    for name in ENGINES:
        digest.add(name.encode(), _version(name).encode())
    return digest.value()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


class _Digest:
    """A hash of parts; where one ends and the next begins counts, too."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=32)

    def add(self, *parts: bytes | memoryview) -> None:
        for part in parts:
            size = part.nbytes if isinstance(part, memoryview) else len(part)
            self._hash.update(size.to_bytes(8, "little"))
            self._hash.update(part)

    def value(self) -> bytes:
        return self._hash.digest()
