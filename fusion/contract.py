"""The execution contract: how a NIR graph is stepped.

NIR says what is connected to what. It does not say the time step, the integrator, how a neuron
resets or how late a loop is. Two programs that fill these gaps differently answer differently, so
a run here always has one `ExecutionContract`, and every result echoes it. A profile is a named
contract that fixes everything but `dt_s`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from fusion.errors import InvalidContract
from fusion.profiles import PROFILES

__all__ = ["CHOICES", "FLOATS", "PROFILES", "ExecutionContract", "make_contract"]

MAX_DT_S = 1e6
"""Longest time step in seconds, beyond any use; times stay whole microseconds in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionContract:
    """Every choice that a NIR file leaves open.

    Order within a step: the synaptic current, the membrane, the spike test, the reset; edges that
    close a cycle deliver `recurrent_delay_steps` later, all others within the step.

    Attributes:
        dt_s: seconds per step.
        time_unit: what the file's time constants and delays count: `seconds`, `milliseconds`, or
            `steps` of this run.
        integrator: `forward_euler` uses the factor dt/τ, `exponential` 1 − exp(−dt/τ), exact for
            an input that is constant over the step.
        arithmetic_form: `increment` computes v += a·((v_leak − v) + R·I), `decay` computes
            v = (1 − a)·v + (a·R)·I + a·v_leak: the same mathematics, other rounding.
        reset: `to_v_reset` sets v to v_reset, `subtract_threshold` takes the threshold off.
        reset_timing: when the reset acts: in the `same_step` as the spike, or on the next step
            before (`next_step_before_input`) or after (`next_step_after_input`) the membrane has
            decayed and taken its input; `to_v_reset` then loses that input.
        spike_condition: `>` or `>=` against the threshold.
        spikes_per_step: `one`, or `floor` for ⌊v/θ⌋ spikes in one step; `subtract_threshold`
            then takes off as many thresholds.
        membrane_reads: whether the membrane sees this step's synaptic current or the last one's.
        synapse_order: whether the synaptic current decays before or after the input is added.
        input_gain: take the gain R and w_in from the `file`, use 1 for both (`unit`), or add what
            arrives at a neuron as it is, without R or w_in and without the rate (`direct`).
        if_gain: whether `I` and `IF` multiply their input by R and the time step (`r_dt`) or by R
            alone (`r`).
        initial_v: membrane potential before the first step.
        v_min: lower bound of every membrane potential, applied at the end of a step, or None.
        feedforward_delay_steps: delay of every weighted node that is not late already because a
            loop's delay lies on it.
        recurrent_delay_steps: delay of an edge that closes a cycle; 0 is possible where every loop
            passes a synaptic current, which then takes the spikes of this step last.
        recurrent_delay_at: whether a loop's delay sits on the `spikes` (a bias inside the loop then
            acts from the first step on) or `after_weights`.
        binning: how events that fall into one step count.
        delay_rounding: `refuse` or `round` a Delay that is not a whole number of steps.
        arithmetic: number format of the simulation; `loihi_fixed` are a chip's integers, into
            which a model has been quantised.
        exact: sums follow the defined order of additions, so engines agree bit for bit.
    """

    dt_s: float
    time_unit: Literal["seconds", "milliseconds", "steps"]
    integrator: Literal["forward_euler", "exponential"]
    arithmetic_form: Literal["increment", "decay"]
    reset: Literal["to_v_reset", "subtract_threshold"]
    reset_timing: Literal["same_step", "next_step_before_input", "next_step_after_input"]
    spike_condition: Literal[">", ">="]
    spikes_per_step: Literal["one", "floor"]
    membrane_reads: Literal["new_current", "old_current"]
    synapse_order: Literal["decay_then_add", "add_then_decay"]
    input_gain: Literal["file", "unit", "direct"]
    if_gain: Literal["r_dt", "r"]
    initial_v: Literal["zero", "v_leak", "v_reset"]
    v_min: float | None
    feedforward_delay_steps: int
    recurrent_delay_steps: int
    recurrent_delay_at: Literal["spikes", "after_weights"]
    binning: Literal["count", "binary"]
    delay_rounding: Literal["refuse", "round"]
    arithmetic: Literal["float64", "float32", "loihi_fixed"]
    exact: bool

    def __post_init__(self) -> None:
        if not (_is_finite(self.dt_s) and 0 < self.dt_s <= MAX_DT_S):
            problem = f"{_shown(self.dt_s)} is not a positive time in seconds"
            raise InvalidContract("contract.dt_s", problem, f"more than 0, at most {MAX_DT_S:g}")
        if not (self.v_min is None or _is_finite(self.v_min)):
            problem = f"{_shown(self.v_min)} is not a number"
            raise InvalidContract("contract.v_min", problem, "a number or null")
        # Whole numbers would be told as such, and JSON holds none beyond 64 bits.
        object.__setattr__(self, "dt_s", float(self.dt_s))
        if self.v_min is not None:
            object.__setattr__(self, "v_min", float(self.v_min))
        for name in CHOICES:
            _check_choice(name, getattr(self, name))
        if self.recurrent_delay_steps == 0 and self.membrane_reads != "old_current":
            raise InvalidContract(
                "contract.recurrent_delay_steps",
                "a loop without delay has no defined order unless the membrane reads the old "
                "current",
                "recurrent_delay_steps 1, or membrane_reads old_current",
            )

    def __hash__(self) -> int:
        # Contracts are parts of keys that every request looks up; few differ in none of these.
        return hash((self.dt_s, self.arithmetic, self.integrator, self.reset))

    @property
    def dt_in_file(self) -> float:
        """One time step in the file's unit of time."""
        return {"seconds": self.dt_s, "milliseconds": self.dt_s * 1e3, "steps": 1.0}[self.time_unit]

    def as_dict(self) -> dict[str, Any]:
        """Return the contract as plain values, as results echo it."""
        return asdict(self)


CHOICES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        field.name: get_args(field.type)
        for field in fields(ExecutionContract)
        if get_origin(field.type) is Literal
    }
    | {"feedforward_delay_steps": (0, 1), "recurrent_delay_steps": (0, 1), "exact": (True, False)}
)
"""Field name → the values it may take. `dt_s` is any positive number, `v_min` a number or None."""

FLOATS = ("float64", "float32")
"""Values of `arithmetic` that are floating-point numbers."""


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes out no int of so many digits
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


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
    return _the_same(ExecutionContract(**values))


@lru_cache(maxsize=64)
def _the_same(contract: ExecutionContract) -> ExecutionContract:
    """Return the first contract that equals this one: keys of one object are compared at once."""
    return contract
