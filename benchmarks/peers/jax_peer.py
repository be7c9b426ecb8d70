"""JAX: a run is one jitted function, a layer a scan, weights applied to all steps at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from protocol import Population, Problem, Spikes, serve


def _scan(population: Population, drive: Any, loop: Any) -> Any:
    """Return the spikes [steps, batch, neurons]; `loop` are weights [post, pre] or None."""

    def step(held: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], Any]:
        v, last = held
        x = x if loop is None else x + last @ loop.T
        v = v + population.rate * (x - v)
        spikes = v > population.threshold
        return (jnp.where(spikes, 0.0, v), spikes.astype(v.dtype)), spikes.astype(v.dtype)

    zeros = jnp.zeros_like(drive[0])
    return lax.scan(step, (zeros, zeros), drive)[1]


def _network(problem: Problem) -> Callable[[Any, Any], dict[str, Any]]:
    def run(inputs: dict[str, Any], weights: list[Any]) -> dict[str, Any]:
        activity = dict(inputs)
        pairs = list(zip(problem.projections, weights, strict=True))
        for population in problem.populations:
            arriving = [(one, w) for one, w in pairs if one.target == population.name]
            drive = sum(activity[one.source] @ w.T for one, w in arriving if not one.delay_steps)
            loops = [w for one, w in arriving if one.delay_steps]
            activity[population.name] = _scan(population, drive, loops[0] if loops else None)
        return {population.name: activity[population.name] for population in problem.populations}

    return jax.jit(run)


class JaxPeer:
    """The problem, compiled at the first run."""

    def __init__(self, problem: Problem) -> None:
        self._inputs = {
            name: jnp.asarray(raster.swapaxes(0, 1), jnp.float32)
            for name, raster in problem.inputs.items()
        }
        self._weights = [jnp.asarray(one.matrix()) for one in problem.projections]
        self._run = _network(problem)
        self._activity: dict[str, Any] = {}

    def run(self) -> None:
        """Run and wait for the result."""
        self._activity = jax.block_until_ready(self._run(self._inputs, self._weights))

    def spikes(self) -> Spikes:
        """Return what spiked in the last run."""
        return {
            name: np.argwhere(np.asarray(spikes).swapaxes(0, 1))
            for name, spikes in self._activity.items()
        }


serve(JaxPeer, f"JAX {jax.__version__}")
