"""Machine code of `fusion.weighing`, made of its very lines."""

from types import FunctionType
from typing import Any

from fusion import weighing
from simulators.compiled_kernels import compiled


def _compiled() -> Any:
    """Return `weigh` as machine code, and with it all that it calls."""
    names = dict(vars(weighing))
    for name in ("normalise", "multiply", "certainty_of", "conflict_of", "weigh"):
        names[name] = compiled(FunctionType(names[name].__code__, names, name))
    return names["weigh"]


weigh = _compiled()
