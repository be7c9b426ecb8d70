"""The contract under which a target runs a model: the model's own, or the nearest it can do."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from backends.base import Target
from fusion.contract import ExecutionContract

LOIHI = "loihi_fixed"
"""The arithmetic of Loihi's integers."""

_ON_LOIHI: Mapping[str, Any] = MappingProxyType(
    {"arithmetic": LOIHI, "arithmetic_form": "decay", "feedforward_delay_steps": 1}
)


def contract_on(target: Target, own: ExecutionContract) -> ExecutionContract:
    """Return the contract under which a target runs a model whose own contract is this.

    Targets that compute in Loihi's integers give every weight a step and round as the chip does;
    whatever else the model's contract says stays, and is refused where the chip cannot do it.
    """
    return _on_loihi(own) if in_integers(target) else own


@lru_cache(maxsize=64)
def _on_loihi(own: ExecutionContract) -> ExecutionContract:
    return replace(own, **_ON_LOIHI)


def in_integers(target: Target) -> bool:
    """Return whether a target computes in Loihi's integers."""
    return target.capabilities.arithmetic == (LOIHI,)


def differing(one: ExecutionContract, other: ExecutionContract) -> dict[str, tuple[Any, Any]]:
    """Return contract field → its two values, where they differ."""
    mine, others = one.as_dict(), other.as_dict()
    return {name: (mine[name], others[name]) for name in mine if mine[name] != others[name]}
