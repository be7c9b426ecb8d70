"""`python -m benchmarks`: one command a benchmark, each of which prints what it measured."""

from enum import StrEnum
from typing import Annotated

import typer

from benchmarks.peer_process import PeerName, Unavailable

app = typer.Typer(no_args_is_help=True, help=__doc__, add_completion=False)


class NetworkName(StrEnum):
    """The networks of `benchmarks.networks`."""

    FUSION = "fusion"
    MLP = "mlp"
    CUBA_4K = "cuba-4k"
    CUBA_40K = "cuba-40k"


@app.callback()
def benchmarks() -> None:
    """Measure SNN Fusion on this machine; compare ratios, not times, across machines."""


@app.command()
def service(
    target: str = typer.Option("cpu", help="Where the requests run."),
    requests: int = typer.Option(5000, min=100, help="Requests of each measurement."),
    growth_requests: int = typer.Option(100_000, min=0, help="Requests to watch the memory over."),
    as_json: bool = typer.Option(False, "--json", help="Print one line of JSON."),
) -> None:
    """Measure latency, throughput and memory of the service on the network `fusion`."""
    # Imported here, as every command does: another's libraries need not be there.
    from benchmarks.service import measure, report  # noqa: PLC0415

    figures = measure(target, requests=requests, growth_requests=growth_requests)
    typer.echo(report(figures, as_json=as_json))


@app.command()
def cache(
    target: str = typer.Option("brian2", help="Where the requests run."),
    requests: int = typer.Option(200, min=10, help="Requests of each measurement."),
    as_json: bool = typer.Option(False, "--json", help="Print one line of JSON."),
) -> None:
    """Measure what kept answers save, and what asking for them in vain costs."""
    from benchmarks.cache import measure, report  # noqa: PLC0415

    typer.echo(report(measure(target, requests=requests), as_json=as_json))


@app.command()
def access() -> None:
    """Measure what asking for keys adds to a request, without a server."""
    from benchmarks.access import measure, print_table  # noqa: PLC0415

    print_table(measure())


@app.command()
def peer(
    name: Annotated[PeerName, typer.Option("--peer", help="Whom to measure beside the engine.")],
    net: Annotated[NetworkName, typer.Option(help="What both run.")] = NetworkName.FUSION,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a run.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Run a network on the engine and on a peer in turn: times, ratio, spikes equal or not."""
    from benchmarks.peer import as_line, measure, print_table  # noqa: PLC0415

    try:
        figures = measure(name, net, batch)
    except Unavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(as_line(figures))
    else:
        print_table(figures)


@app.command()
def growth(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Measure how time grows with neurons, synapses, samples and steps; one process against two."""
    from benchmarks.growth import measure, report  # noqa: PLC0415

    report(measure(), as_json=as_json)


@app.command()
def speed(
    target: Annotated[str, typer.Option(help="cpu or loihi-emulator")] = "cpu",
) -> None:
    """Measure the figures of `speed` in hw_configs, from which `check` estimates a run's time."""
    from benchmarks.speed import TARGETS, report  # noqa: PLC0415

    if target not in TARGETS:
        raise typer.BadParameter(f"is one of {', '.join(TARGETS)}", param_hint="--target")
    typer.echo(report(target))


if __name__ == "__main__":
    app()
