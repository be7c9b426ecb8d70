"""One version of a model as this process knows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Literal

from fusion.encoding import SensorEncoder
from fusion.manifest import Manifest, parse_manifest
from fusion.model import encoders_of
from fusion.records import Version
from fusion.shelf import ShelvedModel

State = Literal["known", "loading", "ready", "failed", "damaged"]
"""`known`: not tried yet; `loading`: being compiled for the default target; `ready`: it was;
`failed`: the default target cannot run it; `damaged`: it cannot be read. `problem` says why."""
Key = tuple[str, str, bool]


@dataclass(eq=False)
class Entry:
    """One version of a model.

    Attributes:
        name: the model's name.
        version: as its manifest has it, empty for a bare graph.
        digest: the model's digest.
        stored: its record in the store; None if it ships in the models' folder.
        shelved: the model, None while it is not in memory.
        state: how far it has come in this process.
        problem: why it is `failed` or `damaged`.
        held_bytes: what it holds in memory, its programs apart.
        used: grows with every use, in the order of uses.
        gate: held by whoever loads it.
    """

    name: str
    version: str
    digest: str
    stored: Version | None = None
    shelved: ShelvedModel | None = None
    state: State = "known"
    problem: str | None = None
    held_bytes: int = 0
    used: int = 0
    gate: Lock = field(default_factory=Lock)

    @property
    def label(self) -> str:
        """What tells it from other versions of its name."""
        return self.version or self.digest

    @property
    def title(self) -> str:
        """What logs and problems call it: the name, and of a stored one the version."""
        return self.name if self.stored is None else f"{self.name}:{self.label}"

    @property
    def key(self) -> Key:
        """What makes it the same entry when all is looked at again."""
        return self.title, self.digest, self.stored is None

    @cached_property
    def manifest(self) -> Manifest | None:
        """Its manifest, whether or not it is in memory; raises InvalidModel if it is too large."""
        if self.stored is not None:
            text = self.stored.manifest
            return None if text is None else parse_manifest(text.encode())
        return None if self.shelved is None else self.shelved.model.manifest

    @cached_property
    def encoders(self) -> Mapping[str, SensorEncoder]:
        """Sensor → encoder, whether or not it is in memory."""
        return encoders_of(self.manifest)


def shipped(shelved: ShelvedModel) -> Entry:
    """Return a model of the folder as an entry."""
    model = shelved.model
    version = model.manifest.version if model.manifest else ""
    return Entry(model.name, version, model.digest, shelved=shelved)


def uploaded(version: Version) -> Entry:
    """Return a stored model as an entry."""
    return Entry(version.name, version.version, version.digest, stored=version)
