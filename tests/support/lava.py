"""Lava's environment, where it is installed."""

import pytest

from backends.errors import TargetUnavailable
from backends.lava_environment import lava_python


def installed() -> str:
    """Return the interpreter of Lava's environment, or skip the test."""
    try:
        return lava_python("loihi-lava")
    except TargetUnavailable as error:
        pytest.skip(str(error))
