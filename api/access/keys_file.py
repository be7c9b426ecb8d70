"""The keys' file: who may ask what, with the hashes of their keys."""

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from api.access.keys import read_hash
from api.access.limits import UNLIMITED, Limits
from api.access.scopes import GRANTED, Scope
from fusion.errors import FusionError, InvalidInput
from fusion.manifest import convert
from fusion.yaml_file import read_yaml

MOST_BYTES = 8 * 2**20
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_TARGET = re.compile(r"[A-Za-z0-9._*-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One key, as its file has it.

    Attributes:
        id: its public id.
        name: whom it was given to.
        hash: `sha256:` and the digest of the key in hex.
        scopes: what it is good for.
        targets: names of targets, in which `*` stands for any text.
        expires: the first day, in UTC, on which it is not good any more.
        disabled: whether it is not good for the time being.
        limits: how much may be asked with it.
    """

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    targets: tuple[str, ...] = ("*",)
    expires: date | None = None
    disabled: bool = False
    limits: Limits = UNLIMITED

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise InvalidInput("id", "is not 1 to 64 letters, digits and -")
        read_hash(self.hash)
        for scope in self.scopes:
            if scope not in GRANTED:
                known = ", ".join(GRANTED)
                close = difflib.get_close_matches(scope, GRANTED, 1)
                raise InvalidInput("scopes", f"{scope!r} is no scope", close[0] if close else known)
        for pattern in self.targets:
            if not _TARGET.fullmatch(pattern):
                raise InvalidInput("targets", f"{pattern!r} is no name of a target, nor has *")

    @property
    def digest(self) -> bytes:
        """The digest of the key."""
        return read_hash(self.hash)

    @property
    def granted(self) -> frozenset[Scope]:
        """What it is good for."""
        return frozenset(map(Scope, self.scopes))

    @property
    def ends_s(self) -> float:
        """When it ends to be good, in seconds since 1970, UTC; infinite if it does not."""
        if self.expires is None:
            return float("inf")
        return datetime.combine(self.expires, datetime.min.time(), UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """The entries of a keys' file."""

    keys: list[dict[str, Any]]
    defaults: dict[str, Any]


def parse_keys(text: bytes, name: str) -> dict[str, KeyEntry]:
    """Return id → key of a keys' file.

    Args:
        text: the file.
        name: what errors call it.

    Raises:
        FusionError: naming the key and the entry that is wrong.
    """
    content = read_yaml(text, name, MOST_BYTES)
    if not isinstance(content, dict) or not isinstance(content.get("keys"), list):
        raise InvalidInput(name, "has no list called keys", "keys: []")
    strange = sorted(map(str, set(content) - {"keys", "defaults"}))
    if strange:
        raise InvalidInput(f"{name}.{strange[0]}", "is not an entry", "keys, defaults")
    defaults = content.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise InvalidInput(f"{name}.defaults", "is not limits by their names")
    convert(defaults, Limits, f"{name}.defaults")
    entries = [
        _entry(one, defaults, f"{name}.keys[{index}]") for index, one in enumerate(content["keys"])
    ]
    twice = [key_id for key_id, count in Counter(one.id for one in entries).items() if count > 1]
    if twice:
        raise InvalidInput(f"{name}.keys", f"the id {twice[0]} stands there twice")
    return {one.id: one for one in entries}


def _entry(given: object, defaults: Mapping[str, Any], field: str) -> KeyEntry:
    if not isinstance(given, dict):
        raise InvalidInput(field, "is no key", "id, name, hash and scopes")
    field = f"{field} (id {given['id']!s:.64})" if "id" in given else field
    own = given.get("limits") or {}
    merged = {**given, "limits": {**defaults, **own}} if isinstance(own, dict) else given
    try:
        return convert(merged, KeyEntry, field)
    except FusionError as error:
        raise InvalidInput(error.field, error.problem, error.nearest) from None
