"""What of the execution contract the Brian2 engine implements; known without importing Brian2."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

SUPPORTED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "time_unit": ("seconds", "milliseconds", "steps"),
        "integrator": ("forward_euler", "exponential"),
        "arithmetic_form": ("increment", "decay"),
        "reset": ("to_v_reset", "subtract_threshold"),
        "reset_timing": ("same_step",),
        "spike_condition": (">", ">="),
        "spikes_per_step": ("one",),
        "membrane_reads": ("new_current",),
        "synapse_order": ("decay_then_add",),
        "input_gain": ("file", "unit"),
        "if_gain": ("r_dt", "r"),
        "initial_v": ("zero", "v_leak", "v_reset"),
        "v_min": (None,),
        "feedforward_delay_steps": (0,),
        "recurrent_delay_steps": (1,),
        "recurrent_delay_at": ("spikes", "after_weights"),
        "binning": ("count", "binary"),
        "delay_rounding": ("refuse", "round"),
        "arithmetic": ("float64", "float32"),
        "exact": (True,),
    }
)
"""Contract field → the values this engine implements."""
