"""`snn-fusion warm`: machine code made before the first start that needs it."""

from typing import Annotated

import typer

from api.plain_errors import plain_errors
from backends.cpu_backend import why_numba_fails
from backends.errors import TargetUnavailable


def warm(
    with_code: Annotated[
        bool,
        typer.Option(
            "--with-code",
            help="keep it in the installation, for every user of it: when an image is built",
        ),
    ] = False,
) -> None:
    """Compile what the engines run in machine code, if that is not kept yet.

    It is kept for the processor of this machine; another kind compiles its own at its first start.
    """
    with plain_errors():
        problem = why_numba_fails()
        if problem is not None:
            raise TargetUnavailable("cpu", problem, "nothing is compiled for the target numpy")
        from simulators import compiled_loading  # noqa: PLC0415 (it needs Numba)

        if with_code:
            typer.echo(f"kept in {compiled_loading.keep_beside_code()}")
        else:
            compiled_loading.load_kernels()
            typer.echo("compiled code is ready")
