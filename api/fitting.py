"""Whether a model fits targets: the reports, as plain values and as a table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from api.render import model_name
from api.replies import AvailabilityReply, CheckReply, FitReply
from api.targets import availability, unavailable
from backends.contracts import contract_on
from backends.errors import BackendError, InvalidTarget
from backends.fit import FitReport, fit_report
from backends.registry import Registry
from fusion.contract import ExecutionContract
from fusion.errors import InvalidInput
from fusion.model import FusionModel
from fusion.window import window_steps


@dataclass(frozen=True, slots=True)
class TargetFit:
    """One target's part of a check.

    Attributes:
        target: its name.
        availability: whether it can be used now.
        report: how the model fits it; None where its backend cannot even be loaded.
    """

    target: str
    availability: AvailabilityReply
    report: FitReport | None

    @property
    def fits(self) -> bool:
        """Whether the target is known to be able to run the model."""
        return self.report is not None and self.report.fits


def fit_targets(
    registry: Registry,
    names: Iterable[str],
    model: FusionModel,
    contract: ExecutionContract,
    duration_s: float | None = None,
) -> list[TargetFit]:
    """Return how a model fits targets; nothing is run.

    Args:
        registry: the targets.
        names: which of them; what is wrong with one stands in its entry alone.
        model: the model.
        contract: the model's own contract; a target that cannot step it so has one of its own.
        duration_s: length of the run to estimate; by default the model's window, or a second.

    Raises:
        UnknownTarget: if there is no such target.
        InvalidInput: if the duration cannot be counted in steps.
        InvalidModel: if the graph cannot be run anywhere.
    """
    steps = _steps(model, contract, duration_s)
    return [_fit(registry, name, model, contract, steps) for name in names]


def _fit(
    registry: Registry, name: str, model: FusionModel, contract: ExecutionContract, steps: int
) -> TargetFit:
    now = availability(registry, name)
    try:
        here = contract_on(registry.target(name), contract)
        report = fit_report(registry.backend(name), model, here, steps)
    except (BackendError, InvalidTarget) as error:
        return TargetFit(name, unavailable(error), None)
    return TargetFit(name, now, report)


def _steps(model: FusionModel, contract: ExecutionContract, duration_s: float | None) -> int:
    if duration_s is None and model.manifest is not None:
        return window_steps(model.manifest, contract.dt_s)
    steps = (1.0 if duration_s is None else duration_s) / contract.dt_s
    if not math.isfinite(steps):
        raise InvalidInput("duration_s", f"is too long for steps of {contract.dt_s} s")
    return max(1, math.ceil(steps - 1e-9))


def fit_reply(fit: TargetFit) -> FitReply:
    """Return a target's part of a check as plain values, for JSON."""
    now, report = fit.availability, fit.report
    if report is None:
        return {
            "target": fit.target,
            "available": now["available"],
            "reason": now["reason"],
            "hint": now["hint"],
            "fits": None,
        }
    return {
        "target": fit.target,
        **fit.availability,
        "fits": report.fits,
        "violations": report.violations,
        "populations": report.populations,
        "neurons": report.neurons,
        "synapses": report.synapses,
        "cores": report.cores,
        "memory_bytes": report.memory_bytes,
        "run_s": report.run_s,
        "run_s_assumes": report.run_s_assumes,
    }


def check_reply(
    model: FusionModel, contract: ExecutionContract, fits: Sequence[TargetFit]
) -> CheckReply:
    """Return a whole check as plain values, for JSON."""
    return {
        "model": model_name(model),
        "contract": contract.as_dict(),
        "targets": [fit_reply(fit) for fit in fits],
    }


def fit_table(fits: Sequence[TargetFit]) -> Table:
    """Return one row a target: whether the model fits, its size, and what stands in the way."""
    table = Table(
        "target",
        "fits",
        "neurons",
        "synapses",
        "cores",
        "memory",
        "a run",
        "what stands in the way",
    )
    for fit in fits:
        now, report = fit.availability, fit.report
        in_the_way = [] if now["available"] else [f"unavailable: {now['reason']}"]
        if report is None:
            table.add_row(fit.target, "unknown", "", "", "", "", "", *in_the_way)
            continue
        table.add_row(
            fit.target,
            "yes" if report.fits else "no",
            str(report.neurons),
            str(report.synapses),
            "" if report.cores is None else str(report.cores),
            f"{report.memory_bytes / 2**20:.2f} MiB",
            "unknown" if report.run_s is None else f"about {report.run_s:.2g} s",
            escape("\n".join([*in_the_way, *map(str, report.violations)])),
        )
        table.caption = f"A run: {report.run_s_assumes}."
    return table
