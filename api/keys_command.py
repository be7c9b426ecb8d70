"""`snn-fusion keys`: make keys, list them, try them, disable them."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.access.keys import digest_of, hash_of, id_of, new_key
from api.access.keys_edit import entry_text, find_entry, replace, with_entry, without
from api.access.keys_file import KeyEntry, parse_keys
from api.access.scopes import GRANTED
from api.plain_errors import plain_errors
from api.settings import PREFIX, load_settings

app = typer.Typer(no_args_is_help=True, help="Make API keys, list them, try them, disable them.")

File = Annotated[Path | None, typer.Option(help=f"the keys' file; default {PREFIX}KEYS_FILE")]


@app.command()
def new(
    *,
    name: Annotated[str, typer.Option(help="whom it is for")],
    scope: Annotated[list[str], typer.Option(help=f"repeatable: {', '.join(GRANTED)}")],
    target: Annotated[list[str], typer.Option(help="target, * for any text; repeatable")] = ["*"],  # noqa: B006
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="first day it is not good")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="add it to this file")] = None,
) -> None:
    """Make a key and print it, this once, and its entry for the keys' file."""
    key_id, key = new_key()
    entry = entry_text(
        key_id=key_id,
        name=name,
        hash_text=hash_of(key),
        scopes=scope,
        targets=target,
        expires=expires.date() if expires else None,
    )
    with plain_errors():
        with_entry("", entry, "entry")
        if file is not None:
            before = file.read_text() if file.exists() else ""
            replace(file, with_entry(before, entry, file.name))
    typer.echo(key)
    if file is None:
        typer.echo(f"\nkeys:\n{entry}", nl=False)


@app.command("list")
def list_keys(file: File = None) -> None:
    """List the keys of a file; the keys themselves are not in it."""
    with plain_errors():
        entries = _entries(_path(file))
    table = Table("id", "name", "scopes", "targets", "state")
    for entry in entries.values():
        cells = (entry.id, entry.name, ", ".join(entry.scopes), ", ".join(entry.targets))
        table.add_row(*map(escape, cells), _state(entry))
    Console().print(table)


@app.command()
def check(file: File = None) -> None:
    """Read a key from standard input, and say whose it is and what it is good for.

    Exits with 1 if it is not good.
    """
    with plain_errors():
        entries = _entries(_path(file))
    key = typer.prompt("key", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    content = key.strip().encode()
    entry = entries.get(id_of(content).decode(errors="replace"))
    if entry is None or entry.digest != digest_of(content):
        typer.echo("there is no such key in the file")
        raise typer.Exit(1)
    typer.echo(f"{entry.id} ({entry.name}): {_state(entry)}")
    typer.echo(f"scopes: {', '.join(entry.scopes)}; targets: {', '.join(entry.targets)}")
    raise typer.Exit(0 if _state(entry).startswith("good") else 1)


@app.command()
def disable(key_id: Annotated[str, typer.Argument(help="its id")], file: File = None) -> None:
    """Disable a key; a running service refuses it a second later."""
    with plain_errors():
        path = _path(file)
        find_entry(_entries(path), key_id, path.name)
        replace(path, without(path.read_text(), key_id, path.name))
    typer.echo(f"{key_id} is disabled")


def _path(file: Path | None) -> Path:
    found = file or load_settings().keys_file
    if found is None:
        raise typer.BadParameter(f"or {PREFIX}KEYS_FILE is needed", param_hint="--file")
    return found


def _entries(path: Path) -> dict[str, KeyEntry]:
    return parse_keys(path.read_bytes(), path.name)


def _state(entry: KeyEntry) -> str:
    if entry.disabled:
        return "disabled"
    if datetime.now(UTC).timestamp() < entry.ends_s:
        return "good" if entry.expires is None else f"good until {entry.expires}"
    return f"expired on {entry.expires}"
