"""Keys' files for tests, and headers with keys."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from api.access.keys import hash_of, new_key


@dataclass
class KeysFile:
    """A keys' file; every change of its entries wants `write`."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)

    def add(self, *scopes: str, **rest: Any) -> str:
        """Add a key with scopes and further entries, and return it."""
        key_id, key = new_key()
        entry = {
            "id": key_id,
            "name": "someone",
            "hash": hash_of(key),
            "scopes": list(map(str, scopes)),
        }
        self.entries.append(entry | rest)
        self.write()
        return key

    def write(self) -> None:
        """Write the file, by replacing it."""
        made = self.path.with_suffix(".new")
        made.write_text(yaml.safe_dump({"keys": self.entries, "defaults": self.defaults}))
        made.replace(self.path)


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {key}"}


def id_in(key: str) -> str:
    """Return a key's public id."""
    return key.split("_")[1]
