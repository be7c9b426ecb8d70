"""What every event of a request passes through, in Numba: reading numbers, listing active lines."""

from typing import Any

import numpy as np

from simulators.compiled_kernels import compiled, inlined
from simulators.compiled_vectors import count_bits, lowest_bit, pointer_to
from simulators.compiled_weighing import weigh

__all__ = ["are_in_order", "scan_events", "scan_integers", "weigh"]

_COMMA, _SPACE, _NEWLINE, _RETURN, _TAB, _CLOSE, _ZERO = b", \n\r\t]0"
_DIGITS = 18
"""Digits of which every number fits 64 bits."""
_AT_ONCE = 4
"""Lines that are listed at a time; of so few, most words of a step have no more."""


@compiled
def scan_integers(text: Any, out: Any) -> int:
    """Read a JSON array of whole numbers without sign, as a JSON decoder has accepted it.

    Args:
        text: uint8, the array behind its opening bracket.
        out: int64, as many as the text can hold.

    Returns:
        How many numbers were written, or −1 if there is anything else or a longer number.
    """
    number, digits, count = np.int64(0), 0, 0
    for byte in text:
        digit = np.int64(byte) - _ZERO
        if 0 <= digit <= 9:
            number = 10 * number + digit
            digits += 1
            if digits > _DIGITS:
                return -1
        elif byte in (_COMMA, _CLOSE):
            if digits:
                out[count] = number
                count += 1
            number, digits = np.int64(0), 0
        elif byte not in (_SPACE, _NEWLINE, _RETURN, _TAB):
            return -1
    return count


@compiled
def are_in_order(times: Any, channels: Any, size: int, last_us: int) -> bool:
    """Return whether events are as `fusion.events.EventStream.checked` has to find them.

    Args:
        times: int64, microseconds.
        channels: int32 or int64, as many.
        size: channels of the sensor.
        last_us: the latest time.
    """
    if times.size == 0:
        return True
    # Without a branch an event, several are looked at at once.
    strange = 0
    for event in range(channels.size):
        strange += (channels[event] < 0) | (channels[event] >= size)
    for event in range(1, times.size):
        strange += times[event] < times[event - 1]
    return bool(strange == 0 and times[0] >= 0 and times[times.size - 1] <= last_us)


@compiled
def scan_events(
    times: Any, channels: Any, values: Any, edges: Any, size: int, binary: bool, start: Any,
    channel: Any, value: Any,
) -> int:  # fmt: skip
    """List what is active in each step; see `fusion.lists.list_events`, the reference.

    Args:
        times: int64, ascending.
        channels: int32, of the events.
        values: float32 beside `channels`, or empty where every event counts as 1.
        edges: int64 [steps + 1], the times at which steps begin.
        size: channels of the sensor.
        binary: whether a step has an event or not, whatever their number and values.
        start: int64 [steps + 1], written: where the list of each step begins.
        channel: int32, written: active channels, ascending in each step; with room for
            `fusion.machine_code.ROOM` more than there are events.
        value: float32, written beside `channel`.

    Returns:
        The number n of events before the last edge, or ~n unless all written values are 1.
    """
    total = np.zeros(size + 1)
    seen = np.zeros(size // 64 + 1, np.uint64)
    words = np.zeros(seen.size // 64 + 1, np.uint64)
    weighted = values.size > 0 and not binary
    used: int = _scan(
        *(pointer_to(times), times.size, pointer_to(channels), pointer_to(values), weighted),
        *(pointer_to(edges), edges.size - 1, binary, pointer_to(total), pointer_to(seen)),
        *(pointer_to(words), words.size),
        *(pointer_to(start), pointer_to(channel), pointer_to(value)),
    )
    # The pointers do not keep these alive.
    total[0] = seen[0] = words[0] = 0
    return used


@inlined
def _scan(
    times: Any, events: int, channels: Any, values: Any, weighted: bool, edges: Any, steps: int,
    binary: bool, total: Any, seen: Any, words: Any, groups: int, start: Any, channel: Any,
    value: Any,
) -> int:  # fmt: skip
    """List what is active; `seen` has a bit for each line, `words` one for each word of `seen`.

    So words without a bit are passed over, and what is left has few branches that go one way or
    the other by chance.
    """
    at, event, others = 0, 0, 0
    for step in range(steps):
        start[step] = at
        edge = edges[step + 1]
        while event < events and times[event] < edge:
            line = np.uint64(channels[event])
            place = line >> np.uint64(6)
            seen[place] |= np.uint64(1) << (line & np.uint64(63))
            words[place >> np.uint64(6)] |= np.uint64(1) << (place & np.uint64(63))
            total[line] += values[event] if weighted else 1.0
            event += 1
        end = _list_seen(seen, words, groups, channel, at)
        for n in range(at, end):
            listed = channel[n]
            activity = np.float32(1.0 if binary else total[listed])
            total[listed] = 0.0
            value[n] = activity
            others += (activity != 1) & (activity != 0)
        at = _without_zeros(channel, value, at, end) if weighted else end
    start[steps] = at
    return ~event if others else event


@inlined
def _without_zeros(channel: Any, value: Any, at: int, end: int) -> int:
    """Take what is not active after all out of a list, and return its new end."""
    for n in range(at, end):
        channel[at], value[at] = channel[n], value[n]
        at += value[n] != 0
    return at


@inlined
def _list_seen(seen: Any, words: Any, groups: int, channel: Any, at: int) -> int:
    """List the lines whose bit is set, clear all bits, and return the list's new end."""
    for group in range(groups):
        left = words[group]
        words[group] = np.uint64(0)
        while left != np.uint64(0):
            place = 64 * group + lowest_bit(left)
            left &= left - np.uint64(1)
            word = seen[place]
            seen[place] = np.uint64(0)
            end = at + count_bits(word)
            while at < end:  # as `note_active`, of fewer
                for n in range(_AT_ONCE):
                    channel[at + n] = 64 * place + lowest_bit(word)
                    word &= word - np.uint64(1)
                at += _AT_ONCE
            at = end
    return at
