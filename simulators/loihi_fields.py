"""Checks of the fields of a network of Loihi's integers, whoever made it: our quantiser, a file."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidModel

INTEGERS = "loihi.npz"
"""The file beside a model's graph that holds its integers, and the place that errors name."""

IntArray = NDArray[np.int32]
Shape = tuple[int, ...]

MAX_SIZE = 2**24
"""Largest number of elements of one population, input or output."""


def fault(place: str, problem: str, nearest: str | None = None) -> InvalidModel:
    """Return the error for `place`, a dotted path such as `populations.hidden.du`."""
    return InvalidModel(f"{INTEGERS}.{place}" if place else INTEGERS, problem, nearest)


def set_field(owner: Any, field: str, value: Any) -> None:
    """Keep a field of a frozen dataclass in its checked form."""
    object.__setattr__(owner, field, value)


def check_name(place: str, name: object) -> None:
    """Return if this is a name."""
    if not isinstance(name, str) or not 0 < len(name) <= 500:
        raise fault(place, f"{name!r} is not a name", "a text of 1 to 500 characters")


def check_whole(place: str, value: object, low: int, high: int) -> None:
    """Return if this is an integer from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise fault(place, f"is {value!r}", f"an integer from {low} to {high}")


def check_real(place: str, value: Any, *, positive: bool = False) -> None:
    """Return if this is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or (positive and value <= 0):
        raise fault(place, f"is {value!r}", "a positive number" if positive else "a finite number")


def check_choice(place: str, value: object, choices: Sequence[str | None]) -> None:
    """Return if this is one of the choices."""
    if value not in choices:
        raise fault(place, f"is {value!r}", " or ".join(map(str, choices)))


def checked_shape(place: str, value: Any, axes: int | None = None, low: int = 1) -> Shape:
    """Return a shape, or another tuple of `axes` integers of at least `low`."""
    many = "one or more" if axes is None else str(axes)
    if not isinstance(value, tuple | list) or len(value) != (axes or max(len(value), 1)):
        raise fault(place, f"is {value!r}", f"{many} integers")
    for entry in value:
        check_whole(place, entry, low, MAX_SIZE)
    if math.prod(value) > MAX_SIZE:
        raise fault(place, f"{list(value)} has too many elements", f"at most {MAX_SIZE}")
    return tuple(value)


def checked_ints(place: str, value: Any, shape: Shape, low: int, high: int) -> IntArray:
    """Return a read-only int32 array in this shape; a single integer holds for all of it.

    A negative entry of `shape` stands for any extent.
    """
    if not isinstance(value, np.ndarray | int):
        raise fault(place, f"is a {type(value).__name__}", "an array of integers")
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise fault(place, f"holds {array.dtype}", "integers")
    if array.ndim == 0 and min(shape, default=0) >= 0:
        array = np.broadcast_to(array, shape)
    fits = array.ndim == len(shape) and all(
        wanted in (found, -1) for found, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted_text = ", ".join("any" if extent < 0 else str(extent) for extent in shape)
        raise fault(place, f"has shape {list(array.shape)}", f"[{wanted_text}]")
    if array.size and (array.min() < low or array.max() > high):
        raise fault(place, f"reaches from {array.min()} to {array.max()}", f"{low} to {high}")
    checked = np.array(array, np.int32)
    checked.setflags(write=False)
    return checked
