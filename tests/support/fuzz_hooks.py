"""Hooks of Schemathesis: most paths name a model that there is, else little of them is reached."""

from typing import Any
from zlib import crc32

import schemathesis

MODELS = ("listening", "solo", "listening", "torn")


@schemathesis.hook
def map_path_parameters(_: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Return the parameters of a path, in five of six with names that there are."""
    if not path_parameters or "model" not in path_parameters:
        return path_parameters
    chance = crc32(repr(path_parameters).encode())
    if chance % 6 == 0:
        return path_parameters
    named = {**path_parameters, "model": MODELS[chance % len(MODELS)]}
    return {**named, "version": "2"} if "version" in named else named
