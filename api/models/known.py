"""What a process knows of all models, and what every reference to them means."""

from collections.abc import Mapping
from contextlib import suppress
from threading import RLock

from api.errors import UnknownName
from api.models.entry import Entry, Key, State
from api.models.table import Family, make_families, make_table
from fusion.errors import InvalidInput, NotLoaded, listed
from fusion.records import MODELS, Index, Switch
from fusion.shelf import Shelf

PREFIX_DIGITS = 8
_MOST_PREFIXES = 1000


class Known:
    """The versions of all models as of the last look, by every reference to them.

    Args:
        shelf: the models that ship.
        default: reference of the model that requests mean who name none; None for the first one.

    Attributes:
        entries: key → version; replaced as a whole, so that anyone may go through it.
        index: what the store holds.
        switched: name → the last switch that this process followed.
        families: name → all versions of it.
        hidden: stored versions that cannot be named, as one that ships has their name.
        table: reference → version; None leads to the default.
        lock: held around what changes these, around claims, and while models leave the memory.
    """

    def __init__(self, shelf: Shelf, default: str | None) -> None:
        self._shelf = shelf
        self._default = default
        self.lock = RLock()
        self.index = Index()
        self.entries: Mapping[Key, Entry] = {}
        self.switched: dict[str, Switch] = {}
        self.hidden: list[Entry] = []
        self.families: Mapping[str, Family] = {}
        self.table: dict[str | None, Entry] = {}

    def entry(self, reference: str | None) -> Entry:
        """Return what this process knows of the model that a reference means.

        Raises:
            UnknownName: if there is none.
            NotLoaded: if it was unloaded.
            InvalidModel: if it cannot be read.
        """
        found = self.table.get(reference)
        if found is None and reference is not None:
            found = self._by_prefix(reference)
        if found is not None:
            return found
        return self._missing(reference)

    def _by_prefix(self, reference: str) -> Entry | None:
        if len(reference) < PREFIX_DIGITS:
            return None
        for one in list(self.table.values()):
            if one.digest.startswith(reference):
                if len(self.table) < len(self.entries) * 4 + _MOST_PREFIXES:
                    self.table[reference] = one
                return one
        return None

    def _missing(self, reference: str | None) -> Entry:
        """Raise what is to be said of a reference that means nothing.

        Raises:
            UnknownName, NotLoaded, InvalidModel: always one of them.
        """
        if reference is None:
            problem = f"there is no model in {self._shelf.folder}, and none was uploaded"
            raise UnknownName("model", problem)
        name, mark, rest = reference.partition("@" if "@" in reference else ":")
        self._refuse_unloaded(name)
        for key, damaged in self.index.problems.items():
            if key.startswith(f"{MODELS}/{name}/") and (not mark or f"/{rest}." in key):
                raise damaged.with_traceback(None)
        own = self.families.get(name)
        if own is not None and mark:
            what = "alias" if mark == "@" else "version"
            labels = own.aliases if mark == "@" else [one.label for one in own.entries]
            problem = f"{name!r} has no {what} {rest[:80]!r}"
            raise UnknownName("model", problem, ", ".join(labels) or None)
        with suppress(InvalidInput):
            self._shelf.find(reference)
        known = [one.name for one in self.families.values() if not one.unloaded]
        raise UnknownName("model", f"{reference[:80]!r} is unknown", listed(known) or None)

    def _refuse_unloaded(self, name: str) -> None:
        for family in self.families.values():
            digests = (one.digest for one in family.entries)
            by_digest = len(name) >= PREFIX_DIGITS and any(d.startswith(name) for d in digests)
            if family.unloaded and (name == family.name or by_digest):
                raise NotLoaded("model", f"{family.name!r} is unloaded", "load it again")

    def retable(self) -> None:
        """Let references mean what they do now that an entry's state has changed."""
        with self.lock:
            stored: dict[str, list[Entry]] = {}
            shelf = []
            for entry in self.entries.values():
                if entry.stored is None:
                    shelf.append(entry)
                else:
                    stored.setdefault(entry.name, []).append(entry)
            off = [name for name, one in self.switched.items() if one.unloaded]
            aliases = self.index.aliases
            families, self.hidden = make_families(shelf, stored, aliases, off)
            table: dict[str | None, Entry] = dict(make_table(families).items())
            first = next((one.name for one in shelf if one.name in table), None)
            chosen = self._default or first or next(iter(families), None)
            if chosen in table:
                table[None] = table[chosen]
            self.families, self.table = families, table

    def claim(self, entry: Entry) -> bool:
        """Return whether the caller is the one to make an entry ready."""
        with self.lock:
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
        for family in self.families.values():
            wanted = {family.entries[-1].label, *family.aliases.values()}
            found += [
                one
                for one in family.entries
                if one.state == "known"
                and not family.unloaded
                and (one.stored is None or one.label in wanted)
            ]
        return sorted(found, key=lambda one: -(one.stored.created_us if one.stored else 2**63))
