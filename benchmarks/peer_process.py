"""Peers, their environments, and the child process in which one runs."""

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from benchmarks.peers.protocol import Spikes

_ROOT = Path(__file__).parents[1]
_ANSWER_S = 3600.0
"""Longest wait for an answer; Brian2 compiles before its first one."""

_LAST_WORDS_S = 10.0


class PeerName(StrEnum):
    """Who can be measured."""

    BRIAN2_NUMPY = "brian2-numpy"
    BRIAN2_CYTHON = "brian2-cython"
    BRIAN2_STANDALONE = "brian2-standalone"
    NEST = "nest"
    NEST_DELAYED = "nest-delayed"
    LAVA = "lava"
    LAVA_FRESH = "lava-fresh"
    SNNTORCH = "snntorch"
    NORSE = "norse"
    SPIKINGJELLY = "spikingjelly"
    SINABS = "sinabs"
    JAX = "jax"


class Unavailable(RuntimeError):
    """The peer cannot be measured here, or not on this network; says why."""


@dataclass(frozen=True, slots=True)
class PeerKind:
    """What is known of a peer before it runs.

    Attributes:
        script: file in `benchmarks/peers`.
        environment: folder of its Python environment, made by `make bench-env PEER=...`.
        networks: those it is measured on.
        batches: whether it runs a batch.
        arguments: further arguments of the script.
        differs: why its spikes cannot equal ours, if they cannot.
    """

    script: str
    environment: str
    networks: tuple[str, ...]
    batches: bool = True
    arguments: tuple[str, ...] = ()
    differs: str | None = None


_TORCH = ".venv-platforms"
_LAYERED = ("fusion", "mlp")


def _brian2(target: str) -> PeerKind:
    networks = (*_LAYERED, "cuba-4k", "cuba-40k")
    return PeerKind("brian2_peer.py", ".venv", networks, batches=False, arguments=(target,))


def _nest(delay_ms: str, differs: str) -> PeerKind:
    networks, environment = ("cuba-4k", "cuba-40k"), ".venv-bench-nest"
    return PeerKind(
        "nest_peer.py",
        environment,
        networks,
        batches=False,
        arguments=(delay_ms,),
        differs=f"NEST integrates exactly, the engine by forward Euler{differs}",
    )


def _lava(state: str) -> PeerKind:
    return PeerKind("lava_peer.py", ".venv", _LAYERED, batches=False, arguments=(state,))


PEERS = MappingProxyType(
    {
        PeerName.BRIAN2_NUMPY: _brian2("numpy"),
        PeerName.BRIAN2_CYTHON: _brian2("cython"),
        PeerName.BRIAN2_STANDALONE: _brian2("standalone"),
        PeerName.NEST: _nest("0.1", ""),
        PeerName.NEST_DELAYED: _nest("1.5", ", and without the delay"),
        PeerName.LAVA: _lava("warm"),
        PeerName.LAVA_FRESH: _lava("fresh"),
        PeerName.SNNTORCH: PeerKind("snntorch_peer.py", _TORCH, _LAYERED),
        PeerName.NORSE: PeerKind("norse_peer.py", _TORCH, _LAYERED),
        PeerName.SPIKINGJELLY: PeerKind("spikingjelly_peer.py", _TORCH, _LAYERED),
        PeerName.SINABS: PeerKind("sinabs_peer.py", _TORCH, _LAYERED),
        PeerName.JAX: PeerKind("jax_peer.py", ".venv-bench-jax", _LAYERED),
    }
)
"""Peer → what is known of it."""


def kind_of(peer: PeerName, network: str, batch: int) -> PeerKind:
    """Return what is known of a peer that is to run a network.

    Raises:
        Unavailable: if it is not measured on this network or has no batches.
    """
    kind = PEERS[peer]
    if network not in kind.networks:
        which = ", ".join(kind.networks)
        raise Unavailable(f"{peer} is not measured on {network}, but on {which}")
    if batch > 1 and not kind.batches:
        raise Unavailable(f"{peer} has no batches: --batch 1")
    return kind


def make_environment(peer: PeerName) -> None:
    """Make the peer's environment if there is none.

    Raises:
        Unavailable: if it cannot be installed, with what pip said.
    """
    made = subprocess.run(
        ["make", "--no-print-directory", "bench-env", f"PEER={peer}"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        said = [line for line in made.stderr.splitlines() if not line.startswith("WARNING")]
        raise Unavailable(f"{peer} cannot be installed: " + "\n".join(said[-5:]))


class PeerProcess:
    """A peer's child process; its answers are lines of JSON."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", answers: IO[bytes], folder: Path
    ) -> None:
        self._process = process
        self._answers = answers
        self._folder = folder
        self.version: str = self._answer()["version"]

    def run_s(self) -> float:
        """Run once; return the seconds it took."""
        return float(self._ask("run")["seconds"])

    def spikes(self) -> Spikes:
        """Return the spikes of the last run."""
        return dict(np.load(self._folder / self._ask("spikes")["file"]))

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        # A peer that is gone is told of by its missing answer.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{what}\n".encode())
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        if not select.select([self._answers], [], [], _ANSWER_S)[0]:
            raise Unavailable(f"the peer did not answer within {_ANSWER_S:g} s")
        line = self._answers.readline()
        if not line:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_WORDS_S)
            said = (self._folder / "peer.log").read_text(errors="replace")
            raise Unavailable("the peer's process ended: " + said[-1500:].strip())
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def peer_process(kind: PeerKind, folder: Path) -> Iterator[PeerProcess]:
    """Start a peer on the problem in a folder, on one thread; end it at the end."""
    python = _ROOT / kind.environment / "bin/python"
    script = _ROOT / "benchmarks/peers" / kind.script
    receiving, sending = os.pipe()
    with (folder / "peer.log").open("wb") as log, os.fdopen(receiving, "rb", 0) as answers:
        try:
            process = subprocess.Popen(
                [python, script, folder, str(sending), *kind.arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(),
                pass_fds=(sending,),
            )
        finally:
            os.close(sending)
        try:
            yield PeerProcess(process, answers, folder)
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def _environment() -> dict[str, str]:
    """Return this process's environment with one thread, and BLAS free to choose its kernels."""
    kept = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
    return kept | {f"{name}_NUM_THREADS": "1" for name in threads} | {"PYTHONHASHSEED": "0"}


def on_one_core() -> None:
    """Keep this process, and the peers it starts, on one core: one thread runs at a time."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
