"""What a deployment that forwards a request says to the one that answers it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fusion.errors import InvalidInput

HERE = "snn-fusion"
"""The service's pseudonym in the header Via (RFC 9110, section 7.6.3)."""
VIA = "Via"
LEFT_S = "SNN-Fusion-Deadline-S"
TARGET = "SNN-Fusion-Target"
MODEL = "SNN-Fusion-Model"

_VIA, _LEFT_S, _TARGET, _MODEL = (name.lower().encode() for name in (VIA, LEFT_S, TARGET, MODEL))
HEADERS = frozenset((_VIA, _LEFT_S, _TARGET, _MODEL))


@dataclass(frozen=True, slots=True)
class Hop:
    """What came with a request that was forwarded.

    Attributes:
        left_s: seconds that are left for it; None if its caller gave no deadline.
        target: target of a request that names none.
        model: model of a request that names none; None for the deployment's own default.
    """

    left_s: float | None = None
    target: str | None = None
    model: str | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return it as headers, without Via."""
        left_s = None if self.left_s is None else f"{max(self.left_s, 1e-3):.6f}"
        named = {LEFT_S: left_s, TARGET: self.target, MODEL: self.model}
        return [(name, value) for name, value in named.items() if value is not None]


def hop_of(headers: Mapping[bytes, bytes]) -> Hop | None:
    """Return what a forwarding deployment said, None for a request that comes from elsewhere.

    Args:
        headers: name in lower case → value.

    Raises:
        InvalidInput: if the time that is left is no positive number of seconds.
    """
    via = headers.get(_VIA)
    if via is None or not any(HERE in part.split() for part in via.decode("latin-1").split(",")):
        return None
    return Hop(_seconds(headers.get(_LEFT_S)), _text(headers, _TARGET), _text(headers, _MODEL))


def _seconds(sent: bytes | None) -> float | None:
    if sent is None:
        return None
    try:
        left_s = float(sent)
    except ValueError:
        left_s = math.nan
    if not 0 < left_s < math.inf:
        raise InvalidInput(LEFT_S, "is not a positive number of seconds")
    return left_s


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    return headers[name].decode("latin-1") if name in headers else None
