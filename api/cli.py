"""The command line: `snn-fusion serve | run | check | compare | quantise | keys | models` etc.

A process that serves keeps what it has imported, its supervisor, too: so `serve` is here, and what
other commands import is imported when one of them is asked for.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from api.plain_errors import plain_errors
from api.settings import load_settings

OWN = "serve"


class _Commands(TyperGroup):
    """The command that is here, and those of `api.commands`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *_others().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command of typer's, None if there is none of this name."""
        if cmd_name == OWN:
            return super().get_command(ctx, cmd_name)
        return _others().get_command(ctx, cmd_name)


def _others() -> TyperGroup:
    from api.commands import app as others  # noqa: PLC0415

    return get_group(others)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sensor events and a spiking network in, the fused answer out, on the backend you name.",
)


@app.callback()
def _every_command() -> None:
    """Have typer make a group, though it sees one command only."""


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(help="TCP port, SNN_FUSION_PORT")] = None,
    host: Annotated[str | None, typer.Option(help="address to bind, SNN_FUSION_HOST")] = None,
    workers: Annotated[int | None, typer.Option(help="processes, SNN_FUSION_WORKERS")] = None,
    target: Annotated[str | None, typer.Option(help="default target, SNN_FUSION_TARGET")] = None,
) -> None:
    """Start the service; every setting is also an environment variable."""
    from api.server import serve as start  # noqa: PLC0415

    chosen = {"port": port, "host": host, "workers": workers, "target": target}
    with plain_errors():
        settings = load_settings(**{k: value for k, value in chosen.items() if value is not None})
        exit_code = start(settings)
    raise typer.Exit(exit_code)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
