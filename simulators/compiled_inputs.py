"""What drives a compiled program: the active lines of every step, from rasters or from lists."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidInput
from fusion.sparse_raster import SparseRaster
from simulators.compiled_kernels import (
    AT_ONCE,
    compiled,
    inlined,
    note_active,
    what_it_holds,
    within,
)
from simulators.compiled_layout import ANY, FINITE, ONES, WORD
from simulators.compiled_vectors import count_bits, nonzero_word, pointer_to, unlike_one_word
from simulators.operations import Shape
from simulators.trace import FloatArray, Raster, finite_floats, fitting_rasters

_ACTIVE_IS_ONE_IN = 8
"""Elements of a raster of which at most one is active, where listing needs no counting before."""


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
def list_ones(raster: Any, rows: Any, active: Any, at: int, end: int) -> bool:
    """List the active lines of a raster of 0 and 1, in one pass; otherwise as `list_raster`.

    Args:
        raster, rows, active, at: as in `list_raster`.
        end: where the room for active lines ends.

    Returns:
        Whether the raster is one, and there was room.
    """
    size = raster.size // max(1, rows.size - 1)
    elements, listed = pointer_to(raster), pointer_to(active)
    whole = size // WORD * WORD
    graded = np.uint64(0)
    for row in range(rows.size - 1):
        rows[row] = at
        first = row * size
        if graded or at + size > end:
            return False
        for base in range(0, whole, WORD):
            word = nonzero_word(elements, first + base)
            graded |= word & unlike_one_word(elements, first + base)
            at = note_active(word, base, listed, at)
        if whole < size:
            word = _last_word(elements, first + whole, size - whole, raster.size)
            at = note_active(word, whole, listed, at)
            if first + whole + WORD <= raster.size:
                graded |= word & unlike_one_word(elements, first + whole)
            else:
                for n in range(first + whole, first + size):
                    graded |= np.uint64(elements[n] != 0 and elements[n] != 1)
    rows[rows.size - 1] = at
    return not graded


@inlined
def _last_word(elements: Any, at: int, size: int, end: int) -> Any:
    """Return which of fewer than 64 elements are not zero, reading nothing from `end` on."""
    if at + WORD <= end:
        return within(nonzero_word(elements, at), size)
    word = np.uint64(0)
    for n in range(size):
        word |= np.uint64(elements[at + n] != 0) << np.uint64(n)
    return word


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
            word = _last_word(elements, first + base, min(WORD, size - base), raster.size)
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
    last = rows.size - 1
    if start.size != rows.size or start[0] != 0 or not 0 <= start[last] <= channel.size:
        return -1
    used = start[last]
    if given.size > 0 and given.size != channel.size:
        return -1
    if not _ascending(pointer_to(start), last, pointer_to(channel), used, size):
        return -1
    if given.size == 0:
        _copy_lists(pointer_to(start), rows, pointer_to(channel), used, pointer_to(active), at)
        return ONES
    holds, zeros = _copy_values(pointer_to(given), used, pointer_to(value), at)
    if zeros:
        _leave_zeros_out(start, channel, given, rows, active, value, at)
    else:
        _copy_lists(pointer_to(start), rows, pointer_to(channel), used, pointer_to(active), at)
    return int(holds)


@inlined
def _ascending(start: Any, rows: int, channel: Any, used: int, size: int) -> bool:
    """Return whether each row lists channels of the node, ascending.

    All rows are looked at as one list, without a branch: it may fall where a row begins, alone.
    """
    strange, falls, may_fall = 0, 0, 0
    for n in range(used):
        strange += (channel[n] < 0) | (channel[n] >= size)
    for n in range(1, used):
        falls += channel[n] <= channel[n - 1]
    for row in range(rows):
        first = start[row]
        if not first <= start[row + 1] <= used:
            return False
        if 0 < first < start[row + 1]:
            may_fall += channel[first] <= channel[first - 1]
    return strange == 0 and falls == may_fall


@inlined
def _copy_lists(start: Any, rows: Any, channel: Any, used: int, active: Any, at: int) -> None:
    for row in range(rows.size):
        rows[row] = at + start[row]
    for n in range(used):
        active[at + n] = channel[n]


@inlined
def _copy_values(given: Any, used: int, value: Any, at: int) -> Any:
    """Copy activity; return what it holds, and how many zeros."""
    others, zeros, infinite = 0, 0, 0
    for n in range(used):
        activity = given[n]
        value[at + n] = activity
        others += activity != 1
        zeros += activity == 0
        infinite += activity - activity != 0
    if infinite:
        return ANY, zeros
    return (FINITE if others else ONES), zeros


@inlined
def _leave_zeros_out(
    start: Any, channel: Any, given: Any, rows: Any, active: Any, value: Any, at: int
) -> None:
    for row in range(rows.size - 1):
        rows[row] = at
        for n in range(start[row], start[row + 1]):
            active[at], value[at] = channel[n], given[n]
            at += given[n] != 0
    rows[rows.size - 1] = at


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
    rows = np.empty((len(flat), batch * steps + 1), np.int64)
    holds = np.empty(len(flat), np.int64)
    active = _list_spikes(flat, rows, (batch, steps), room)
    if active is not None:
        holds[:] = ONES
        end = active.size - room - AT_ONCE
        return Given(batch, steps, rows, holds, active, np.empty(end + room, dtype), end)
    end = sum(_capacity(raster) for raster in flat.values())
    active, value = np.empty(end + room + AT_ONCE, np.int32), np.empty(end + room, dtype)
    at = 0
    for number, (name, raster) in enumerate(flat.items()):
        if isinstance(raster, SparseRaster):
            holds[number] = _list_sparse(raster, rows[number], active, value, at)
        else:
            holds[number] = list_raster(raster, rows[number], active, value, at)
        if holds[number] not in (ONES, FINITE):
            _refuse(name, checked[name], dtype)
        at = int(rows[number, -1])
    _clear_behind(active, at)
    return Given(batch, steps, rows, holds, active, value, end)


def _list_spikes(
    rasters: Mapping[str, Raster], rows: NDArray[np.int64], lead: tuple[int, int], room: int
) -> NDArray[np.int32] | None:
    """Return the active lines of rasters that are dense and of 0 and 1, None for others.

    Behind them there is `room`, and `AT_ONCE`.
    """
    most = 0
    for raster in rasters.values():
        if isinstance(raster, SparseRaster):
            return None
        most += _probable(raster.size, math.prod(lead))
    active = np.empty(most + room + AT_ONCE, np.int32)
    at = 0
    for number, raster in enumerate(rasters.values()):
        if not list_ones(raster, rows[number], active, at, most):
            return None
        at = int(rows[number, -1])
    active = active[: at + room + AT_ONCE]
    _clear_behind(active, at)
    return active


def _clear_behind(active: NDArray[np.int32], at: int) -> None:
    """Have rows of weights that are asked for before they are known to be needed be neuron 0's."""
    active[at:] = 0


def _list_sparse(
    raster: SparseRaster,
    rows: NDArray[np.int64],
    active: NDArray[np.int32],
    value: FloatArray,
    at: int,
) -> int:
    given = np.empty(0, value.dtype) if raster.value is None else raster.value.astype(value.dtype)
    start, channel = _read_only(raster.start), _read_only(raster.channel)
    size = math.prod(raster.node_shape)
    return int(list_sparse(start, channel, given, size, rows, active, value, at))


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
    if not (raster.flags.c_contiguous and raster.flags.aligned):
        raster = np.require(raster, requirements=("C", "A"))
    return _read_only(raster.reshape(-1).view(kind))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view as kernels are compiled for: what a caller gives may not be writable."""
    view = array.view()
    view.setflags(write=False)
    return view


def _capacity(raster: Raster) -> int:
    return raster.channel.size if isinstance(raster, SparseRaster) else int(count_active(raster))


def _probable(size: int, rows: int) -> int:
    """Return more active elements than most rasters have, with room for a row that is full."""
    return size // _ACTIVE_IS_ONE_IN + size // max(1, rows)


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
