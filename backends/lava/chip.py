"""Networks on a Loihi 2 board, through Lava's `Loihi2HwCfg` and Intel's closed extension.

What is known of the extension from public code: spikes pass between the host and the chip through
adapters of `lava.proc.embedded_io.spike`, `lava.utils.profiler` measures one run of one
configuration, and reading or setting a variable is slow. So every sample is a network of its own,
compiled, run once for all its steps, read and stopped; nothing is read at every step.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.lava.network import CONNECTIONS  # before anything of Lava

from lava.magma.core.run_conditions import RunSteps  # isort: skip
from lava.magma.core.run_configs import Loihi2HwCfg  # isort: skip
from lava.proc.io.sink import RingBuffer as Sink  # isort: skip
from lava.proc.io.source import RingBuffer as Source  # isort: skip
from lava.proc.lif.process import LIF  # isort: skip
from lava.utils import loihi  # isort: skip

Array = NDArray[Any]


class ExtensionMissing(Exception):
    """Intel's extension of Lava for Loihi is not installed in this environment."""


class BoardUnavailable(Exception):
    """There is no such board, or no way to it from here."""


def open_program(parts: dict[str, Any]) -> Any:
    """Return a function that runs a network on the chip.

    Args:
        parts: what `backends.lava.network.LavaNetwork` takes, and `board`: `generation`, `slurm`
            ({partition, board} or None), `ethernet` ({address, binary} or None), `lock` (a file),
            `lag_steps` (steps by which the adapters delay what is read) and `select_tag`.

    The function takes {"inputs": name → [batch, steps, lines], "record": populations} and returns
    {"spikes": population → [batch, steps, neurons], "joules", "board_s": [batch]}, the last two
    as the board's profiler measured them, NaN where it did not.

    Raises:
        ExtensionMissing: without Intel's extension.
        BoardUnavailable: if SLURM or the network give no such board.
    """
    if not loihi.is_installed():
        raise ExtensionMissing("lava.utils.loihi.is_installed() says no")
    choose_board(parts["board"])
    return lambda request: _run(parts, request)


def choose_board(board: Mapping[str, Any]) -> None:
    """Tell Lava which board to use; without SLURM or an address, the environment decides."""
    try:
        generation = loihi.ChipGeneration[board["generation"]]
        if board["slurm"] is not None:
            loihi.use_slurm_host(loihi_gen=generation, **board["slurm"])
        elif board["ethernet"] is not None:
            address, binary = board["ethernet"]["address"], board["ethernet"]["binary"]
            loihi.use_ethernet_host(address, binary, loihi_gen=generation)
        else:
            os.environ["LOIHI_GEN"] = generation.value
    except KeyError:
        known = ", ".join(loihi.ChipGeneration.__members__)
        raise BoardUnavailable(f"generation {board['generation']!r} is none of {known}") from None
    except FileNotFoundError as error:  # Lava calls SLURM's and the system's own programs
        raise BoardUnavailable(f"this host has no program {error.filename!r}") from None
    except ValueError as error:
        raise BoardUnavailable(str(error)) from None


def _run(parts: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    inputs, record = request["inputs"], request["record"]
    batch = len(next(iter(inputs.values())))
    with _alone(parts["board"]["lock"]):
        samples = [
            _one(parts, {name: values[sample] for name, values in inputs.items()}, record)
            for sample in range(batch)
        ]
    return {
        "spikes": {name: np.stack([spikes[name] for spikes, _, _ in samples]) for name in record},
        "joules": np.array([joules for _, joules, _ in samples]),
        "board_s": np.array([board_s for _, _, board_s in samples]),
    }


@contextmanager
def _alone(lock: str) -> Iterator[None]:
    """Wait until no other process of this host uses the board; the caller's deadline ends it."""
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _one(
    parts: Mapping[str, Any], inputs: Mapping[str, Array], record: list[str]
) -> tuple[dict[str, Array], float, float]:
    """Run one sample and return its spikes, joules and seconds."""
    from lava.utils.profiler import Profiler  # noqa: PLC0415 (it warns without the extension)

    lag = parts["board"]["lag_steps"]
    steps = len(next(iter(inputs.values()))) + lag
    sinks, process = _network(parts, inputs, record, steps)
    configuration = Loihi2HwCfg(select_tag=parts["board"]["select_tag"])
    profiler = Profiler.init(configuration)
    for probe in (profiler.execution_time_probe, profiler.energy_probe):
        _try(lambda probe=probe: probe(num_steps=steps))
    process.run(condition=RunSteps(num_steps=steps), run_cfg=configuration)
    try:
        spikes = {name: sink.data.get().T[lag:].astype(np.int64) for name, sink in sinks.items()}
        joules = _try(lambda: float(np.sum(profiler.energy)) * 1e-6)
        board_s = _try(lambda: float(np.sum(profiler.execution_time)) * 1e-6)
    finally:
        process.stop()
    return spikes, joules, board_s


def _network(
    parts: Mapping[str, Any], inputs: Mapping[str, Array], record: list[str], steps: int
) -> tuple[dict[str, Any], Any]:
    """Return the sinks of the recorded populations, and a process of the connected network."""
    from lava.proc.embedded_io.spike import NxToPyAdapter, PyToNxAdapter  # noqa: PLC0415

    bits = {entry["source"]: entry["num_message_bits"] for entry in parts["connections"]}
    ports = {}
    for name, values in inputs.items():
        if name not in bits:
            continue
        data = np.zeros((values.shape[1], steps), np.int32)
        data[:, : len(values)] = values.T
        source = Source(data=data)
        adapter = PyToNxAdapter(shape=(values.shape[1],), num_message_bits=bits[name])
        source.s_out.connect(adapter.inp)
        ports[name] = adapter.out
    populations = {entry["name"]: _population(entry) for entry in parts["populations"]}
    ports |= {name: population.s_out for name, population in populations.items()}
    for entry in parts["connections"]:
        made = CONNECTIONS[entry["kind"]](entry)
        made.into(ports[entry["source"]], populations[entry["target"]].a_in)
    sinks = {}
    for name in record:
        shape = populations[name].s_out.shape
        adapter = NxToPyAdapter(shape=shape, num_message_bits=0)
        sinks[name] = Sink(shape=shape, buffer=steps)
        populations[name].s_out.connect(adapter.inp)
        adapter.out.connect(sinks[name].a_in)
    return sinks, next(iter(populations.values()))


def _population(entry: Mapping[str, Any]) -> Any:
    """Return Lava's LIF, with one decay and threshold for all neurons, as the chip's model takes.

    The service has refused what is not so.
    """
    one = {key: int(entry[key].reshape(-1)[0]) for key in ("du", "dv", "vth")}
    each = {key: entry[key] for key in ("bias_mant", "bias_exp", "u", "v")}
    return LIF(shape=(entry["size"],), **one, **each)


def _try(measure: Any) -> float:
    """Return what was measured, NaN where this board or version does not measure it."""
    try:
        found = measure()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        print(f"the profiler measures less than hoped for: {error}", flush=True)
        return float("nan")
    return float("nan") if found is None else float(found)
