"""Profiles: named execution contracts, as data. A profile fixes everything but `dt_s`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_NIR: Mapping[str, Any] = MappingProxyType(
    {
        "time_unit": "seconds",
        "integrator": "forward_euler",
        "arithmetic_form": "increment",
        "reset": "to_v_reset",
        "reset_timing": "same_step",
        "spike_condition": ">",
        "spikes_per_step": "one",
        "membrane_reads": "new_current",
        "synapse_order": "decay_then_add",
        "input_gain": "file",
        "if_gain": "r_dt",
        "initial_v": "zero",
        "v_min": None,
        "feedforward_delay_steps": 0,
        "recurrent_delay_steps": 1,
        "recurrent_delay_at": "spikes",
        "binning": "count",
        "delay_rounding": "refuse",
        "arithmetic": "float64",
        "exact": True,
    }
)


def _profile(**differences: Any) -> Mapping[str, Any]:
    return MappingProxyType({**_NIR, **differences})


PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "nir": _NIR,
        "norse": _profile(if_gain="r", arithmetic="float32"),
        "snntorch": _profile(
            arithmetic_form="decay",
            reset="subtract_threshold",
            reset_timing="next_step_after_input",
            arithmetic="float32",
        ),
        "snntorch-import": _profile(arithmetic_form="decay", arithmetic="float32"),
        "sinabs": _profile(
            time_unit="steps",
            integrator="exponential",
            arithmetic_form="decay",
            reset="subtract_threshold",
            spike_condition=">=",
            spikes_per_step="floor",
            arithmetic="float32",
        ),
        "spikingjelly": _profile(spike_condition=">=", initial_v="v_reset", arithmetic="float32"),
        "nengo": _profile(
            integrator="exponential", membrane_reads="old_current", recurrent_delay_steps=0
        ),
        "lava-float": _profile(arithmetic_form="decay", feedforward_delay_steps=1),
        "loihi": _profile(
            arithmetic_form="decay", feedforward_delay_steps=1, arithmetic="loihi_fixed"
        ),
    }
)
"""Profile name → every choice but `dt_s`: `nir` is the recommended meaning, the others are what
the platform of that name does. Each has a witness in `tests/platforms`."""
