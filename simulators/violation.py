"""Ways in which a model exceeds what it is to run on."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a model exceeds a target.

    Attributes:
        node: the node or contract field concerned.
        limit: name of the limit.
        used: what the model needs.
        allowed: what the target offers.
        nearest_feasible: the nearest value that would work, or None if there is none.
    """

    node: str
    limit: str
    used: str
    allowed: str
    nearest_feasible: str | None = None

    def __str__(self) -> str:
        nearest = f", nearest feasible {self.nearest_feasible}" if self.nearest_feasible else ""
        return f"{self.node}: {self.limit} is {self.used}, allowed {self.allowed}{nearest}"


class Unrepresentable(Exception):
    """A model cannot be turned into a target's numbers.

    Args:
        violations: every reason.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(map(str, self.violations)))
