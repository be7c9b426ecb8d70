"""All models of a service by every reference to them, and which of them are in memory."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock, RLock
from typing import Protocol

import structlog

from api.errors import UnknownName
from api.metrics import Metrics
from api.models.changes import Changes, Unshared
from api.models.entry import Entry, Key, State, shipped, uploaded
from api.models.table import Family, make_families, make_table
from fusion.containers import MANIFEST
from fusion.errors import (
    Conflict,
    Damaged,
    FusionError,
    InvalidInput,
    InvalidModel,
    NotLoaded,
    StoreFailed,
    listed,
)
from fusion.held import held_bytes
from fusion.model import FusionModel
from fusion.records import MODELS, Index, Switch
from fusion.shelf import Shelf, ShelvedModel
from fusion.store import ModelStore

log = structlog.get_logger("snn_fusion")

LOOK_AGAIN_S = 0.2
"""Requests for unknown models have the store looked at so often, at most."""
PREFIX_DIGITS = 8
_MOST_PREFIXES = 1000


class ModelAway(Exception):
    """A model is not in memory, or unknown as yet: `Catalogue.bring` it, then ask again.

    Args:
        reference: how it was asked for.
    """

    def __init__(self, reference: str | None) -> None:
        self.reference = reference
        super().__init__(reference)


class Programs(Protocol):
    """What is made of models, as the catalogue needs to know it."""

    def held_bytes(self) -> int:
        """Return what all of it holds in memory."""

    def forget(self, model: FusionModel) -> None:
        """Drop what was made of a model."""


class Catalogue:
    """The models of a folder and of a store, seen as one; safe to use from several threads.

    Args:
        shelf: the models that ship.
        store: the models that were uploaded.
        default: reference of the model that requests mean who name none; None for the first one.
        budget_bytes: models and programs in memory; stored models beyond it leave, the longest
            unused first.
        programs: what is made of models.
        metrics: where the models in memory are counted.
        changes: tells the processes of a service that something was changed.
    """

    def __init__(
        self,
        shelf: Shelf,
        store: ModelStore,
        programs: Programs,
        metrics: Metrics,
        *,
        default: str | None = None,
        budget_bytes: int = 2**30,
        changes: Changes | Unshared | None = None,
    ) -> None:
        self.shelf = shelf
        self.store = store
        self.store_failure: StoreFailed | None = None
        self._programs = programs
        self._metrics = metrics
        self._default = default
        self._budget_bytes = budget_bytes
        self._changes = changes or Unshared()
        self._uses = itertools.count(1)
        self._lock = RLock()
        self._looking = Lock()
        self._looked_s = float("-inf")
        self._seen = -1
        self._index = Index()
        self._entries: dict[Key, Entry] = {}
        self._switched: dict[str, Switch] = {}
        self._hidden: list[Entry] = []
        self._families: Mapping[str, Family] = {}
        self._table: dict[str | None, Entry] = {}

    # What is asked before every request.

    def find(self, reference: str | None) -> ShelvedModel:
        """Return the model that a reference means, if that needs no more than looking it up.

        Args:
            reference: `name`, `name:version`, `name@alias`, a digest, or 8 or more digits of its
                start; None means the default.

        Raises:
            ModelAway: if it is not in memory, or unknown as far as this process has looked.
        """
        if self._changes.count == self._seen:
            entry = self._table.get(reference)
            if entry is not None:
                shelved = entry.shelved
                if shelved is not None:
                    entry.used = next(self._uses)
                    return shelved
        raise ModelAway(reference)

    # What takes its time.

    def bring(self, reference: str | None) -> ShelvedModel:
        """Return the model that a reference means, read if need be; for a thread.

        Raises:
            UnknownName: if there is none.
            NotLoaded: if it was unloaded.
            InvalidModel, StoreFailed: if it cannot be read.
        """
        return self.load(self.look_up(reference))

    def look_up(self, reference: str | None) -> Entry:
        """Return what is known of the model that a reference means, here or after another look.

        Raises:
            UnknownName, NotLoaded, InvalidModel, StoreFailed: as `bring`.
        """
        asked_s = time.monotonic()
        if self._changes.count != self._seen:
            self._look(asked_s, 0.0)
        try:
            return self.entry(reference)
        except UnknownName:
            self._look(asked_s, LOOK_AGAIN_S)
            if self.store_failure is not None:
                raise self.store_failure from None
            return self.entry(reference)

    def entry(self, reference: str | None) -> Entry:
        """Return what this process knows of the model that a reference means.

        Raises:
            UnknownName, NotLoaded, InvalidModel: as `bring`.
        """
        found = self._table.get(reference)
        if found is None and reference is not None:
            found = self._by_prefix(reference)
        if found is not None:
            return found
        return self._missing(reference)

    def _by_prefix(self, reference: str) -> Entry | None:
        if len(reference) < PREFIX_DIGITS:
            return None
        for one in list(self._table.values()):
            if one.digest.startswith(reference):
                if len(self._table) < len(self._entries) * 4 + _MOST_PREFIXES:
                    self._table[reference] = one
                return one
        return None

    def _missing(self, reference: str | None) -> Entry:
        """Raise what is to be said of a reference that means nothing.

        Raises:
            UnknownName, NotLoaded, InvalidModel: always one of them.
        """
        if reference is None:
            problem = f"there is no model in {self.shelf.folder}, and none was uploaded"
            raise UnknownName("model", problem)
        name, mark, rest = reference.partition("@" if "@" in reference else ":")
        self._refuse_unloaded(name)
        for key, damaged in self._index.problems.items():
            if key.startswith(f"{MODELS}/{name}/") and (not mark or f"/{rest}." in key):
                raise damaged.with_traceback(None)
        own = self._families.get(name)
        if own is not None and mark:
            what = "alias" if mark == "@" else "version"
            labels = own.aliases if mark == "@" else [one.label for one in own.entries]
            problem = f"{name!r} has no {what} {rest[:80]!r}"
            raise UnknownName("model", problem, ", ".join(labels) or None)
        with suppress(InvalidInput):
            self.shelf.find(reference)
        known = [one.name for one in self._families.values() if not one.unloaded]
        raise UnknownName("model", f"{reference[:80]!r} is unknown", listed(known) or None)

    def _refuse_unloaded(self, name: str) -> None:
        for family in self._families.values():
            digests = (one.digest for one in family.entries)
            by_digest = len(name) >= PREFIX_DIGITS and any(d.startswith(name) for d in digests)
            if family.unloaded and (name == family.name or by_digest):
                raise NotLoaded("model", f"{family.name!r} is unloaded", "load it again")

    def load(self, entry: Entry) -> ShelvedModel:
        """Return an entry's model, read from the store if it is not in memory.

        Raises:
            UnknownName: if it was deleted.
            InvalidModel, StoreFailed: if it cannot be read.
        """
        with entry.gate:
            entry.used = next(self._uses)
            if entry.shelved is not None:
                return entry.shelved
            shelved = _keep(entry, self._read(entry))
        self.trim()
        return shelved

    def _read(self, entry: Entry) -> FusionModel:
        assert entry.stored is not None
        try:
            model = self.store.read(entry.stored)
        except InvalidInput as error:
            raise UnknownName(error.field, error.problem) from None
        except (Damaged, InvalidModel) as error:
            entry.state, entry.problem = "damaged", str(error)
            self.retable()
            raise
        if entry.state == "damaged":  # somebody mended it
            entry.state, entry.problem = "known", None
        return model

    def claim(self, entry: Entry) -> bool:
        """Return whether the caller is the one to make an entry ready."""
        with self._lock:
            if entry.state != "known":
                return False
            entry.state, entry.problem = "loading", None
            return True

    def note(self, entry: Entry, state: State, problem: str | None = None) -> None:
        """Note how far an entry has come, which may change what its name means."""
        entry.state, entry.problem = state, problem
        self.retable()

    def untried(self) -> list[Entry]:
        """Return what should be compiled before it is asked for, the most important first.

        That is all that ships, and of what was stored the newest version of a name and those that
        aliases lead to.
        """
        found = []
        for family in self._families.values():
            wanted = {family.entries[-1].label, *family.aliases.values()}
            found += [
                one
                for one in family.entries
                if one.state == "known"
                and not family.unloaded
                and (one.stored is None or one.label in wanted)
            ]
        return sorted(found, key=lambda one: -(one.stored.created_us if one.stored else 2**63))

    def trim(self) -> None:
        """Let stored models leave the memory until the rest is within the budget.

        The one that was used last stays, whatever it holds.
        """
        with self._lock:
            here = sorted(
                (one for one in self._entries.values() if one.stored and one.shelved),
                key=lambda one: one.used,
            )
            for entry in here[:-1]:
                if self.memory_bytes <= self._budget_bytes:
                    break
                self._drop(entry)
                self._metrics.models_evicted.inc()
                log.info("model left the memory", model=entry.title)
            self._count()

    def _count(self) -> None:
        loaded = sum(one.shelved is not None for one in self._entries.values())
        self._metrics.models_loaded.set(loaded)
        self._metrics.models_memory.set(self.memory_bytes)

    def _drop(self, entry: Entry) -> None:
        """Let a model leave the memory; runs on it end undisturbed."""
        shelved, entry.shelved = entry.shelved, None
        if shelved is not None:
            self._programs.forget(shelved.model)

    @property
    def memory_bytes(self) -> int:
        """What models and programs hold in memory."""
        held = sum(one.held_bytes for one in self._entries.values() if one.shelved is not None)
        return held + self._programs.held_bytes()

    @property
    def has_room(self) -> bool:
        """Whether less is in memory than may be."""
        return self.memory_bytes < self._budget_bytes

    # What others may have changed.

    def look(self) -> None:
        """Find out what was changed, here or by others."""
        self._look(time.monotonic(), 0.0)

    def _look(self, asked_s: float, pause_s: float) -> None:
        """Read the index unless somebody did since `asked_s`, and not sooner than `pause_s`."""
        with self._looking:
            if self._looked_s >= asked_s:
                return
            time.sleep(max(0.0, self._looked_s + pause_s - time.monotonic()))
            self._looked_s = time.monotonic()
            seen = self._changes.count
            try:
                index = self.store.index()
            except StoreFailed as error:
                log.warning("store of models not usable", error=str(error))
                self._metrics.store_failures.inc()
                self.store_failure, index = error, self._index
            else:
                self.store_failure = None
            with self._lock:
                self._take(index)
                self._seen = seen

    def _take(self, index: Index) -> None:
        """Know what an index tells."""
        self._index = index
        for name, switch in index.switches.items():
            if self._switched.get(name) != switch:
                self._switched[name] = switch
                self._switch(name, switch, fresh=not self._families)
        before = self._entries
        self._entries = {}
        for shelved in self.shelf.models.values():
            self._enter(before, shipped(shelved))
        for versions in index.versions.values():
            for version in versions:
                self._enter(before, uploaded(version))
        for key in before.keys() - self._entries.keys():
            self._drop(before[key])
        self.retable()
        self._count()

    def _enter(self, before: Mapping[Key, Entry], made: Entry) -> None:
        entry = before.get(made.key, made)
        if made.stored is None:
            entry.shelved = made.shelved
            entry.held_bytes = entry.held_bytes or held_bytes(made.shelved)
        self._entries[made.key] = entry

    def _switch(self, name: str, switch: Switch, *, fresh: bool) -> None:
        """Do what somebody asked every process to do; one that starts reads all anew anyway."""
        mine = [entry for entry in self._entries.values() if entry.name == name]
        for entry in mine:
            entry.state, entry.problem = "known", None
            if entry.shelved is not None:
                self._programs.forget(entry.shelved.model)
            if entry.stored is not None:
                entry.shelved = None
        if not switch.unloaded and not fresh:
            try:
                self.shelf.load(name)
            except FusionError as error:
                if not any(entry.stored for entry in mine):
                    log.warning("model not loaded anew", model=name, error=str(error))

    def retable(self) -> None:
        """Let references mean what they do now that an entry's state has changed."""
        with self._lock:
            stored: dict[str, list[Entry]] = {}
            shelf = []
            for entry in self._entries.values():
                if entry.stored is None:
                    shelf.append(entry)
                else:
                    stored.setdefault(entry.name, []).append(entry)
            off = [name for name, one in self._switched.items() if one.unloaded]
            aliases = self._index.aliases
            families, self._hidden = make_families(shelf, stored, aliases, off)
            table: dict[str | None, Entry] = dict(make_table(families).items())
            first = next((one.name for one in shelf if one.name in table), None)
            chosen = self._default or first or next(iter(families), None)
            if chosen in table:
                table[None] = table[chosen]
            self._families, self._table = families, table

    # What there is.

    @property
    def families(self) -> Mapping[str, Family]:
        """Name → all versions of it; for a thread, as all that follows."""
        if self._changes.count != self._seen:
            self.look()
        return self._families

    def family(self, name: str) -> Family:
        """Return all versions of a name.

        Raises:
            UnknownName: if there are none.
        """
        if name not in self.families:
            self._look(time.monotonic(), LOOK_AGAIN_S)
        if name not in self._families:
            known = listed(self._families)
            raise UnknownName("model", f"{name[:80]!r} is unknown", known or None)
        return self._families[name]

    def version(self, name: str, label: str) -> Entry:
        """Return one version of a name, by its label or the start of its digest.

        Raises:
            UnknownName: if there is none.
        """
        family = self.family(name)
        if family.find(label) is None:
            self._look(time.monotonic(), LOOK_AGAIN_S)
            family = self.family(name)
        found = family.find(label)
        if found is None and len(label) >= PREFIX_DIGITS:
            found = next((one for one in family.entries if one.digest.startswith(label)), None)
        if found is None:
            known = ", ".join(one.label for one in family.entries)
            raise UnknownName("version", f"{name!r} has no version {label[:80]!r}", known)
        return found

    @property
    def default(self) -> Entry | None:
        """What requests mean that name no model, as of the last look."""
        return self._table.get(None)

    @property
    def unready(self) -> dict[str, str]:
        """Title → why the default target cannot run it, for those tried in vain."""
        entries = list(self._entries.values())
        return {one.title: one.problem for one in entries if one.problem is not None}

    def problems(self) -> Iterable[tuple[str, FusionError]]:
        """Give the place and the error of all that cannot be read."""
        yield from self.shelf.problems.items()
        yield from self._index.problems.items()
        for one in self._hidden:
            problem = f"a model that ships is version {one.label!r} of {one.name!r}, too"
            yield one.title, Conflict(f"{MANIFEST}.version", problem, one.digest)
        if self.store_failure is not None:
            yield self.store.objects.where, self.store_failure

    # Changes.

    def add(self, model: FusionModel) -> tuple[Entry, bool]:
        """Store a model; return its entry, and whether it is new. It is in memory then.

        Raises:
            InvalidModel: if its name or version cannot be stored.
            Conflict: if the version exists with other content.
            StoreFailed: if it cannot be stored.
        """
        self.look()
        version = model.manifest.version if model.manifest else ""
        same = [one for one in self.shelf.models.values() if one.model.digest == model.digest]
        if same:
            return self._entries[shipped(same[0]).key], False
        for one in self.shelf.models.values():
            if shipped(one).title == model.name and shipped(one).version == version:
                problem = f"a model that ships is version {version!r} of {model.name!r}"
                raise Conflict(f"{MANIFEST}.version", problem, "a version that does not exist yet")
        stored, new = self.store.add(model)
        self.told()
        entry = self._entries.get(uploaded(stored).key)
        if entry is None:  # deleted again by another
            raise UnknownName("model", f"{model.name!r} was deleted while it was stored")
        with entry.gate:
            if entry.shelved is None:
                _keep(entry, model)
            entry.used = next(self._uses)
        if entry.state in ("damaged", "failed"):
            self.note(entry, "known")
        self.trim()
        return entry, new

    def delete(self, name: str, label: str | None = None) -> tuple[str, ...]:
        """Delete a version, or a whole model as far as it was stored; return the labels.

        Raises:
            UnknownName: if there is none.
            Conflict: if it ships, or an alias leads to the version.
            StoreFailed: if the store cannot be changed.
        """
        self.look()
        family = self._families.get(name)
        mine = [one for one in (family.entries if family else ()) if label in (None, one.label)]
        if mine and all(one.stored is None for one in mine):
            raise Conflict("model", f"{mine[0].title!r} ships with the service and stays")
        with self._change():
            if label is None:
                return self.store.remove_all(name)
            self.store.remove(name, label)
            return (label,)

    def set_alias(self, name: str, alias: str, label: str) -> None:
        """Let an alias lead to a version; raises as `ModelStore.set_alias`."""
        self.look()
        shipping = [one.label for one in self.family(name).entries if one.stored is None]
        with self._change():
            self.store.set_alias(name, alias, label, shipping)

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias; raises as `ModelStore.remove_alias`."""
        with self._change():
            self.store.remove_alias(name, alias)

    def switch(self, name: str, *, unloaded: bool) -> None:
        """Unload a model in every process, or load it anew, wherever it comes from.

        Raises:
            UnknownName: if there is none.
            NotLoaded: if it is to be unloaded, and is.
            InvalidModel: if it is to be loaded from the folder and cannot be read.
            StoreFailed: if the others cannot be told.
        """
        self.look()
        if unloaded:
            if self.family(name).unloaded:
                raise NotLoaded("model", f"{name!r} is unloaded", "load it again")
        elif name not in self._families or self._families[name].entries[0].stored is None:
            with _as_unknown_names():
                self.shelf.load(name)
        with self._change():
            self.store.switch(name, unloaded=unloaded)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Around a change of the store: know it here, and in every process of the service."""
        try:
            with _as_unknown_names():
                yield
        finally:
            self.told()

    def told(self) -> None:
        """Let every process know of a change, and know it here."""
        self._changes.tell()
        self.look()

    def close(self) -> None:
        """Give back what other processes share."""
        self._changes.close()


def _keep(entry: Entry, model: FusionModel) -> ShelvedModel:
    shelved = ShelvedModel(None, model)
    entry.held_bytes = held_bytes(model)
    entry.shelved = shelved
    return shelved


@contextmanager
def _as_unknown_names() -> Iterator[None]:
    """Tell callers what is not there as a name that is unknown."""
    try:
        yield
    except InvalidInput as error:
        raise UnknownName(error.field, error.problem, error.nearest) from None
