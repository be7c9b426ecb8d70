"""Recordings from files, chosen by the file's ending."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion.encoders.nmnist import read_nmnist
from fusion.encoders.wav import read_wav
from fusion.encoding import Recording, Samples, SensorEncoder
from fusion.errors import InvalidInput
from fusion.events import EventStream


def read_recording(path: Path, sensor: SensorEncoder) -> Recording:
    """Return the recording in a file.

    `.wav` (one channel) and `.npy` (float [n] at the sensor's own rate) hold samples; `.bs2` and
    `.bin` (N-MNIST) and `.npz` (`times_us`, `channels` and maybe `values`) hold events.

    Raises:
        InvalidInput: naming the file, if it is missing, of an unknown kind or cannot be read.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(str(path), f"unknown ending {path.suffix!r}", ", ".join(READERS))
    try:
        return reader(path, sensor)
    except OSError as error:
        raise InvalidInput(str(path), f"cannot be read: {error.strerror or error}") from None


def _wav(path: Path, _: SensorEncoder) -> Recording:
    return Samples(*read_wav(path))


def _nmnist(path: Path, _: SensorEncoder) -> Recording:
    return read_nmnist(path)


def _npy(path: Path, sensor: SensorEncoder) -> Recording:
    rate_hz = sensor.sensor.rate_hz
    if rate_hz is None:
        raise InvalidInput(str(path), "holds samples", "this sensor takes events")
    return Samples.checked(_load(path), rate_hz, str(path))


def _npz(path: Path, sensor: SensorEncoder) -> Recording:
    with _load(path) as arrays:
        for name in ("times_us", "channels"):
            if name not in arrays:
                raise InvalidInput(str(path), f"has no array {name!r}", "times_us, channels")
        values = arrays.get("values")
        return EventStream.checked(
            arrays["times_us"], arrays["channels"], values, size=sensor.channels, field=str(path)
        )


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidInput(str(path), f"is not a NumPy file: {error}") from None


READERS: Mapping[str, Callable[[Path, SensorEncoder], Recording]] = MappingProxyType(
    {".wav": _wav, ".npy": _npy, ".bs2": _nmnist, ".bin": _nmnist, ".npz": _npz}
)
"""File ending → reader."""
