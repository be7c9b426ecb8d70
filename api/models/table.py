"""Which entry each reference means: `name`, `name:version`, `name@alias`, or a digest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from api.models.entry import Entry


@dataclass(frozen=True, slots=True)
class Family:
    """All versions of one name.

    Attributes:
        name: the name.
        entries: the versions, the oldest first; one that ships is older than all that were stored.
        aliases: alias → label of a version.
        unloaded: whether it was unloaded.
    """

    name: str
    entries: Sequence[Entry]
    aliases: Mapping[str, str] = field(default_factory=dict)
    unloaded: bool = False

    @property
    def chosen(self) -> Entry:
        """What the name alone means: the newest version that is ready, if none is the newest.

        So a version takes over once it was compiled, and one that cannot be run never does.
        """
        ready = (one for one in reversed(self.entries) if one.state == "ready")
        return next(ready, self.entries[-1])

    def find(self, label: str) -> Entry | None:
        """Return the version of this label."""
        return next((one for one in self.entries if one.label == label), None)

    def aliases_of(self, entry: Entry) -> list[str]:
        """Return the aliases that lead to a version."""
        return sorted(alias for alias, label in self.aliases.items() if label == entry.label)


def make_families(
    shelf: Iterable[Entry],
    stored: Mapping[str, Sequence[Entry]],
    aliases: Mapping[str, Mapping[str, str]],
    unloaded: Iterable[str],
) -> tuple[dict[str, Family], list[Entry]]:
    """Return name → family, and the stored versions that cannot be named.

    A version that ships hides a stored one of the same name and version.
    """
    families = {one.name: [one] for one in shelf}
    hidden = []
    for name, entries in stored.items():
        own = families.setdefault(name, [])
        taken = {one.label for one in own}
        hidden += [one for one in entries if one.label in taken]
        own += [one for one in entries if one.label not in taken]
    off = set(unloaded)
    made = {
        name: Family(name, entries, aliases.get(name, {}), name in off)
        for name, entries in sorted(families.items())
    }
    return made, hidden


def make_table(families: Mapping[str, Family]) -> dict[str, Entry]:
    """Return reference → entry, for every reference but the starts of digests.

    Where a name looks like another's reference, the name comes first.
    """
    table: dict[str, Entry] = {}
    loaded = [family for family in families.values() if not family.unloaded]
    for family in loaded:
        table.update((one.digest, one) for one in family.entries)
    for family in loaded:
        table.update((f"{family.name}:{one.label}", one) for one in family.entries)
        for alias, label in family.aliases.items():
            entry = family.find(label)
            if entry is not None:
                table[f"{family.name}@{alias}"] = entry
    table.update((family.name, family.chosen) for family in loaded)
    return table
