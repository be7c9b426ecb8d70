"""The checklist of a first run on a board: from the installation to spikes that equal ours."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backends.base import CheckedStep
from backends.errors import BackendError, told
from backends.host import ChildHost
from backends.loihi_chip_backend import BoardOptions, ChipEngine
from simulators.loihi import LoihiEngine
from simulators.loihi_connections import Dense
from simulators.loihi_network import InputNode, LifPopulation, LoihiNetwork, OutputNode

STEPS, LONGEST_LAG = 64, 16
_DEADLINE_S = 300.0

Check = Callable[[], tuple[bool, str]]


class FirstRun:
    """Walks through the checklist.

    Args:
        host: of the board's child.
        options: the board.
        available: raises `TargetUnavailable` where the target cannot be used.
    """

    def __init__(
        self, host: Callable[[], ChildHost], options: BoardOptions, available: Callable[[], None]
    ) -> None:
        self._host = host
        self._options = options
        self._available = available

    def steps(self) -> Iterator[CheckedStep]:
        """Give every step as it is done; after one that failed, the others are not run."""
        going = True
        for what, check, remedy in (
            ("Lava and Intel's extension are installed", self._installed, "docs/loihi2-chip.md"),
            (
                "a neuron with a bias spikes as often as in the emulator",
                self._bias,
                "try snn-fusion fuzz-loihi: if Lava's models agree, ask Intel about this board",
            ),
            (
                f"the adapters are late by lag_steps {self._options.lag_steps}",
                self._lag,
                "set options.lag_steps in the target's YAML to what was found",
            ),
            (
                "spikes pass a synapse, inhibition and a loop as in the emulator",
                self._synapses,
                "compare the networks of backends/chip_first_run.py one by one",
            ),
            ("the profiler measures energy", self._energy, "replies will say why there is none"),
        ):
            if not going:
                yield CheckedStep(what, "not run", None, remedy)
                continue
            passed, found = _outcome(check)
            going = passed
            yield CheckedStep(what, found, passed, "" if passed else remedy)

    def _installed(self) -> tuple[bool, str]:
        self._available()
        return True, f"chip generation {self._options.generation}"

    def _bias(self) -> tuple[bool, str]:
        chip, ours = self._both(_biased(), np.zeros((STEPS, 1)))
        return bool(np.array_equal(_counts(chip), _counts(ours))), (
            f"{_counts(chip).tolist()} spikes, the emulator's {_counts(ours).tolist()}"
        )

    def _lag(self) -> tuple[bool, str]:
        chip, ours = self._both(_biased(), np.zeros((STEPS, 1)))
        for lag in range(LONGEST_LAG + 1):
            if np.array_equal(chip[lag : lag + STEPS // 2], ours[: STEPS // 2]):
                return lag == self._options.lag_steps, f"late by {lag}"
        return False, f"no lag of up to {LONGEST_LAG} steps makes the spikes equal"

    def _synapses(self) -> tuple[bool, str]:
        pulses = (np.arange(STEPS) % 5 == 0).astype(float)[:, None]
        chip, ours = self._both(_looped(), pulses, self._options.lag_steps)
        differing = int(np.count_nonzero(chip != ours))
        return not differing, f"{differing} of {ours.size} bins differ, {int(ours.sum())} spikes"

    def _energy(self) -> tuple[bool, str]:
        engine = ChipEngine(_biased(), self._host(), self._options)
        _, reply, _ = engine.on_the_board({"in": np.zeros((1, STEPS, 1))}, (), _DEADLINE_S)
        joules, board_s = float(reply["joules"][0]), float(reply["board_s"][0])
        return bool(np.isfinite(joules)), f"{joules:.3g} J in {board_s:.3g} s for {STEPS} steps"

    def _both(
        self, network: LoihiNetwork, inputs: NDArray[np.float64], lag: int = 0
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Return the spikes [steps, neurons] of the board and of the emulator."""
        options = replace(self._options, lag_steps=lag)
        engine = ChipEngine(network, self._host(), options)
        x = {"in": inputs[None]}
        chip, _, _ = engine.on_the_board(x, ["cells"], _DEADLINE_S)
        engine.forget()
        ours = LoihiEngine(network).run(x, record=["cells"])
        key = "cells.spikes"
        return chip.recorded[key][0].astype(int), ours.recorded[key][0].astype(int)


def _outcome(check: Check) -> tuple[bool, str]:
    try:
        return check()
    except BackendError as error:
        return False, told(error)


def _counts(spikes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return spikes of each neuron while no adapter can have lost any of them."""
    counts: NDArray[np.integer] = spikes[LONGEST_LAG:].sum(axis=0)
    return counts


def _cells(size: int, bias: list[int], vth: int) -> LifPopulation:
    zero = np.zeros(size, np.int32)
    return LifPopulation(
        name="cells", shape=(size,), du=np.full(size, 2047, np.int32), dv=zero,
        vth=np.full(size, vth, np.int32), bias_mant=np.array(bias, np.int32),
        bias_exp=np.full(size, 6, np.int32), u=zero, v=zero,
    )  # fmt: skip


def _biased() -> LoihiNetwork:
    """Return four neurons that spike every 2nd, 4th, 8th and 16th step, fed by nothing."""
    weights = np.zeros((4, 1), np.int32)
    return _network(_cells(4, [33, 17, 9, 5], 64), (_dense("w", "in", weights),))


def _looped() -> LoihiNetwork:
    """Return three neurons in a ring that one input line excites and inhibits."""
    fed = np.array([[200], [-100], [60]], np.int32)
    ring = np.array([[0, 0, 120], [120, 0, -60], [-60, 120, 0]], np.int32)
    return _network(
        _cells(3, [0, 20, 0], 100), (_dense("w", "in", fed), _dense("ring", "cells", ring))
    )


def _dense(name: str, source: str, weights: NDArray[np.int32]) -> Dense:
    return Dense(name=name, source=source, target="cells", weights=weights)


def _network(cells: LifPopulation, connections: tuple[Dense, ...]) -> LoihiNetwork:
    return LoihiNetwork(
        dt_s=1e-3,
        inputs=(InputNode("in", (1,)),),
        populations=(cells,),
        connections=connections,
        outputs=(OutputNode(name="out", source="cells", shape=cells.shape),),
    )
