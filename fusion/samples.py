"""Recordings that ship with a model, so that a newcomer's first call works."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fusion.encoding import Recording
from fusion.errors import InvalidInput
from fusion.files import read_recording
from fusion.manifest import convert
from fusion.model import FusionModel
from fusion.yaml_file import read_yaml

INDEX = "samples/index.yaml"
MAX_INDEX_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One entry of `samples/index.yaml`.

    Attributes:
        name: what a request calls it.
        label: the right answer.
        files: sensor → file in the samples' folder.
    """

    name: str
    label: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleIndex:
    """The whole of `samples/index.yaml`: the samples, and where they come from."""

    attribution: str
    samples: tuple[Sample, ...]


def read_index(folder: Path | None) -> SampleIndex:
    """Return the index of the samples that ship with the model in `folder`; empty without one.

    Raises:
        InvalidModel: naming the entry of the index that is wrong.
    """
    if folder is None or not (path := folder / INDEX).is_file():
        return SampleIndex(attribution="", samples=())
    seen = path.stat()
    return _read(path, (seen.st_ino, seen.st_mtime_ns, seen.st_size))


# Every request that names a sample asks, and reading YAML takes longer than most runs.
@lru_cache(maxsize=64)
def _read(path: Path, state: tuple[int, ...]) -> SampleIndex:  # noqa: ARG001, a part of the key
    return convert(read_yaml(path.read_bytes(), INDEX, MAX_INDEX_BYTES), SampleIndex, INDEX)


def list_samples(folder: Path | None) -> tuple[Sample, ...]:
    """Return the samples that ship with the model in `folder`, none if it has no index.

    Raises:
        InvalidModel: as `read_index`.
    """
    return read_index(folder).samples


def read_sample(folder: Path | None, model: FusionModel, name: str, sensor: str) -> Recording:
    """Return what one sensor recorded in a shipped sample.

    Raises:
        InvalidInput: if there is no such sample, or it has no such sensor.
    """
    samples = {sample.name: sample for sample in list_samples(folder)}
    field = f"sensors.{sensor}.sample"
    if folder is None or name not in samples:
        known = ", ".join(samples) or "this model ships no samples"
        raise InvalidInput(field, f"no sample {name!r}", known)
    files = samples[name].files
    if sensor not in files or sensor not in model.encoders:
        raise InvalidInput(field, f"sample {name!r} has no {sensor!r}", ", ".join(files))
    return read_recording(folder / "samples" / files[sensor], model.encoders[sensor])
