"""The small objects of a store: what they say, and whether they still say what was written."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from fusion.errors import Damaged, InvalidModel

_T = TypeVar("_T")

SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""Names, versions and aliases that can be stored: they are parts of paths and addresses."""
SANE_TEXT = "letters, digits and . _ + - (at most 100, the first a letter or digit)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One stored version of a model; never changed, only removed.

    Attributes:
        name: the model's name.
        version: its version as the manifest has it, empty for a bare graph.
        digest: the model's digest.
        file: SHA-256 of the file that holds it, hexadecimal.
        size_bytes: size of that file.
        created_us: when it was stored, microseconds of Unix time, later than every older version's.
        manifest: its `fusion.yaml`; None for a bare graph.
    """

    name: str
    version: str
    digest: str
    file: str
    size_bytes: int
    created_us: int
    manifest: str | None

    @property
    def label(self) -> str:
        """What tells it from other versions of its name."""
        return self.version or self.digest

    @property
    def key(self) -> str:
        """Where its record lies."""
        return version_key(self.name, self.label)

    @property
    def file_key(self) -> str:
        """Where its file lies."""
        return f"{FILES}/{self.file}.zip"


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that leads to one version, until it is set anew."""

    version: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Whether a model is unloaded; `change` is another one each time it is loaded or unloaded."""

    unloaded: bool
    change: str


MODELS, FILES, SWITCHES = "models", "files", "switches"
_RECORD = re.compile(rf"{MODELS}/([^/]+)/(versions|aliases)/([^/]+)\.json")
_SWITCH = re.compile(rf"{SWITCHES}/([^/]+)\.json")


def version_key(name: str, label: str) -> str:
    """Return where the record of a version lies."""
    return f"{MODELS}/{name}/versions/{label}.json"


def alias_key(name: str, alias: str) -> str:
    """Return where an alias lies."""
    return f"{MODELS}/{name}/aliases/{alias}.json"


def switch_key(name: str) -> str:
    """Return where the switch of a model lies, whatever its name."""
    return f"{SWITCHES}/{quote(name, safe='')}.json"


Record = Version | Alias | Switch


@dataclass(frozen=True, slots=True)
class Index:
    """All that a store holds.

    Attributes:
        versions: model name → its versions, the oldest first.
        aliases: model name → alias → label of a version.
        switches: model name → switch, for those that were ever loaded or unloaded.
        problems: key → what is wrong with a record that is not used.
    """

    versions: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    problems: Mapping[str, Damaged] = field(default_factory=dict)

    def find(self, name: str, label: str) -> Version | None:
        """Return a version by its label."""
        return next((one for one in self.versions.get(name, ()) if one.label == label), None)


def make_index(records: Mapping[str, Record | Damaged]) -> Index:
    """Return the index of records by key."""
    versions: dict[str, list[Version]] = {}
    aliases: dict[str, dict[str, str]] = {}
    switches: dict[str, Switch] = {}
    problems: dict[str, Damaged] = {}
    for key, record in records.items():
        match record:
            case Version():
                versions.setdefault(record.name, []).append(record)
            case Alias(version):
                _, name, _, alias = key.removesuffix(".json").split("/")
                aliases.setdefault(name, {})[alias] = version
            case Switch():
                switches[unquote(key.partition("/")[2].removesuffix(".json"))] = record
            case Damaged():
                problems[key] = record
    ordered = {
        name: tuple(sorted(ones, key=lambda one: (one.created_us, one.label)))
        for name, ones in versions.items()
    }
    return Index(ordered, aliases, switches, problems)


def kind_of(key: str) -> type[Record] | None:
    """Return what should lie under a key; None if nothing of a store's should."""
    if _SWITCH.fullmatch(key):
        return Switch
    found = _RECORD.fullmatch(key)
    if found is None or not all(SANE.fullmatch(part) for part in (found[1], found[3])):
        return None
    return Version if found[2] == "versions" else Alias


def seal(record: Record) -> bytes:
    """Return a record as it is stored: the SHA-256 of the line of JSON that follows it."""
    text = msgspec.json.encode(record)
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n"


def unseal(key: str, data: bytes, kind: type[_T]) -> _T:
    """Return what a record says.

    Raises:
        Damaged: if it is not as it was written, or belongs under another key.
    """
    head, _, rest = data.partition(b"\n")
    text = rest.removesuffix(b"\n")
    if head.decode("latin-1") != hashlib.sha256(text).hexdigest():
        raise Damaged(key, "is damaged: it is not what was written", "upload the model again")
    try:
        record = msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise Damaged(key, f"is no {kind.__name__.lower()}: {error}") from None
    if isinstance(record, Version) and record.key != key:
        raise Damaged(key, f"belongs under {record.key}")
    return record


def require_sane(field: str, text: str) -> None:
    """Refuse a name, version or alias that cannot be a part of an address.

    Raises:
        InvalidModel: naming `field`.
    """
    if not SANE.fullmatch(text):
        raise InvalidModel(field, f"{text[:80]!r} cannot be stored", SANE_TEXT)
