"""`python -m benchmarks`: one command a benchmark, each of which prints what it measured."""

import typer

app = typer.Typer(no_args_is_help=True, help=__doc__, add_completion=False)


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


if __name__ == "__main__":
    app()
