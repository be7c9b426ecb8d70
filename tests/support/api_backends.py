"""Backends that misbehave, under targets of a registry that a test passes in."""

import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

from backends.base import Backend, Program, Target
from backends.errors import RunFailed
from backends.numpy_backend import NumpyBackend
from backends.registry import Registry


class Hooked(NumpyBackend):
    """The NumPy backend, whose programs call a hook before every run."""

    def __init__(self, target: Target, hook: Callable[[], None]) -> None:
        super().__init__(target)
        self.hook = hook
        self.closed = threading.Event()

    def compile(self, model, contract):
        return HookedProgram(super().compile(model, contract), self)

    def close(self):
        self.closed.set()


class HookedProgram(Program):
    """A program that calls its backend's hook before every run."""

    def __init__(self, inner: Program, backend: Hooked) -> None:
        self._inner = inner
        self._backend = backend

    def run(self, batch, state=None, record=(), deadline_s=None):
        self._backend.hook()
        return self._inner.run(batch, state, record, deadline_s)


class HookedRegistry(Registry):
    """The shipped targets and one more, `hooked`, whose runs call `hook`."""

    def __init__(self, hook: Callable[[], None], max_run_s: float = 60.0) -> None:
        super().__init__()
        target = replace(self.targets["numpy"], name="hooked", max_run_s=max_run_s)
        self.targets = {**self.targets, "hooked": target}
        self.hooked = Hooked(target, hook)

    def backend(self, name: str) -> Backend:
        return self.hooked if name == "hooked" else super().backend(name)

    def close(self) -> None:
        self.hooked.close()
        super().close()


class Heavy(NumpyBackend):
    """The NumPy backend, with a higher threshold for the camera's first neuron."""

    def compile(self, model, contract):
        altered = deepcopy(model.graph)
        altered.nodes["cam_lif"].v_threshold[0] *= 1.5
        return super().compile(replace(model, graph=altered), contract)


class HeavyRegistry(Registry):
    """The shipped targets and one more, `heavy`, which is not quite like the others."""

    def __init__(self) -> None:
        super().__init__()
        target = replace(self.targets["numpy"], name="heavy")
        self.targets = {**self.targets, "heavy": target}

    def backend(self, name: str) -> Backend:
        return Heavy(self.targets[name]) if name == "heavy" else super().backend(name)


class Gate:
    """A hook at which runs wait until the test opens it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self) -> None:
        self.entered.release()
        assert self.opened.wait(60)


def failing() -> None:
    """Break off, as the host of a child does when the child dies."""
    raise RunFailed("target 'hooked' broke off: the child has ended")


def erring() -> None:
    """Fail in a way that nobody foresaw."""
    raise ZeroDivisionError("secret of the house")


class Turnstile:
    """A hook that lets one run pass for each `release` of the test."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._free = threading.Semaphore(0)

    def __call__(self) -> None:
        self.entered.release()
        assert self._free.acquire(timeout=60)

    def release(self, runs: int = 1) -> None:
        self._free.release(runs)
