"""All models of a service, seen as one: what requests ask of them, and what changes them."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from api.errors import UnknownName
from api.metrics import Metrics
from api.models.changes import Changes, Unshared
from api.models.entry import Entry, shipped, uploaded
from api.models.following import Following
from api.models.known import PREFIX_DIGITS, Known
from api.models.memory import Memory, Programs
from api.models.table import Family
from fusion.containers import MANIFEST
from fusion.errors import Conflict, FusionError, InvalidInput, NotLoaded, listed
from fusion.model import FusionModel
from fusion.shelf import Shelf, ShelvedModel
from fusion.store import ModelStore


class ModelAway(Exception):
    """A model is not in memory, or unknown as yet: `Catalogue.bring` it, then ask again.

    Args:
        reference: how it was asked for.
    """

    def __init__(self, reference: str | None) -> None:
        self.reference = reference
        super().__init__(reference)


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

    Attributes:
        known: what every reference means, and how far each version has come in this process.
        memory: which models are in memory.
        following: finds out what was changed, here or by others.
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
        self.known = Known(shelf, default)
        self.memory = Memory(self.known, store, programs, metrics, budget_bytes)
        self.following = Following(
            self.known, self.memory, shelf, store, metrics, changes or Unshared()
        )

    # What is asked before every request.

    def find(self, reference: str | None) -> ShelvedModel:
        """Return the model that a reference means, if that needs no more than looking it up.

        Args:
            reference: `name`, `name:version`, `name@alias`, a digest, or 8 or more digits of its
                start; None means the default.

        Raises:
            ModelAway: if it is not in memory, or unknown as far as this process has looked.
        """
        if self.following.is_current:
            entry = self.known.table.get(reference)
            if entry is not None:
                shelved = entry.shelved
                if shelved is not None:
                    self.memory.use(entry)
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
        return self.memory.load(self.look_up(reference))

    def look_up(self, reference: str | None) -> Entry:
        """Return what is known of the model that a reference means, here or after another look.

        Raises:
            UnknownName, NotLoaded, InvalidModel, StoreFailed: as `bring`.
        """
        asked_s = time.monotonic()
        if not self.following.is_current:
            self.following.look(asked_s)
        try:
            return self.known.entry(reference)
        except UnknownName:
            self.following.look_again(asked_s)
            if self.following.store_failure is not None:
                raise self.following.store_failure from None
            return self.known.entry(reference)

    # What there is.

    @property
    def families(self) -> Mapping[str, Family]:
        """Name → all versions of it; for a thread, as all that follows."""
        if not self.following.is_current:
            self.following.look()
        return self.known.families

    def family(self, name: str) -> Family:
        """Return all versions of a name.

        Raises:
            UnknownName: if there are none.
        """
        if name not in self.families:
            self.following.look_again()
        if name not in self.known.families:
            known = listed(self.known.families)
            raise UnknownName("model", f"{name[:80]!r} is unknown", known or None)
        return self.known.families[name]

    def version(self, name: str, label: str) -> Entry:
        """Return one version of a name, by its label or the start of its digest.

        Raises:
            UnknownName: if there is none.
        """
        family = self.family(name)
        if family.find(label) is None:
            self.following.look_again()
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
        return self.known.table.get(None)

    @property
    def unready(self) -> dict[str, str]:
        """Title → why the default target cannot run it, for those tried in vain."""
        entries = list(self.known.entries.values())
        return {one.title: one.problem for one in entries if one.problem is not None}

    def problems(self) -> Iterable[tuple[str, FusionError]]:
        """Give the place and the error of all that cannot be read."""
        yield from self.shelf.problems.items()
        yield from self.known.index.problems.items()
        for one in self.known.hidden:
            problem = f"a model that ships is version {one.label!r} of {one.name!r}, too"
            yield one.title, Conflict(f"{MANIFEST}.version", problem, one.digest)
        if self.following.store_failure is not None:
            yield self.store.objects.where, self.following.store_failure

    # Changes.

    def add(self, model: FusionModel) -> tuple[Entry, bool]:
        """Store a model; return its entry, and whether it is new. It is in memory then.

        Raises:
            InvalidModel: if its name or version cannot be stored.
            Conflict: if the version exists with other content.
            StoreFailed: if it cannot be stored.
        """
        self.following.look()
        version = model.manifest.version if model.manifest else ""
        same = [one for one in self.shelf.models.values() if one.model.digest == model.digest]
        if same:
            return self.known.entries[shipped(same[0]).key], False
        for one in self.shelf.models.values():
            if shipped(one).title == model.name and shipped(one).version == version:
                problem = f"a model that ships is version {version!r} of {model.name!r}"
                raise Conflict(f"{MANIFEST}.version", problem, "a version that does not exist yet")
        stored, new = self.store.add(model)
        self.following.tell()
        entry = self.known.entries.get(uploaded(stored).key)
        if entry is None:  # deleted again by another
            raise UnknownName("model", f"{model.name!r} was deleted while it was stored")
        self.memory.keep(entry, model)
        if entry.state in ("damaged", "failed"):
            self.known.note(entry, "known")
        self.memory.trim()
        return entry, new

    def delete(self, name: str, label: str | None = None) -> tuple[str, ...]:
        """Delete a version, or a whole model as far as it was stored; return the labels.

        Raises:
            UnknownName: if there is none.
            Conflict: if it ships, or an alias leads to the version.
            StoreFailed: if the store cannot be changed.
        """
        self.following.look()
        family = self.known.families.get(name)
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
        self.following.look()
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
        self.following.look()
        if unloaded:
            if self.family(name).unloaded:
                raise NotLoaded("model", f"{name!r} is unloaded", "load it again")
        elif name not in self.known.families or self.known.families[name].entries[0].stored is None:
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
            self.following.tell()

    def close(self) -> None:
        """Give back what other processes share."""
        self.following.close()


@contextmanager
def _as_unknown_names() -> Iterator[None]:
    """Tell callers what is not there as a name that is unknown."""
    try:
        yield
    except InvalidInput as error:
        raise UnknownName(error.field, error.problem, error.nearest) from None
