"""Errors of backends.

BackendError
├── UnknownTarget        no such target is configured
├── TargetUnavailable    it is configured but cannot be used here; `hint` says what to do
├── ModelRejected        the model does not fit the target; `violations` lists every reason
└── RunFailed            the run broke off: a dead child, a vendor's error
    ├── RunTimeout       the deadline passed; the child that ran it was killed
    └── Diverged         the network's output left the range of its number format

Whatever a vendor's package raises is translated into one of these where it is called.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.base import Violation


class InvalidTarget(ValueError):
    """A file in `hw_configs` is wrong; the message names the file and the entry."""


class BackendError(Exception):
    """Base of what can go wrong with a target."""


class UnknownTarget(BackendError):
    """No target of this name is configured.

    Args:
        name: the name asked for.
        known: the names that exist.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(f"target {name!r} is unknown (known: {', '.join(known)})")


class TargetUnavailable(BackendError):
    """The target cannot be used on this machine.

    Args:
        target: its name.
        reason: why not.
        hint: what to do about it.
    """

    def __init__(self, target: str, reason: str, hint: str) -> None:
        self.target = target
        self.reason = reason
        self.hint = hint
        super().__init__(f"target {target!r} is unavailable: {reason} ({hint})")


class ModelRejected(BackendError):
    """The target cannot run this model under this contract.

    Args:
        target: its name.
        violations: every limit that the model exceeds.
    """

    def __init__(self, target: str, violations: "Sequence[Violation]") -> None:
        self.target = target
        self.violations = tuple(violations)
        listed = "; ".join(map(str, self.violations))
        super().__init__(f"target {target!r} cannot run this model: {listed}")


class RunFailed(BackendError):
    """The run broke off; the program can be used again."""


class RunTimeout(RunFailed):
    """The run passed its deadline and was killed.

    Args:
        target: the target's name.
        deadline_s: seconds it was given.
    """

    def __init__(self, target: str, deadline_s: float) -> None:
        self.target = target
        self.deadline_s = deadline_s
        super().__init__(f"target {target!r} did not answer within {deadline_s:g} s")


class Diverged(RunFailed):
    """The network's output is no finite number: the model, its time step or its input is at fault.

    Args:
        node: the Output node.
        step: the first step at which it is not finite.
    """

    def __init__(self, node: str, step: int) -> None:
        self.node = node
        self.step = step
        super().__init__(
            f"{node} is not a finite number at step {step}: the network diverged "
            "(try a smaller dt_s, the exponential integrator or float64)"
        )


def told(error: Exception) -> str:
    """Return what a caller is told of an expected error: not what a child process printed."""
    return str(error).partition("\n")[0].removesuffix("; it last printed:")
