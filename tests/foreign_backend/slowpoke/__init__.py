"""A backend from outside: it imports `snn_fusion` only, and computes neuron by neuron."""

import time

import numpy as np

from snn_fusion import (
    CHOICES,
    PROFILES,
    Backend,
    Counts,
    ModelRejected,
    Program,
    RunResult,
    check_plan,
    checked_inputs,
    checked_record,
    checked_state,
    make_plan,
)

SUPPORTED = {name: (PROFILES["nir"][name],) for name in CHOICES}


class SlowpokeBackend(Backend):
    """Runs LIF and LI networks under the profile `nir`."""

    def check(self, model, contract):
        return check_plan(model.graph, contract, self.target.capabilities, SUPPORTED)

    def compile(self, model, contract):
        violations = self.check(model, contract)
        if violations:
            raise ModelRejected(self.target.name, violations)
        return SlowpokeProgram(make_plan(model.graph, contract))


class SlowpokeProgram(Program):
    """One model, one sample after the other."""

    def __init__(self, plan):
        self.plan = plan
        self.neurons = [node for node in plan.nodes if node.kind in ("LIF", "LI")]

    def run(self, batch, state=None, record=(), deadline_s=None):
        started = time.perf_counter()
        drive = checked_inputs(self.plan, batch, np.dtype(np.float64))
        wanted = checked_record(self.plan, record)
        samples, steps = next(iter(drive.values())).shape[:2]
        fresh = {f"{node.name}.v": np.zeros((samples, node.size)) for node in self.neurons}
        held = checked_state(state, fresh) if state is not None else fresh
        held = {key: values.copy() for key, values in held.items()}
        everything = {node.name: np.zeros((samples, steps, node.size)) for node in self.plan.nodes}
        recorded = {
            f"{name}.{what}": np.zeros(
                (samples, steps, size), np.int32 if what == "spikes" else np.float64
            )
            for name, what, size in wanted
        }
        events = np.zeros(samples, np.int64)
        for sample in range(samples):
            for step in range(steps):
                given = {name: values[sample, step] for name, values in drive.items()}
                events[sample] += self.step(given, held, sample)
                for name, values in given.items():
                    everything[name][sample, step] = values
                for name, what, _ in wanted:
                    told = given[name] if what == "spikes" else held[f"{name}.v"][sample]
                    recorded[f"{name}.{what}"][sample, step] = told
        return self.result(everything, recorded, held, events, time.perf_counter() - started)

    def step(self, values, held, sample):
        events = 0
        for node in self.plan.nodes:
            if node.kind == "Input":
                continue
            x = values[node.sources[0].node].copy()
            for source in node.sources[1:]:
                x = x + values[source.node]
            operation = node.operation
            if node.kind in ("Linear", "Affine"):
                values[node.name] = np.zeros(node.size)
                connection = operation.connection
                synapses = zip(connection.pre, connection.post, connection.weight, strict=True)
                for pre, post, weight in synapses:  # by ascending source: the defined order
                    if x[pre] != 0:
                        values[node.name][post] += x[pre] * weight
                        events += 1
                if operation.bias is not None:
                    values[node.name] += operation.bias
            elif node.kind == "Output":
                values[node.name] = x
            else:
                values[node.name] = self.update(node, x, held[f"{node.name}.v"][sample])
        return events

    def update(self, node, x, v):
        operation, leak = node.operation, node.operation.leak
        for k in range(node.size):
            v[k] += leak.rate[k] * ((leak.v_leak[k] - v[k]) + operation.gain[k] * x[k])
        if operation.spiking is None:
            return v.copy()
        spikes = v > operation.spiking.v_threshold
        v[spikes] = operation.spiking.v_reset[spikes]
        return spikes.astype(float)

    def result(self, everything, recorded, held, events, wall_s):
        shapes = {node.name: node.shape for node in self.plan.nodes}

        def shaped(name, values):
            return values.reshape(*values.shape[:2], *shapes[name])

        outputs = {n.name: shaped(n.name, everything[n.name]) for n in self.plan.of_kind("Output")}
        records = {key: shaped(key.rsplit(".", 1)[0], v) for key, v in recorded.items()}
        spikes = {
            node.name: everything[node.name].sum(axis=(1, 2)).astype(np.int64)
            for node in self.plan.nodes
            if node.spikes
        }
        steps = next(iter(everything.values())).shape[1]
        updates = steps * sum(node.size for node in self.neurons)
        counts = Counts(events, updates, spikes)
        return RunResult(outputs, records, held, steps, counts, wall_s, None)
