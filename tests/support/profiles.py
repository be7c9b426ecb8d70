"""Profiles by the engines that can run them."""

from fusion.contract import FLOATS, PROFILES

FLOAT_PROFILES = tuple(name for name in PROFILES if PROFILES[name]["arithmetic"] in FLOATS)
"""Profiles in floating point; those of chips' integers run nowhere but on their targets."""
