"""The execution contract: how a NIR graph is stepped.

NIR says what is connected to what. It does not say the time step, the integrator, how a neuron
resets or how late a loop is. Two programs that fill these gaps differently answer differently, so
a run here always has one `ExecutionContract`, and every result echoes it. A profile is a named
contract that fixes everything but `dt_s`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from fusion.errors import InvalidContract


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionContract:
    """Every choice that a NIR file leaves open.

    Order within a step: the synaptic current, the membrane, the spike test, the reset; edges that
    close a cycle deliver `recurrent_delay_steps` later, all others within the step.

    Attributes:
        dt_s: seconds per step.
        integrator: `forward_euler` uses the factor dt/τ, `exponential` 1 − exp(−dt/τ), exact for
            an input that is constant over the step.
        arithmetic_form: `increment` computes v += a·((v_leak − v) + R·I), `decay` computes
            v = (1 − a)·v + (a·R)·I + a·v_leak: the same mathematics, other rounding.
        reset: `to_v_reset` sets v to v_reset, `subtract_threshold` takes the threshold off.
        reset_timing: when the reset acts.
        spike_condition: `>` or `>=` against the threshold.
        spikes_per_step: `one`, or `floor` for ⌊v/θ⌋ spikes in one step.
        membrane_reads: whether the membrane sees this step's synaptic current or the last one's.
        synapse_order: whether the synaptic current decays before or after the input is added.
        input_gain: take the gain R and w_in from the `file`, or use 1 (`unit`).
        initial_v: membrane potential before the first step.
        feedforward_delay_steps: delay of every weighted feed-forward connection.
        recurrent_delay_steps: delay of an edge that closes a cycle.
        recurrent_delay_at: whether a loop's delay sits on the `spikes` (a bias inside the loop then
            acts from the first step on) or `after_weights`.
        binning: how events that fall into one step count.
        delay_rounding: `refuse` or `round` a Delay that is not a whole number of steps.
        arithmetic: number format of the simulation.
        exact: sums follow the defined order of additions, so engines agree bit for bit.
    """

    dt_s: float
    integrator: Literal["forward_euler", "exponential"]
    arithmetic_form: Literal["increment", "decay"]
    reset: Literal["to_v_reset", "subtract_threshold"]
    reset_timing: Literal["same_step", "next_step_before_input", "next_step_after_input"]
    spike_condition: Literal[">", ">="]
    spikes_per_step: Literal["one", "floor"]
    membrane_reads: Literal["new_current", "old_current"]
    synapse_order: Literal["decay_then_add", "add_then_decay"]
    input_gain: Literal["file", "unit"]
    initial_v: Literal["zero", "v_leak", "v_reset"]
    feedforward_delay_steps: int
    recurrent_delay_steps: int
    recurrent_delay_at: Literal["spikes", "after_weights"]
    binning: Literal["count", "binary"]
    delay_rounding: Literal["refuse", "round"]
    arithmetic: Literal["float64", "float32"]
    exact: bool

    def __post_init__(self) -> None:
        number = isinstance(self.dt_s, int | float) and not isinstance(self.dt_s, bool)
        if not (number and math.isfinite(self.dt_s) and self.dt_s > 0):
            problem = f"{self.dt_s!r} is not a positive time in seconds"
            raise InvalidContract("contract.dt_s", problem)
        for name in CHOICES:
            _check_choice(name, getattr(self, name))
        if self.recurrent_delay_steps == 0 and self.membrane_reads != "old_current":
            raise InvalidContract(
                "contract.recurrent_delay_steps",
                "a loop without delay has no defined order unless the membrane reads the old "
                "current",
                "recurrent_delay_steps 1, or membrane_reads old_current",
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the contract as plain values, as results echo it."""
        return asdict(self)


CHOICES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        field.name: get_args(field.type)
        for field in fields(ExecutionContract)
        if get_args(field.type)
    }
    | {"feedforward_delay_steps": (0, 1), "recurrent_delay_steps": (0, 1), "exact": (True, False)}
)
"""Field name → the values it may take; `dt_s` is any positive number."""


PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "nir": MappingProxyType(
            {
                "integrator": "forward_euler",
                "arithmetic_form": "increment",
                "reset": "to_v_reset",
                "reset_timing": "same_step",
                "spike_condition": ">",
                "spikes_per_step": "one",
                "membrane_reads": "new_current",
                "synapse_order": "decay_then_add",
                "input_gain": "file",
                "initial_v": "zero",
                "feedforward_delay_steps": 0,
                "recurrent_delay_steps": 1,
                "recurrent_delay_at": "spikes",
                "binning": "count",
                "delay_rounding": "refuse",
                "arithmetic": "float64",
                "exact": True,
            }
        ),
    }
)
"""Profile name → every choice but `dt_s`."""


def _check_choice(name: str, value: object) -> None:
    allowed = CHOICES[name]
    # `1 == True` in Python, so the type is part of the comparison.
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        raise InvalidContract(
            f"contract.{name}", f"{value!r} is not a choice", " or ".join(map(str, allowed))
        )


def make_contract(
    profile: str | None, dt_s: float | None, overrides: Mapping[str, Any] | None = None
) -> ExecutionContract:
    """Return the contract of a profile with some choices overridden.

    Args:
        profile: name of a profile, or None to give every choice in `overrides`.
        dt_s: seconds per step; `overrides` may hold it instead.
        overrides: field name → value, taken before the profile's.

    Raises:
        InvalidContract: for an unknown profile or field, an impossible value, or missing choices,
            every one of which is named.
    """
    values: dict[str, Any] = {}
    if profile is not None:
        if profile not in PROFILES:
            raise InvalidContract(
                "profile", f"{profile!r} is unknown", " or ".join(sorted(PROFILES))
            )
        values.update(PROFILES[profile])
    if dt_s is not None:
        values["dt_s"] = dt_s
    values.update(overrides or {})
    known = {field.name for field in fields(ExecutionContract)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InvalidContract(
            f"contract.{unknown[0]}", "is not a field of the contract", ", ".join(sorted(known))
        )
    missing = sorted(known - set(values))
    if missing:
        raise InvalidContract(
            "contract",
            f"the model does not say: {', '.join(missing)}",
            "name a profile (" + ", ".join(sorted(PROFILES)) + ") and dt_s",
        )
    return ExecutionContract(**values)
