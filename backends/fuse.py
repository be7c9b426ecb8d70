"""Recordings in, fused answers out, on a compiled program."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.base import Program, RunResult
from backends.errors import Diverged
from backends.latency import output_latency
from fusion.contract import ExecutionContract
from fusion.encoding import Recording
from fusion.model import FusionModel
from fusion.window import Encoding, FusedWindow, decide_window, encode_window, manifest_of


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Work done for one sample: synaptic events, neuron updates, node → spikes."""

    synaptic_events: int
    neuron_updates: int
    spikes: Mapping[str, int]


def sample_counts(result: RunResult, index: int) -> SampleCounts:
    """Return the work done for one sample of a batch."""
    counts = result.counts
    spikes = {node: int(number[index]) for node, number in counts.spikes.items()}
    return SampleCounts(int(counts.synaptic_events[index]), counts.neuron_updates, spikes)


@dataclass(frozen=True, slots=True)
class FusedAnswer:
    """The answer to one set of recordings.

    Attributes:
        windows: the fused windows; one for a whole recording.
        recorded: `NODE.spikes`, `NODE.v`, `NODE.i` → [steps, *shape], for the nodes asked for.
        counts: work done.
        steps: time steps run.
        run_s: seconds that the run took, shared by all answers of a batch.
    """

    windows: tuple[FusedWindow, ...]
    recorded: Mapping[str, NDArray[np.generic]]
    counts: SampleCounts
    steps: int
    run_s: float


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
    return run_encoded(model, program, contract, encodings, record=record, deadline_s=deadline_s)


def encode(
    model: FusionModel, recordings: Mapping[str, Recording], contract: ExecutionContract
) -> Encoding:
    """Return a window ready to run, long enough for Outputs that the contract makes late.

    Raises:
        InvalidInput: naming what is wrong with a recording.
        InvalidModel: if the model has no manifest, or cannot be run anywhere.
    """
    return encode_window(model, recordings, contract, output_latency(model, contract))


def run_encoded(
    model: FusionModel,
    program: Program,
    contract: ExecutionContract,
    encodings: Sequence[Encoding],
    *,
    record: Collection[str] = (),
    deadline_s: float | None = None,
) -> list[FusedAnswer]:
    """Return the fused answers to windows that are already encoded; else as `fuse`."""
    if not encodings:
        return []
    manifest = manifest_of(model)
    batch = {
        node: np.stack([encoding.inputs[node] for encoding in encodings])
        for node in encodings[0].inputs
    }
    started = time.perf_counter()
    result = program.run(batch, record=record, deadline_s=deadline_s)
    run_s = time.perf_counter() - started
    answers = []
    for index, encoding in enumerate(encodings):
        outputs = {node: values[index] for node, values in result.outputs.items()}
        refuse_divergence(outputs)
        window = decide_window(manifest, outputs, encoding, contract)
        recorded = {key: values[index] for key, values in result.recorded.items()}
        counts = sample_counts(result, index)
        answers.append(FusedAnswer((window,), recorded, counts, result.steps, run_s))
    return answers


def refuse_divergence(outputs: Mapping[str, NDArray[np.floating]]) -> None:
    """Return if every output, Output node → [steps, *shape], is finite.

    Raises:
        Diverged: naming the node and the first step at which it is not.
    """
    for node, values in outputs.items():
        finite = np.isfinite(values)
        if not finite.all():
            step = int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
            raise Diverged(node, step)
