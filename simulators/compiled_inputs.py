"""What drives a compiled program: the active lines of every step, from rasters or from lists."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from fusion.sparse_raster import SparseRaster
from simulators.compiled_kernels import AT_ONCE, compiled, note_active, what_it_holds, within
from simulators.compiled_layout import FINITE, ONES, WORD
from simulators.compiled_vectors import count_bits, nonzero_word, pointer_to
from simulators.operations import Shape
from simulators.trace import FloatArray, Raster, finite_floats, fitting_rasters


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a run.

    Attributes:
        batch: samples.
        steps: time steps.
        rows: int64 [inputs, batch · steps + 1], where each row's active lines begin.
        holds: int64 [inputs], whether all activity is 1.
        active: int32, active lines, then `room` entries.
        value: activity beside `active`.
        end: where the room begins.
    """

    batch: int
    steps: int
    rows: NDArray[np.int64]
    holds: NDArray[np.int64]
    active: NDArray[np.int32]
    value: FloatArray
    end: int


@compiled
def count_active(raster: Any) -> int:
    """Return how many elements of a flat raster are not zero."""
    whole = raster.size // WORD * WORD
    elements = pointer_to(raster)
    number = 0
    for n in range(0, whole, WORD):
        number += count_bits(nonzero_word(elements, n))
    for n in range(whole, raster.size):
        number += raster[n] != 0
    return number


@compiled
def list_raster(raster: Any, rows: Any, active: Any, value: Any, at: int) -> int:
    """List the active lines of a raster, in the float type of `value`; return what they hold.

    Args:
        raster: flat [rows · lines].
        rows: int64 [rows + 1], written: where each row's lines begin.
        active: int32, written from `at` on, with room for `AT_ONCE` more.
        value: float, written likewise.
        at: where to begin.
    """
    size = raster.size // max(1, rows.size - 1)
    elements, listed, activity = pointer_to(raster), pointer_to(active), pointer_to(value)
    holds = ONES
    for row in range(rows.size - 1):
        rows[row] = at
        first = row * size
        end = at
        for base in range(0, size, WORD):
            word = np.uint64(0)
            if first + base + WORD <= raster.size:
                word = within(nonzero_word(elements, first + base), size - base)
            else:
                for n in range(base, size):
                    word |= np.uint64(raster[first + n] != 0) << np.uint64(n - base)
            end = note_active(word, base, listed, end)
        for n in range(at, end):
            line = listed[n]
            rounded = value.dtype.type(elements[first + line])
            listed[at] = line
            activity[at] = rounded
            if rounded != 1:
                holds = max(holds, what_it_holds(rounded))
            at += rounded != 0
    rows[rows.size - 1] = at
    return holds


@compiled
def list_sparse(
    start: Any, channel: Any, given: Any, size: int, rows: Any, active: Any, value: Any, at: int
) -> int:
    """Copy the lists of a `SparseRaster`; return what they hold, or -1 if they are not in order.

    `given` is empty where all activity is 1.
    """
    holds = ONES
    graded = given.size > 0
    if start.size != rows.size or start[0] != 0 or (graded and given.size != channel.size):
        return -1
    rows[0] = at
    for row in range(rows.size - 1):
        last = -1
        if not 0 <= start[row] <= start[row + 1] <= channel.size:
            return -1
        for n in range(start[row], start[row + 1]):
            if not last < channel[n] < size:
                return -1
            last = channel[n]
            if graded:
                if given[n] == 0:
                    continue
                value[at] = given[n]
                holds = max(holds, what_it_holds(given[n]))
            active[at] = last
            at += 1
        rows[row + 1] = at
    return holds


def given_inputs(
    shapes: Mapping[str, Shape],
    inputs: Mapping[str, Raster],
    dtype: np.dtype[np.floating],
    room: int,
) -> Given:
    """Return the active lines of all inputs, with room for more lists behind them.

    Raises:
        InvalidInput: as `checked_inputs`, and for a sparse raster whose lists are not in order.
    """
    checked = fitting_rasters(shapes, inputs)
    batch, steps = next(iter(checked.values())).shape[:2]
    flat = {name: _flat(raster, dtype) for name, raster in checked.items()}
    end = sum(_capacity(raster) for raster in flat.values())
    active, value = np.empty(end + room + AT_ONCE, np.int32), np.empty(end + room, dtype)
    rows = np.empty((len(flat), batch * steps + 1), np.int64)
    holds = np.empty(len(flat), np.int64)
    at = 0
    for number, (name, raster) in enumerate(flat.items()):
        if isinstance(raster, SparseRaster):
            given = np.empty(0, dtype) if raster.value is None else raster.value.astype(dtype)
            start, channel = _read_only(raster.start), _read_only(raster.channel)
            size = math.prod(raster.node_shape)
            holds[number] = list_sparse(
                start, channel, given, size, rows[number], active, value, at
            )
        else:
            holds[number] = list_raster(raster, rows[number], active, value, at)
        if holds[number] not in (ONES, FINITE):
            _refuse(name, checked[name], dtype)
        at = int(rows[number, -1])
    # Rows of weights are asked for before they are known to be needed: of neuron 0, then.
    active[at:] = 0
    return Given(batch, steps, rows, holds, active, value, end)


def _flat(raster: Raster, dtype: np.dtype[np.floating]) -> Raster:
    """Return a raster as a kernel takes it: flat bytes or floats."""
    if isinstance(raster, SparseRaster):
        return raster
    if raster.dtype in (np.bool_, np.uint8):
        kind: Any = np.uint8
    elif raster.dtype in (np.float32, np.float64):
        kind = raster.dtype
    else:
        raster, kind = raster.astype(dtype), dtype
    return _read_only(np.require(raster, requirements=("C", "A")).reshape(-1).view(kind))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view as kernels are compiled for: what a caller gives may not be writable."""
    view = array.view()
    view.flags.writeable = False
    return view


def _capacity(raster: Raster) -> int:
    return raster.channel.size if isinstance(raster, SparseRaster) else int(count_active(raster))


def _refuse(name: str, raster: Raster, dtype: np.dtype[np.floating]) -> NoReturn:
    """Say what is wrong with an input's activity.

    Raises:
        InvalidInput: always.
    """
    if isinstance(raster, SparseRaster):
        raise InvalidInput(
            f"inputs.{name}",
            "its lists are not in order",
            "ascending channels of the node in every row, finite values",
        )
    finite_floats(f"inputs.{name}", raster, dtype)
    raise AssertionError(f"inputs.{name} is finite after all")
