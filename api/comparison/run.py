"""What this deployment runs of a comparison."""

import time
from dataclasses import dataclass

import orjson

from api.comparison.prepare import targets_of
from api.comparison.report import comparison_reply
from api.job import ComparisonJob
from api.notes import Notes
from api.quantising import Runnable
from api.render import model_name
from api.service import Service
from backends.checks import refuse_oversize
from backends.compare import TargetRun
from backends.comparison import compared
from backends.errors import RunTimeout
from backends.fuse import encode
from backends.quantisation_file import QuantisationFile
from backends.trial import Trial, trial_of_recordings
from fusion.contract import ExecutionContract
from simulators.calibration import Rasters


@dataclass(frozen=True, slots=True)
class Ready:
    """A trial that is about to run, and what its model lost if it was to be quantised."""

    trial: Trial
    quantisation: QuantisationFile | None


def run_whole(service: Service, job: ComparisonJob, notes: Notes) -> bytes:
    """Return the reply to a comparison whose targets all run here.

    Raises:
        FusionError, BackendError: if it cannot be run, or a run broke off.
    """
    ready = make_ready(service, job)
    done = compared(ready.trial, run_here(service, job, ready.trial, notes), job.tolerance)
    reply = comparison_reply(model_name(done.model), done.runs, done.pairs, ready.quantisation)
    return orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)


def make_ready(service: Service, job: ComparisonJob) -> Ready:
    """Return the trial of a comparison, within the deployment's limits.

    Raises:
        FusionError, BackendError: if it cannot be run; `RunTimeout` if its time has passed.
    """
    limits = service.registry.limits
    refuse_oversize(job.shelved.model, job.own, job.here[0], limits)
    service.runner.check_recorded(job.shelved.model, job.own, ["all"], "dt_s")
    model = _runnable(service, job)
    left_s = job.end - time.perf_counter()
    if left_s <= 0:
        raise RunTimeout(", ".join(job.targets), job.deadline_s)
    trial = trial_of_recordings(
        model.model, job.recordings, job.own, job.targets, service.programs, left_s
    )
    return Ready(trial, model.quantisation)


def run_here(service: Service, job: ComparisonJob, trial: Trial, notes: Notes) -> list[TargetRun]:
    """Return the runs of a comparison's targets that are served here, one after the other.

    Every run is charged to the caller, also one that breaks off.

    Raises:
        BackendError: as soon as one cannot be run.
    """
    runs = []
    for name in job.here:
        target, begun = service.targets[name], time.perf_counter()
        try:
            run = trial.run(name, trial.compile(name))
        except Exception:
            notes.charge(target, 0, time.perf_counter() - begun)
            raise
        notes.charge(target, run.synaptic_events, run.run_s)
        runs.append(run)
    return runs


def _runnable(service: Service, job: ComparisonJob) -> Runnable:
    """Return the model, quantised if any target of the comparison needs that, wherever it runs."""
    if not job.quantise:
        return Runnable(job.shelved.model, None)

    def own_input(contract: ExecutionContract) -> Rasters:
        return encode(job.shelved.model, job.recordings, contract).rasters()

    targets = targets_of(service, job.targets)
    return service.runner.quantiser.ready(job.shelved, job.own, targets, own_input)
