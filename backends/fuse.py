"""Recordings in, fused answers out, on a compiled program."""

import math
import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from backends.base import Program, RunResult
from backends.energy import SampleEnergy, measured_energy
from backends.errors import Diverged, RunTimeout
from backends.latency import output_latency
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.model import FusionModel
from fusion.sparse_raster import one_lasting, stacked
from fusion.window import (
    Encoding,
    FusedWindow,
    decide_window,
    encode_window,
    manifest_of,
    window_steps,
)


class SampleCounts(Struct, frozen=True):
    """Work done for one sample.

    Attributes:
        synaptic_events: synapses that carried a spike.
        neuron_updates: neurons stepped.
        spikes: node → spikes.
        overflows: `NODE.REGISTER` → times that integers left their range, where any did.
    """

    synaptic_events: int
    neuron_updates: int
    spikes: Mapping[str, int]
    overflows: Mapping[str, int]


def sample_counts(result: RunResult, index: int) -> SampleCounts:
    """Return the work done for one sample of a batch."""
    counts = result.counts
    spikes = {node: int(number[index]) for node, number in counts.spikes.items()}
    overflows = {key: int(n[index]) for key, n in result.overflows.items() if n[index]}
    events = int(counts.synaptic_events[index])
    return SampleCounts(events, counts.neuron_updates, spikes, overflows)


class FusedAnswer(Struct, frozen=True):
    """The answer to one set of recordings.

    Attributes:
        windows: the fused windows; one for a whole recording.
        recorded: `NODE.spikes`, `NODE.v`, `NODE.i` → [steps, *shape], for the nodes asked for.
        counts: work done.
        steps: time steps run.
        run_s: seconds that the run took, shared by all answers of a batch.
        measured: the energy that the target measured, None if it measures none.
    """

    windows: tuple[FusedWindow, ...]
    recorded: Mapping[str, NDArray[np.generic]]
    counts: SampleCounts
    steps: int
    run_s: float
    measured: SampleEnergy | None


def fuse(
    model: FusionModel,
    program: Program,
    contract: ExecutionContract,
    recordings: Sequence[Mapping[str, Recording]],
    *,
    record: Collection[str] = (),
    deadline_s: float | None = None,
) -> list[FusedAnswer]:
    """Return the fused answer to every set of recordings, run as one batch.

    Args:
        model: a model with a manifest.
        program: the model compiled for a target under `contract`.
        contract: the contract it was compiled under.
        recordings: for every answer wanted, sensor → recording.
        record: nodes to record, or `all`.
        deadline_s: seconds the run may take.

    Raises:
        InvalidInput: naming what is wrong with a recording.
        InvalidModel: if the model has no manifest.
        RunFailed: if the run broke off; `Diverged` if an output is not finite.
    """
    encodings = [encode(model, one, contract) for one in recordings]
    answers = run_batch(model, program, contract, encodings, record=record, deadline_s=deadline_s)
    return [answer_of(one) for one in answers]


def encode(
    model: FusionModel, recordings: Mapping[str, Recording], contract: ExecutionContract
) -> Encoding:
    """Return a window ready to run, long enough for Outputs that the contract makes late.

    Raises:
        InvalidInput: naming what is wrong with a recording.
        InvalidModel: if the model has no manifest, or cannot be run anywhere.
    """
    return encode_window(model, recordings, contract, output_latency(model, contract))


def again_under(model: FusionModel, encoding: Encoding, contract: ExecutionContract) -> Encoding:
    """Return an encoded window for a run under another contract of the same steps and binning."""
    late = output_latency(model, contract)
    steps = window_steps(manifest_of(model), contract.dt_s) + max(late.values(), default=0)
    inputs = {node: one_lasting(raster, steps) for node, raster in encoding.inputs.items()}
    return replace(encoding, inputs=inputs, latency_steps=late)


def answer_of(outcome: FusedAnswer | Exception) -> FusedAnswer:
    """Return what `run_batch` gave for a sample if it is an answer, else raise it."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def run_batch(
    model: FusionModel,
    program: Program,
    contract: ExecutionContract,
    encodings: Sequence[Encoding],
    *,
    record: Collection[str] = (),
    deadline_s: float | None = None,
) -> list[FusedAnswer | Exception]:
    """Return for every encoded window its fused answer, or what went wrong with it alone.

    Whatever breaks off the run of several windows, other than the deadline, is taken for the fault
    of one of them: each then runs alone. Arguments else as of `fuse`.
    """
    if not encodings:
        return []
    end = None if deadline_s is None else time.perf_counter() + deadline_s
    try:
        result = _run(program, encodings, record, deadline_s)
    except RunTimeout as error:
        return [error] * len(encodings)
    except Exception as error:
        if len(encodings) == 1:
            return [error]
        alone: list[FusedAnswer | Exception] = []
        for one in encodings:
            left_s = None if end is None else max(1e-3, end - time.perf_counter())
            alone += run_batch(model, program, contract, [one], record=record, deadline_s=left_s)
        return alone
    return [_answer(model, contract, *result, encodings, index) for index in range(len(encodings))]


def _run(
    program: Program,
    encodings: Sequence[Encoding],
    record: Collection[str],
    deadline_s: float | None,
) -> tuple[RunResult, float]:
    """Return the result of a run, and the seconds it took."""
    batch = {
        node: stacked([encoding.inputs[node] for encoding in encodings])
        for node in encodings[0].inputs
    }
    started = time.perf_counter()
    result = program.run(batch, record=record, deadline_s=deadline_s)
    return result, time.perf_counter() - started


def _answer(
    model: FusionModel,
    contract: ExecutionContract,
    result: RunResult,
    run_s: float,
    encodings: Sequence[Encoding],
    index: int,
) -> FusedAnswer | Diverged:
    outputs = {node: values[index] for node, values in result.outputs.items()}
    try:
        refuse_divergence(outputs)
    except Diverged as error:
        return error
    window = decide_window(manifest_of(model), outputs, encodings[index], contract)
    recorded = {key: values[index] for key, values in result.recorded.items()}
    counts, measured = sample_counts(result, index), measured_energy(result, index)
    return FusedAnswer((window,), recorded, counts, result.steps, run_s, measured)


def refuse_divergence(outputs: Mapping[str, NDArray[np.floating]]) -> None:
    """Return if every output, Output node → [steps, *shape], is finite.

    Raises:
        Diverged: naming the node and the first step at which it is not.
    """
    for node, values in outputs.items():
        if math.isfinite(np.vdot(values, values)):  # only finite numbers have a finite product
            continue
        finite = np.isfinite(values)
        if not finite.all():
            step = int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
            raise Diverged(node, step)
