"""Fit reports as plain values and as a table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from backends.fit import FitReport


def fit_reply(report: FitReport) -> dict[str, Any]:
    """Return a fit report as plain values, for JSON."""
    return {"fits": report.fits, **asdict(report)}


def fit_table(reports: Sequence[FitReport]) -> Table:
    """Return one row a target: whether the model fits, its size, and what stands in the way."""
    table = Table(
        "target", "fits", "neurons", "synapses", "memory", "a run", "what stands in the way"
    )
    for report in reports:
        table.add_row(
            report.target,
            "yes" if report.fits else "no",
            str(report.neurons),
            str(report.synapses),
            f"{report.memory_bytes / 2**20:.2f} MiB",
            "unknown" if report.run_s is None else f"about {report.run_s:.2g} s",
            "\n".join(map(str, report.violations)),
        )
    if reports:
        table.caption = f"A run: {reports[0].run_s_assumes}."
    return table
