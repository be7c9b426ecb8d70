"""What every event of a request passes through, in Numba: reading numbers, listing active lines."""

from typing import Any

import numpy as np

from simulators.compiled_kernels import compiled
from simulators.compiled_vectors import lowest_bit

_COMMA, _SPACE, _NEWLINE, _RETURN, _TAB, _CLOSE, _ZERO = b", \n\r\t]0"
_DIGITS = 18
"""Digits of which every number fits 64 bits."""


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
def scan_events(
    channels: Any, values: Any, bounds: Any, size: int, binary: bool, start: Any, channel: Any,
    value: Any,
) -> int:  # fmt: skip
    """List what is active in each step; see `fusion.lists.list_events`, the reference.

    Args:
        channels: int32, of events sorted by time.
        values: float32 beside `channels`, or empty where every event counts as 1.
        bounds: int64 [steps + 1], where the events of each step begin.
        size: channels of the sensor.
        binary: whether a step has an event or not, whatever their number and values.
        start: int64 [steps + 1], written: where the list of each step begins.
        channel: int32, written: active channels, ascending in each step.
        value: float32, written beside `channel`.

    Returns:
        1 if all written values are 1, else 0.
    """
    total = np.zeros(size)
    seen = np.zeros((size + 63) // 64, np.uint64)
    weighted = values.size > 0 and not binary
    at, ones = 0, 1
    for step in range(bounds.size - 1):
        start[step] = at
        for event in range(bounds[step], bounds[step + 1]):
            line = channels[event]
            seen[line >> 6] |= np.uint64(1) << np.uint64(line & 63)
            total[line] += values[event] if weighted else 1.0
        for place in range(seen.size):
            word = seen[place]
            while word != np.uint64(0):
                line = 64 * place + lowest_bit(word)
                activity = np.float32(1.0 if binary else total[line])
                total[line] = 0.0
                if activity != 0:
                    channel[at] = line
                    value[at] = activity
                    at += 1
                    if activity != 1:
                        ones = 0
                word &= word - np.uint64(1)
            seen[place] = np.uint64(0)
    start[bounds.size - 1] = at
    return ones
