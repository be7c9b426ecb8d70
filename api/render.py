"""From a fused answer to its reply."""

import math
import time
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from api.framing import JSON
from api.job import Job, Placed, Reply
from api.replies import (
    CountsReply,
    FuseReply,
    ModelName,
    QualityReply,
    SensorReply,
    SpikesReply,
    TraceReply,
    WindowReply,
)
from backends.contracts import differing
from backends.energy import energy_report
from backends.fuse import FusedAnswer, SampleCounts
from fusion.contract import ExecutionContract
from fusion.manifest import Manifest
from fusion.model import FusionModel
from fusion.window import FusedWindow, manifest_of


def encode_fuse(job: Job, answer: FusedAnswer, request_id: str, queue_s: float) -> Reply:
    """Return the reply to a job as `POST /v1/fuse` gives it."""
    reply = fuse_reply(job, answer, request_id, queue_s)
    content = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
    return Reply(content, {"Content-Type": JSON})


def fuse_reply(job: Job, answer: FusedAnswer, request_id: str, queue_s: float) -> FuseReply:
    """Return the whole reply to a job; the total time ends here."""
    model = job.shelved.model
    manifest = manifest_of(model)
    wanted = set(job.record)
    work = answer.counts
    energy = energy_report(job.target, work.synaptic_events, work.neuron_updates, answer.measured)
    traced = {key.rpartition(".")[0] for key in answer.recorded} if "all" in wanted else wanted
    return {
        "request_id": request_id,
        "model": model_name(model),
        "target": job.target.name,
        "contract": _contract_fields(job.contract),
        "seed": job.seed,
        "steps": answer.steps,
        "dt_s": job.contract.dt_s,
        "windows": [window_reply(one, manifest.labels) for one in answer.windows],
        "spikes": spikes_reply(answer.recorded, work.spikes),
        "recorded": traces_reply(answer.recorded, traced),
        "counts": counts_reply(answer.counts),
        "energy": energy.energy,
        "energy_reason": energy.reason,
        "timing": {
            "decode_s": job.decode_s,
            "queue_s": queue_s,
            "run_s": answer.run_s,
            "total_s": time.perf_counter() - job.started,
        },
        "quantisation": job.quantisation,
        "warnings": [*contract_warnings(job), *warnings_of(answer, manifest)],
    }


@lru_cache(maxsize=64)
def _contract_fields(contract: ExecutionContract) -> dict[str, Any]:
    return contract.as_dict()


def contract_warnings(job: Placed) -> list[str]:
    """Return in which fields the target's contract is not the one asked for."""
    if job.own == job.contract:  # nearly always, and sooner seen than field by field
        return []
    return [
        f"contract.{name}: {here} on {job.target.name}, {asked} in the model's own contract"
        for name, (asked, here) in differing(job.own, job.contract).items()
    ]


def model_name(model: FusionModel) -> ModelName:
    """Return a model's name, version (empty for a bare graph) and digest."""
    version = model.manifest.version if model.manifest else ""
    return {"name": model.name, "version": version, "digest": model.digest}


def counts_reply(counts: SampleCounts) -> CountsReply:
    """Return the work done for one answer."""
    return {
        "synaptic_events": counts.synaptic_events,
        "neuron_updates": counts.neuron_updates,
        "spikes": dict(counts.spikes),
        "overflows": dict(counts.overflows),
    }


def window_reply(window: FusedWindow, labels: Collection[str]) -> WindowReply:
    """Return one fused window."""
    return {
        "start_us": window.start_us,
        "end_us": window.end_us,
        "label": window.label,
        "posterior": _by_label(labels, window.decision.posterior),
        "confidence": window.decision.confidence,
        "sensors": {name: _sensor(name, window, labels) for name in window.reports},
        "quality": _quality(window),
    }


def _by_label(labels: Collection[str], posterior: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(labels, posterior.tolist(), strict=True))


def _sensor(name: str, window: FusedWindow, labels: Collection[str]) -> SensorReply:
    report = window.reports[name]
    own = window.decision.by_sensor.get(name)
    return {
        "posterior": None if own is None else _by_label(labels, own),
        "contribution": window.decision.contributions.get(name),
        "events": report.events,
        "outside_window": report.outside,
        "onset_us": report.onset_us,
        "live": report.live,
    }


def _quality(window: FusedWindow) -> QualityReply:
    quality = window.quality
    return {
        "score": quality.score,
        "certainty": quality.certainty,
        "conflict": quality.conflict,
        "coverage": quality.coverage,
    }


def spikes_reply(
    recorded: Mapping[str, NDArray[np.generic]], spikes: Mapping[str, int]
) -> dict[str, SpikesReply]:
    """Return node → spikes, for every `NODE.spikes` among the records.

    A neuron that spikes n times in a step is listed n times.

    Args:
        recorded: what was recorded of a sample.
        spikes: node → how many spikes it had.
    """
    found: dict[str, SpikesReply] = {}
    for key, values in recorded.items():
        node, _, quantity = key.rpartition(".")
        if quantity == "spikes":
            flat = values.reshape(-1)
            at = flat.nonzero()[0]
            if at.size != spikes.get(node):
                at = np.repeat(at, flat[at].astype(np.int64))
            steps, neurons = np.divmod(at, math.prod(values.shape[1:]))
            found[node] = {"steps": steps, "neurons": neurons}
    return found


def traces_reply(
    recorded: Mapping[str, NDArray[np.generic]], nodes: Collection[str]
) -> dict[str, TraceReply]:
    """Return node → v and i, [steps][neurons], for those of `nodes` that have any."""
    found: dict[str, TraceReply] = {}
    for key, values in recorded.items():
        node, _, quantity = key.rpartition(".")
        if node not in nodes or quantity == "spikes":
            continue
        rows = np.ascontiguousarray(values.reshape(len(values), -1))
        trace = found.setdefault(node, {})
        if quantity == "v":
            trace["v"] = rows
        else:
            trace["i"] = rows
    return found


def overflow_warnings(overflows: Mapping[str, int]) -> list[str]:
    """Return what to say of registers that left their range, register → how often."""
    return [
        f"{register}: integers left their range {times} times"
        for register, times in overflows.items()
    ]


def warnings_of(answer: FusedAnswer, manifest: Manifest) -> list[str]:
    """Return what the caller should know beside the answer, one sentence each."""
    told = overflow_warnings(answer.counts.overflows)
    for window in answer.windows:
        for name, report in window.reports.items():
            if report.outside:
                told.append(
                    f"sensors.{name}: {report.outside} events lie behind the window's end at "
                    f"{window.end_us} us and were not used"
                )
            if not report.live:
                told.append(f"sensors.{name}: no onset was found, so it took no part")
            elif report.events == 0:
                told.append(f"sensors.{name}: no event drove the network")
        missing = [name for name in manifest.sensors if name not in window.reports]
        if missing:
            told.append(f"sensors: {', '.join(missing)} not given; the answer is without them")
    return told
