"""The command `snn-fusion fuzz-loihi`: our integers against Lava's, on networks nobody chose."""

from contextlib import closing
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from backends.errors import BackendError, TargetUnavailable, told
from backends.lava_environment import lava_python
from backends.lava_fuzz import Coverage, fuzz

DIFFERENT, NOT_INSTALLED = 1, 2
"""Exit codes: a value differs or Lava broke off; Lava is not installed."""


def fuzz_loihi(
    *,
    seed: Annotated[int, typer.Option(min=0, help="seed of the first network")],
    nets: Annotated[int, typer.Option(min=0, help="networks in Lava's process models")] = 100,
    runtime: Annotated[int, typer.Option(min=0, help="networks in Lava's runtime")] = 0,
    python: Annotated[str | None, typer.Option(help="interpreter of Lava's environment")] = None,
) -> None:
    """Compare random networks of Loihi's integers with Lava: every spike, u and v, every step.

    Exits with 0 if all are equal, 1 at the first difference, 2 where Lava is not installed.
    """
    try:
        found = lava_python("loihi-lava", python)
    except TargetUnavailable as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(NOT_INSTALLED) from None
    for count, in_runtime in ((nets, False), (runtime, True)):
        if count:
            _compare(found, range(seed, seed + count), in_runtime)


def _compare(python: str, seeds: range, runtime: bool) -> None:
    coverage = Coverage()
    where = "in Lava's runtime" if runtime else "in Lava's process models"
    with Console(stderr=True).status(f"comparing {where}"):
        try:
            # The child ends with the comparison, not only with the process.
            with closing(fuzz(python, seeds, runtime=runtime, coverage=coverage)) as found:
                different = next(filter(None, found), None)
        except BackendError as error:
            _fail(f"seed {seeds[coverage.networks]}: {told(error)}")
    if different is not None:
        _fail(str(different))
    typer.echo(f"{where}: {coverage}")


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(DIFFERENT)
