"""Compiled programs, kept for the next request."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from backends.base import Program, Target
from backends.checks import refuse_oversize
from backends.contracts import contract_on
from backends.registry import Registry
from fusion.contract import ExecutionContract
from fusion.held import held_bytes
from fusion.model import FusionModel

Key = tuple[str, str, ExecutionContract]


class ProgramCache:
    """Programs by (model digest, target, contract); the longest unused one makes room.

    Compiling is slow, so a program is compiled once even if several threads ask at once. A program
    that made room is freed when the last run on it has ended.

    Args:
        registry: the targets.
        size: number of programs kept.
        kept: is called after a program was made and kept.
    """

    def __init__(
        self, registry: Registry, size: int = 16, kept: Callable[[], None] | None = None
    ) -> None:
        self._registry = registry
        self._kept = kept or (lambda: None)
        self._size = size
        self._lock = Lock()
        self._programs: OrderedDict[Key, Program] = OrderedDict()
        self._held: dict[Key, int] = {}
        self._compiling: dict[Key, Lock] = {}

    def get(self, model: FusionModel, target: str, contract: ExecutionContract) -> Program:
        """Return the model compiled for the target under the contract.

        Raises:
            UnknownTarget, TargetUnavailable, ModelRejected, InvalidModel: as `Backend.compile`.
        """
        key = (model.digest, target, contract)
        program = self._known(key)
        if program is not None:
            return program
        with self._lock:
            gate = self._compiling.setdefault(key, Lock())
        try:
            with gate:
                program = self._known(key)
                if program is None:
                    backend = self._registry.backend(target)
                    backend.available()
                    refuse_oversize(model, contract, target, self._registry.limits)
                    program = backend.compile(model, contract)
                    self._keep(key, program, held_bytes(program, besides=[model]))
                    self._kept()
            return program
        finally:
            with self._lock:
                self._compiling.pop(key, None)

    def at_hand(self, model: FusionModel, target: str, contract: ExecutionContract) -> bool:
        """Return whether the program is there and runs in the caller's own thread."""
        program = self._programs.get((model.digest, target, contract))
        return program is not None and program.in_process

    def contract(self, target: str, own: ExecutionContract) -> ExecutionContract:
        """Return the contract under which a target runs a model whose own contract is this.

        Raises:
            UnknownTarget: if no such target is configured.
        """
        return contract_on(self._registry.target(target), own)

    def target(self, name: str) -> Target:
        """Return the target `name`.

        Raises:
            UnknownTarget: if no such target is configured.
        """
        return self._registry.target(name)

    def drop(self, digest: str) -> None:
        """Forget every program of a model; each is freed when the last run on it has ended."""
        with self._lock:
            for key in [key for key in self._programs if key[0] == digest]:
                del self._programs[key]
                del self._held[key]

    def held_bytes(self) -> int:
        """Return what the programs hold in this process's memory beside their models."""
        with self._lock:
            return sum(self._held.values())

    def close(self) -> None:
        """Close every program."""
        with self._lock:
            programs = list(self._programs.values())
            self._programs.clear()
            self._held.clear()
        for program in programs:
            program.close()

    def _known(self, key: Key) -> Program | None:
        with self._lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
            return program

    def _keep(self, key: Key, program: Program, held: int) -> None:
        with self._lock:
            self._programs[key] = program
            self._held[key] = held
            surplus = len(self._programs) - self._size
            # Not closed here: another thread may be running it. It goes with its last reference.
            for _ in range(surplus):
                gone, _ = self._programs.popitem(last=False)
                del self._held[gone]
