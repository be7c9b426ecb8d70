"""How much memory an object holds in arrays and byte strings, which is nearly all of a model."""

from collections.abc import Collection, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

_WITHOUT = (type, FunctionType, ModuleType, str, int, float, bool, type(None))


def held_bytes(root: object, besides: Iterable[object] = ()) -> int:
    """Return the bytes of all arrays and byte strings that can be reached from an object.

    Args:
        root: the object; its attributes, entries and items are followed.
        besides: objects whose own arrays are not counted.
    """
    seen: set[int] = set()
    for other in besides:
        _walk(other, seen)
    return _walk(root, seen)


def _walk(root: object, seen: set[int]) -> int:
    total = 0
    left: list[object] = [root]
    alive = []  # so that no id is used again while we walk
    while left:
        one = left.pop()
        if isinstance(one, _WITHOUT) or id(one) in seen:
            continue
        seen.add(id(one))
        alive.append(one)
        if isinstance(one, np.ndarray):
            if isinstance(one.base, np.ndarray):
                left.append(one.base)
            else:
                total += one.nbytes
        elif isinstance(one, bytes | bytearray):
            total += len(one)
        else:
            left.extend(_within(one))
    return total


def _within(one: object) -> Iterable[Any]:
    """Return what an object holds."""
    if isinstance(one, Mapping):
        return one.values()
    if isinstance(one, list | tuple | set | frozenset):
        return one
    return _attributes(one)


def _attributes(one: object) -> Collection[Any]:
    found = list(getattr(one, "__dict__", {}).values())
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        found += [getattr(one, name, None) for name in names]
    return found
