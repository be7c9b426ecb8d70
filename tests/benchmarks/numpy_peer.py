"""A peer in plain NumPy, for the tests of the harness; told to, it counts a spike too many."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks/peers"))

import numpy as np
from protocol import Problem, Spikes, serve


class NumpyPeer:
    def __init__(self, problem: Problem) -> None:
        if "fail" in sys.argv:
            raise SystemExit("no such neuron")
        self.problem = problem
        self.found: dict[str, list[tuple[int, int, int]]] = {}

    def run(self) -> float:
        problem = self.problem
        batch = len(next(iter(problem.inputs.values())))
        v = {one.name: np.zeros((batch, one.size), np.float32) for one in problem.populations}
        now = dict(v)
        self.found = {name: [] for name in v}
        print("libraries print what they please")
        for step in range(problem.steps):
            late = {one.source: now[one.source] for one in problem.projections if one.delay_steps}
            now = now | {name: raster[:, step] for name, raster in problem.inputs.items()}
            for one in problem.populations:
                x = sum(
                    (late if p.delay_steps else now)[p.source] @ p.matrix().T
                    for p in problem.projections
                    if p.target == one.name
                )
                v[one.name] += np.float32(one.rate) * (x - v[one.name])
                spikes = v[one.name] > np.float32(one.threshold)
                v[one.name][spikes] = 0
                now[one.name] = spikes.astype(np.float32)
                rows = np.argwhere(spikes).tolist()
                self.found[one.name] += [(sample, step, neuron) for sample, neuron in rows]
        return 2.5

    def spikes(self) -> Spikes:
        found = {name: np.array(rows).reshape(-1, 3) for name, rows in self.found.items()}
        if "extra" in sys.argv:
            name = next(iter(found))
            found[name] = np.concatenate((found[name], [[0, 3, 99]]))
        return found


serve(NumpyPeer, "NumPy")
