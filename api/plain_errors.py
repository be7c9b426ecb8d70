"""What can be expected to go wrong with a command, as one line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from api.settings import InvalidSettings
from backends.errors import BackendError, InvalidTarget
from fusion.errors import FusionError

BAD_INPUT, BROKEN = 2, 3
"""Exit codes: what was asked for cannot be done; a target failed or cannot be used."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what can be expected to go wrong into one line on stderr and an exit code."""
    try:
        yield
    except (FusionError, InvalidSettings, InvalidTarget) as error:
        _fail(str(error), BAD_INPUT)
    except BackendError as error:
        _fail(str(error), BROKEN)
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}", BROKEN)


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
