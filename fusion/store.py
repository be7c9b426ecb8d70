"""Models that were uploaded: versions that never change, and aliases that lead to them.

A model's files lie as one zip under the zip's own SHA-256; a small record of each version names it.
The zip is written first, the record last and only if there is none of this version yet: what was
cut off in between is never seen, and of two writers of one version one is told. Nothing is locked.
"""

import errno
import hashlib
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

from fusion.containers import MANIFEST
from fusion.errors import Conflict, Damaged, InvalidInput, StoreFailed, StoreFull
from fusion.limits import DEFAULT_LIMITS, ModelLimits
from fusion.model import FusionModel, parse_model
from fusion.objects import Objects, Seen
from fusion.records import (
    FILES,
    MODELS,
    SWITCHES,
    Alias,
    Index,
    Record,
    Switch,
    Version,
    alias_key,
    kind_of,
    make_index,
    require_sane,
    seal,
    switch_key,
    unseal,
    version_key,
)
from fusion.saving import archive

SWEEP_AGE_S = 3600.0
"""A file without a record is dropped at this age; an upload is over long before."""
_ARCHIVE_BYTES = 8 * 2**20
"""So much larger than its files may a zip of them be."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ModelStore:
    """Stored models; safe to use from several threads, processes and machines at once.

    Every method raises `StoreFailed` if the place cannot be read or written, `StoreFull` if it has
    no room.

    Args:
        objects: where they lie.
        limits: how large a model may be.
    """

    def __init__(self, objects: Objects, limits: ModelLimits = DEFAULT_LIMITS) -> None:
        self.objects = objects
        # A model at the limit, packed into a zip, is beyond it.
        self._limits = replace(limits, file_bytes=limits.file_bytes + _ARCHIVE_BYTES)
        self._lock = Lock()
        self._known: Mapping[str, tuple[Seen, Record | Damaged]] = {}

    def index(self) -> Index:
        """Return what is stored now; of what is known from before, only the listing is read."""
        with self._lock, self._failing():
            listed = {**self.objects.listing(MODELS), **self.objects.listing(SWITCHES)}
            known = {}
            for key, seen in listed.items():
                kind = kind_of(key)
                if kind is not None:
                    known[key] = self._entry(key, seen, kind)
            self._known = {key: entry for key, entry in known.items() if entry is not None}
            return make_index({key: record for key, (_, record) in self._known.items()})

    def _entry(
        self, key: str, seen: Seen, kind: type[Record]
    ) -> tuple[Seen, Record | Damaged] | None:
        before = self._known.get(key)
        if before is not None and before[0] == seen:
            return before
        try:
            return seen, unseal(key, self.objects.read(key), kind)
        except FileNotFoundError:  # removed since it was listed
            return None
        except Damaged as error:
            return seen, error

    def add(self, model: FusionModel) -> tuple[Version, bool]:
        """Store a model; return its version, and whether it is new.

        Storing the same model again writes its file again, which mends a damaged one.

        Raises:
            InvalidModel: if its name or version cannot be stored.
            Conflict: if the version exists with other content.
        """
        made = self._version(model)
        data = archive(model.content, deflated=False)
        made = replace(made, file=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        with self._failing():
            older = self._record(made.key, made)
            self.objects.replace(made.file_key, data)
            return (older, False) if older is not None else self._written(made, data)

    def _version(self, model: FusionModel) -> Version:
        manifest = model.manifest
        require_sane(f"{MANIFEST}.name", model.name)
        if manifest is not None:
            require_sane(f"{MANIFEST}.version", manifest.version)
        text = model.content.get(MANIFEST)
        older = self.index().versions.get(model.name, ())
        return Version(
            name=model.name,
            version=manifest.version if manifest else "",
            digest=model.digest,
            file="",
            size_bytes=0,
            # Clocks of several machines differ; the order of versions must not depend on them.
            created_us=max([time.time_ns() // 1000, *(one.created_us + 1 for one in older)]),
            manifest=None if text is None else text.decode(),
        )

    def _written(self, made: Version, data: bytes) -> tuple[Version, bool]:
        """Write the record of a version whose file is written."""
        new = self.objects.create(made.key, seal(made))
        if not new:
            found = self._record(made.key, made)
            if found is not None:
                return found, False
            self.objects.replace(made.key, seal(made))  # a damaged one, or one just removed
        if made.file_key not in self.objects.listing(FILES):  # a sweep took it for forsaken
            self.objects.replace(made.file_key, data)
        return made, True

    def _record(self, key: str, made: Version) -> Version | None:
        """Return the version under a key; None if there is none that can be read.

        Raises:
            Conflict: if it has other content than the one to be made.
        """
        try:
            found = unseal(key, self.objects.read(key), Version)
        except (FileNotFoundError, Damaged):
            return None
        if found.digest != made.digest:
            raise Conflict(
                f"{MANIFEST}.version",
                f"version {made.version!r} of {made.name!r} exists with other content, whose "
                f"digest is {found.digest[:12]}",
                "a version that does not exist yet",
            )
        return found

    def file(self, version: Version) -> bytes:
        """Return a version's file, a zip.

        Raises:
            Damaged: if it is missing, or not what was stored.
            InvalidInput: if the version was removed meanwhile.
        """
        with self._failing():
            try:
                data = self.objects.read(version.file_key)
            except FileNotFoundError:
                if version.key not in self.objects.listing(MODELS):
                    raise InvalidInput("model", f"{version.name!r} was deleted") from None
                raise self._damaged(version, "is missing") from None
        if hashlib.sha256(data).hexdigest() != version.file:
            raise self._damaged(version, "is damaged: it is not what was stored")
        return data

    def read(self, version: Version) -> FusionModel:
        """Return a stored model.

        Raises:
            Damaged, InvalidInput: as `file`.
            InvalidModel: if it exceeds this deployment's limits.
        """
        model = parse_model(self.file(version), self._limits)
        if model.digest != version.digest:
            raise self._damaged(version, f"holds a model with the digest {model.digest[:12]}")
        return model

    def _damaged(self, version: Version, problem: str) -> Damaged:
        return Damaged(
            f"{version.name}:{version.label}", f"its file {problem}", "upload the model again"
        )

    def remove(self, name: str, label: str) -> None:
        """Remove a version, also one whose record is damaged. Its file is swept up later.

        Raises:
            InvalidInput: if there is none.
            Conflict: if an alias leads to it.
        """
        index = self.index()
        key = version_key(name, label)
        if index.find(name, label) is None and key not in index.problems:
            raise unknown_version(index, name, label)
        leading = [alias for alias, to in index.aliases.get(name, {}).items() if to == label]
        if leading:
            problem = f"the alias {leading[0]!r} leads to version {label!r} of {name!r}"
            raise Conflict("version", problem, "set or delete the alias first")
        with self._failing():
            self.objects.remove(key)

    def remove_all(self, name: str) -> tuple[str, ...]:
        """Remove a model with all its versions and aliases; return the versions' labels.

        Raises:
            InvalidInput: if there is none.
        """
        self.index()
        # The keys, not the index: damaged records go, too.
        mine = [key for key in self._known if key.startswith(f"{MODELS}/{name}/")]
        if not mine:
            raise InvalidInput("model", f"no model {name!r} was uploaded")
        with self._failing():
            for key in sorted(mine):  # aliases first, so that none is left leading nowhere
                self.objects.remove(key)
        versions = [key for key in mine if "/versions/" in key]
        return tuple(key.rpartition("/")[2].removesuffix(".json") for key in versions)

    def set_alias(self, name: str, alias: str, label: str, elsewhere: Collection[str] = ()) -> None:
        """Let an alias lead to a version, wherever it led before.

        Args:
            name: the model's name.
            alias: the alias.
            label: the version's label.
            elsewhere: labels of versions that are not stored here, but known to be.

        Raises:
            InvalidModel: if the name or the alias cannot be stored.
            InvalidInput: if there is no such version.
        """
        require_sane("alias", alias)
        require_sane("model", name)
        index = self.index()
        if index.find(name, label) is None and label not in elsewhere:
            raise unknown_version(index, name, label)
        with self._failing():
            self.objects.replace(alias_key(name, alias), seal(Alias(label)))

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias.

        Raises:
            InvalidInput: if there is none.
        """
        index = self.index()
        known = index.aliases.get(name, {})
        key = alias_key(name, alias)
        if alias not in known and key not in index.problems:
            raise InvalidInput(
                "alias", f"{name!r} has no alias {alias!r}", ", ".join(known) or None
            )
        with self._failing():
            self.objects.remove(key)

    def switch(self, name: str, *, unloaded: bool) -> None:
        """Let every process that reads this store unload a model, or load it anew."""
        with self._failing():
            made = Switch(unloaded, uuid.uuid4().hex)
            self.objects.replace(switch_key(name), seal(made))

    def sweep(self, older_s: float = SWEEP_AGE_S) -> tuple[str, ...]:
        """Drop files without a record that were written so many seconds ago; return their keys.

        While a record is damaged nothing is dropped, for its file may be among them.
        """
        with self._failing():
            self.objects.clean(older_s)
            listed = self.objects.listing(FILES)
        index = self.index()
        if index.problems:
            return ()
        named = {one.file_key for ones in index.versions.values() for one in ones}
        forsaken = [key for key, seen in listed.items() if key not in named]
        with self._failing():
            return tuple(key for key in forsaken if self._dropped(key, listed[key], older_s))

    def _dropped(self, key: str, seen: Seen, older_s: float) -> bool:
        """Drop a file if it is old and nobody has written it anew since it was listed."""
        old = seen.written_s < time.time() - older_s
        if not old or self.objects.listing(FILES).get(key) != seen:
            return False
        self.objects.remove(key)
        return True

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = error.strerror or str(error) or type(error).__name__
            if error.errno in _FULL:
                raise StoreFull("store", f"has no room: {told}") from None
            raise StoreFailed("store", f"cannot be used: {told}") from None


def unknown_version(index: Index, name: str, label: str) -> InvalidInput:
    """Return the error that a model or its version was not uploaded."""
    known = [one.label for one in index.versions.get(name, ())]
    if not known:
        return InvalidInput("model", f"no model {name!r} was uploaded")
    return InvalidInput("version", f"{name!r} has no version {label[:80]!r}", ", ".join(known))
