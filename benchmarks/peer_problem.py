"""A network as files that any peer can read, and its spikes in a form that can be compared."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.networks import Network
from benchmarks.peers.protocol import Population, Spikes
from fusion.sparse_raster import SparseRaster, sparse
from simulators.compiled import CompiledEngine
from simulators.neurons import Neuron
from simulators.operations import Weights
from simulators.plan import Plan, PlanNode

_RECORD_ELEMENTS = 64_000_000
"""Spike counts recorded at a time; a run of many neurons is recorded in parts."""


def write_problem(network: Network, batch: int, folder: Path) -> None:
    """Write `network.json`, `network.npz` and `inputs.npz`."""
    populations = [_population(node) for node in network.plan.nodes if node.spikes]
    projections: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for n, (source, target, delay, weights) in enumerate(_projections(network.plan)):
        connection = weights.connection
        shape = (connection.n_post, connection.n_pre)
        projections.append(
            {"source": source, "target": target, "delay_steps": delay, "shape": shape}
        )
        arrays |= {f"{part}{n}": getattr(connection, part) for part in ("pre", "post", "weight")}
    for key, values in (network.state(1) or {}).items():
        if key.endswith(".v"):
            arrays[f"initial.{key[:-2]}"] = values[0]
    told = {
        "steps": network.steps,
        "dt_s": network.plan.contract.dt_s,
        "populations": [{f: getattr(one, f) for f in one.__slots__} for one in populations],
        "projections": projections,
    }
    (folder / "network.json").write_text(json.dumps(told))
    np.savez(folder / "network.npz", allow_pickle=False, **arrays)
    np.savez(folder / "inputs.npz", allow_pickle=False, **network.inputs(batch))


def _population(node: PlanNode) -> Population:
    """Return a node as peers know it; all its neurons are alike and reset to 0."""
    neuron = node.operation
    assert isinstance(neuron, Neuron)
    assert neuron.leak is not None
    assert neuron.spiking is not None
    synapse = neuron.synapse
    return Population(
        node.name,
        node.size,
        float(neuron.leak.rate[0]),
        float(neuron.spiking.v_threshold[0]),
        None if synapse is None else float(synapse.rate[0]),
        1.0 if synapse is None else float(synapse.w_in[0]),
        float(neuron.leak.v_leak[0]),
    )


def _projections(plan: Plan) -> Iterator[tuple[str, str, int, Weights]]:
    """Yield (source, target, steps of delay, weights) of every weight matrix."""
    nodes = {node.name: node for node in plan.nodes}
    for target in plan.nodes:
        for edge in target.sources if isinstance(target.operation, Neuron) else ():
            weights = nodes[edge.node].operation
            assert isinstance(weights, Weights)
            for source in nodes[edge.node].sources:
                delay = edge.delay_steps + source.delay_steps
                yield source.node, target.name, delay, weights


def event_lists(network: Network, batch: int) -> dict[str, SparseRaster]:
    """Return Input node → what is active in each step, as the service hands it to the engine."""
    return {
        name: sparse(raster.astype(np.float32)) for name, raster in network.inputs(batch).items()
    }


def our_spikes(engine: CompiledEngine, network: Network, batch: int) -> Spikes:
    """Run once and return every spike."""
    inputs, state = network.inputs(batch), network.state(batch)
    names = [node.name for node in network.plan.nodes if node.spikes]
    neurons = sum(node.size for node in network.plan.nodes if node.spikes)
    part = max(1, _RECORD_ELEMENTS // (neurons * batch))
    found: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    for first in range(0, network.steps, part):
        steps = {name: raster[:, first : first + part] for name, raster in inputs.items()}
        trace = engine.run(steps, state, record=names)
        state = trace.state
        for name in names:
            rows = np.argwhere(trace.recorded[f"{name}.spikes"])
            rows[:, 1] += first
            found[name].append(rows)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def first_difference(ours: Spikes, theirs: Spikes) -> str | None:
    """Return None if all spikes are equal, else how many differ and where that begins."""
    differing, firsts = 0, []
    for name, rows in ours.items():
        mine, other = ({tuple(row) for row in rows.tolist()} for rows in (rows, theirs[name]))
        apart = mine ^ other
        differing += len(apart)
        firsts += [(step, sample, name, neuron) for sample, step, neuron in apart]
    if not firsts:
        return None
    step, sample, name, neuron = min(firsts)
    total = sum(len(rows) for rows in ours.values())
    return (
        f"{differing} spikes differ, of {total} of ours; "
        f"the first in step {step} of sample {sample}, neuron {neuron} of {name}"
    )
