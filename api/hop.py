"""What a deployment that forwards a request says to the one that answers it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from fusion.errors import InvalidInput

HERE = "snn-fusion"
"""The service's pseudonym in the header Via (RFC 9110, section 7.6.3)."""
VIA = "Via"
LEFT_S = "SNN-Fusion-Deadline-S"
TARGET = "SNN-Fusion-Target"
MODEL = "SNN-Fusion-Model"
PART = "SNN-Fusion-Part"

_VIA, _LEFT_S, _TARGET, _MODEL, _PART = (
    name.lower().encode() for name in (VIA, LEFT_S, TARGET, MODEL, PART)
)
HEADERS = frozenset((_VIA, _LEFT_S, _TARGET, _MODEL, _PART))

Index = Annotated[int, Meta(ge=0, lt=2**31)]


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment is to do of a comparison that several deployments share.

    Attributes:
        run: the targets to run.
        test: target → where to tell what it tested, each [population, step, neuron]; populations
            are counted in the order of the model's plan.
    """

    run: tuple[str, ...] = ()
    test: dict[str, tuple[tuple[Index, Index, Index], ...]] = {}

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that are concerned."""
        return (*self.run, *self.test)


@dataclass(frozen=True, slots=True)
class Hop:
    """What came with a request that was forwarded.

    Attributes:
        left_s: seconds that are left for it; None if its caller gave no deadline.
        target: target of a request that names none.
        model: model of a request that names none; None for the deployment's own default.
        part: what to do of a comparison; None for the whole.
    """

    left_s: float | None = None
    target: str | None = None
    model: str | None = None
    part: Part | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return it as headers, without Via."""
        left_s = None if self.left_s is None else f"{max(self.left_s, 1e-3):.6f}"
        part = None if self.part is None else json.dumps(structs.asdict(self.part))
        named = {LEFT_S: left_s, TARGET: self.target, MODEL: self.model, PART: part}
        return [(name, value) for name, value in named.items() if value is not None]


def hop_of(headers: Mapping[bytes, bytes]) -> Hop | None:
    """Return what a forwarding deployment said, None for a request that comes from elsewhere.

    Args:
        headers: name in lower case → value.

    Raises:
        InvalidInput: if the time that is left is no positive number of seconds, or a part of a
            comparison cannot be read.
    """
    via = headers.get(_VIA)
    if via is None or not any(HERE in part.split() for part in via.decode("latin-1").split(",")):
        return None
    return Hop(
        _seconds(headers.get(_LEFT_S)),
        _text(headers, _TARGET),
        _text(headers, _MODEL),
        _part(headers.get(_PART)),
    )


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


def _part(sent: bytes | None) -> Part | None:
    if sent is None:
        return None
    try:
        return msgspec.json.decode(sent, type=Part)
    except msgspec.DecodeError as error:
        raise InvalidInput(PART, f"is no part of a comparison: {error}") from None


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    return headers[name].decode("latin-1") if name in headers else None
