"""Who asks, and what they may."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from re import Pattern

from api.access.limits import UNLIMITED
from api.access.meter import Alone, Meter
from api.access.refusals import Forbidden
from api.access.scopes import GRANTED, Scope
from backends.base import Target


@dataclass(frozen=True, slots=True)
class TargetPatterns:
    """Names of targets, in which `*` stands for any text.

    Attributes:
        patterns: as they were written.
        matches: the same, as one regular expression.
    """

    patterns: tuple[str, ...]
    matches: Pattern[str]


def target_patterns(patterns: Iterable[str]) -> TargetPatterns:
    """Return patterns of targets' names."""
    written = tuple(patterns)
    parts = [re.escape(one).replace(r"\*", ".*") for one in written]
    return TargetPatterns(written, re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and what they may.

    Attributes:
        key_id: the public id of their key; empty without one.
        name: whom the key was given to.
        scopes: what they may do.
        targets: where they may run; boards want the scope `hardware` besides.
        meter: what they have used of their limits.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    targets: TargetPatterns
    meter: Meter

    def check_scope(self, scope: Scope) -> None:
        """Return if the caller has a scope.

        Raises:
            Forbidden: if not.
        """
        if scope not in self.scopes:
            raise Forbidden(
                "scope",
                scope,
                f"{self} is not for this: it lacks the scope {scope}",
                f"a key with the scope {scope}; this one has {self._listed()}",
                "Authorization",
            )

    def check_targets(self, targets: Iterable[Target]) -> None:
        """Return if the caller may run something on targets, now.

        Raises:
            Forbidden: if not on one of them.
            Exhausted: if a quota is used up.
        """
        for target in targets:
            self._check_target(target)
            self.meter.check_quotas(target.capabilities.hardware)

    def _check_target(self, target: Target) -> None:
        if self.targets.matches.fullmatch(target.name) is None:
            allowed = ", ".join(self.targets.patterns) or "none"
            raise Forbidden(
                "target",
                None,
                f"{self} is not for the target {target.name!r}",
                f"a target of {allowed}",
                "target",
            )
        if target.capabilities.hardware and Scope.HARDWARE not in self.scopes:
            raise Forbidden(
                "target",
                Scope.HARDWARE,
                f"the target {target.name!r} is a board, and {self} lacks the scope "
                f"{Scope.HARDWARE}",
                f"a target that is no board, or a key with the scope {Scope.HARDWARE}",
                "target",
            )

    def _listed(self) -> str:
        return ", ".join(sorted(self.scopes)) or "none"

    def __str__(self) -> str:
        return f"key {self.key_id} ({self.name})" if self.key_id else self.name


ANYONE = Caller(
    key_id="",
    name="anyone",
    scopes=frozenset(GRANTED),
    targets=target_patterns("*"),
    meter=Meter("", UNLIMITED, Alone()),
)
"""Every caller of a service without keys."""

NOBODY = Caller(
    key_id="",
    name="a caller without a key",
    scopes=frozenset(),
    targets=target_patterns(()),
    meter=Meter("", UNLIMITED, Alone()),
)
"""A caller who has not been identified, at an open route."""
