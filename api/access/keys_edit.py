"""Changes of a keys' file that leave the rest of its text, comments included, as it was."""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from api.access.keys_file import KeyEntry, parse_keys
from fusion.errors import InvalidInput

_LIST = re.compile(r"^keys:[ ]*(\[[ ]*\])?[ ]*(#.*)?$", re.MULTILINE)


def entry_text(
    *,
    key_id: str,
    name: str,
    hash_text: str,
    scopes: Sequence[str],
    targets: Sequence[str],
    expires: date | None,
) -> str:
    """Return an entry of the list `keys`, as the file has it."""
    lines = [
        f"  - id: {_quoted(key_id)}",
        f"    name: {_quoted(name)}",
        f"    hash: {hash_text}",
        f"    scopes: [{', '.join(scopes)}]",
        f"    targets: [{', '.join(map(_quoted, targets))}]",
    ]
    if expires is not None:
        lines.append(f"    expires: {expires.isoformat()}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # which YAML reads as it is meant


def with_entry(text: str, entry: str, name: str) -> str:
    """Return a keys' file with one more entry, at the head of the list; an empty file gets one.

    Raises:
        FusionError: if the file is wrong, or its list is written in a way that is not edited.
    """
    if not text.strip():
        text = "keys:\n"
    else:
        parse_keys(text.encode(), name)
    made, found = _LIST.subn(lambda _: f"keys:\n{entry}".rstrip(), text, count=1)
    if not found:
        raise InvalidInput(f"{name}.keys", "is no list with an entry a line; add this", entry)
    parse_keys(made.encode(), name)
    return made


def without(text: str, key_id: str, name: str) -> str:
    """Return a keys' file in which a key is disabled.

    Raises:
        FusionError: if the file is wrong, has no such key, or it is written in a way that is not
            edited.
    """
    entry = find_entry(parse_keys(text.encode(), name), key_id, name)
    if entry.disabled:
        return text
    line = re.compile(rf"^(?P<indent>[ ]*)-[ ]+id:[ ]*[\"']?{re.escape(key_id)}[\"']?[ ]*$", re.M)
    made, found = line.subn(lambda one: f"{one[0]}\n{one['indent']}  disabled: true", text, count=1)
    after = parse_keys(made.encode(), name) if found else {}
    if not found or not after[key_id].disabled:
        raise InvalidInput(
            f"{name}.keys", f"the entry of {key_id} is not edited", "disabled: true, by hand"
        )
    return made


def find_entry(entries: dict[str, KeyEntry], key_id: str, name: str) -> KeyEntry:
    """Return the entry of a key.

    Raises:
        InvalidInput: if there is none.
    """
    if key_id not in entries:
        raise InvalidInput(name, f"has no key {key_id[:64]!r}", ", ".join(entries) or "no key")
    return entries[key_id]


def replace(path: Path, text: str) -> None:
    """Put a text in the place of a file's, at once; a new file is for its owner alone."""
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as made:
        made.write(text)
        made.flush()
        os.fsync(made.fileno())
        os.fchmod(made.fileno(), mode)
    Path(made.name).replace(path)
