"""The command `snn-fusion first-run`: a checklist that walks through a target's hardware."""

from typing import Annotated, NoReturn

import typer

from api.settings import InvalidSettings, load_settings
from api.targets import make_registry
from backends.errors import BackendError, InvalidTarget

FAILED, NO_CHECKLIST = 1, 2
"""Exit codes: a step did not pass; the target is unknown or has no checklist."""


def first_run(target: Annotated[str, typer.Argument(help="a target with hardware")]) -> None:
    """Check a board before its answers are trusted, step by step, and say what to do.

    Exits with 0 if every step passed, 1 if one did not, 2 where there is nothing to check.
    """
    try:
        registry = make_registry(load_settings())
        steps = registry.backend(target).first_run()
    except (BackendError, InvalidSettings, InvalidTarget) as error:
        _fail(str(error), NO_CHECKLIST)
    count, passed = 0, True
    try:
        for count, step in enumerate(steps, 1):
            passed = passed and step.passed is True
            mark = {True: "passed", False: "FAILED", None: "not run"}[step.passed]
            typer.echo(f"{count}. {step.what}: {mark}")
            if step.passed is not None:
                typer.echo(f"   {step.found}")
            if step.passed is False:
                typer.echo(f"   what to do: {step.remedy}")
    finally:
        registry.close()
    if not count:
        _fail(f"target {target!r} runs on no hardware of its own", NO_CHECKLIST)
    raise typer.Exit(0 if passed else FAILED)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
