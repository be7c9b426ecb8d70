"""`snn-fusion models`: what is uploaded, without a server."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.models.opening import changing, make_store
from api.plain_errors import plain_errors
from api.settings import load_settings
from fusion.errors import InvalidInput
from fusion.model import parse_model
from fusion.records import Index, Version

models = typer.Typer(
    no_args_is_help=True,
    help="Uploaded models in the store that SNN_FUSION_STORE names. A running service notices.",
)
Name = Annotated[str, typer.Argument(help="the model's name")]


@models.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List the uploaded models, their versions and aliases."""
    with plain_errors():
        index = make_store(load_settings()).index()
    if as_json:
        typer.echo(orjson.dumps(_plain(index)).decode())
        return
    table = Table("model", "version", "aliases", "digest", "KiB")
    for version, aliases in _versions(index):
        size = f"{version.size_bytes / 1024:.0f}"
        row = (version.name, version.label, ", ".join(aliases), version.digest[:12], size)
        table.add_row(*map(escape, row))
    Console().print(table)
    for key, problem in index.problems.items():
        Console(stderr=True).print(escape(f"{key}: {problem.problem}"))


def _versions(index: Index) -> list[tuple[Version, list[str]]]:
    return [
        (one, [alias for alias, to in index.aliases.get(one.name, {}).items() if to == one.label])
        for versions in index.versions.values()
        for one in versions
    ]


def _plain(index: Index) -> dict[str, Any]:
    return {
        "versions": [
            {
                "name": one.name,
                "version": one.version,
                "digest": one.digest,
                "size_bytes": one.size_bytes,
                "aliases": aliases,
            }
            for one, aliases in _versions(index)
        ],
        "problems": [
            {"path": key, "problem": problem.problem} for key, problem in index.problems.items()
        ],
    }


@models.command()
def add(
    file: Annotated[Path, typer.Argument(help="a zip of a model's folder, or a .nir file")],
    manifest: Annotated[Path | None, typer.Option(help="a fusion.yaml that belongs to it")] = None,
) -> None:
    """Store a model; the same one again is the same version."""
    with plain_errors():
        settings = load_settings()
        beside = None if manifest is None else _read(manifest)
        model = parse_model(_read(file), settings.model_limits, beside)
        with changing(settings) as store:
            version, new = store.add(model)
    typer.echo(f"{version.name}:{version.label} {'stored' if new else 'was stored already'}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(str(path), f"cannot be read: {error.strerror or error}") from None


@models.command()
def remove(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="one version; by default all")] = None,
) -> None:
    """Delete a version, or a whole model with its aliases."""
    with plain_errors(), changing(load_settings()) as store:
        if version is None:
            store.remove_all(name)
        else:
            store.remove(name, version)


@models.command()
def alias(
    name: Name,
    alias: Annotated[str, typer.Argument(help="the alias, production for one")],
    version: Annotated[
        str | None, typer.Argument(help="where it is to lead; absent, it is deleted")
    ] = None,
) -> None:
    """Let an alias lead to an uploaded version, or delete it."""
    with plain_errors(), changing(load_settings()) as store:
        if version is None:
            store.remove_alias(name, alias)
        else:
            store.set_alias(name, alias, version)
