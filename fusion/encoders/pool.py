"""Coarser pixels for event cameras."""

from dataclasses import dataclass

import numpy as np

from fusion.errors import InvalidInput
from fusion.events import EventStream


@dataclass(frozen=True, slots=True)
class Pool:
    """Joins squares of `factor` by `factor` pixels into one; no event is lost or moved in time.

    Attributes:
        shape: polarities, height and width of the sensor; channels are in C order.
        factor: edge of a square in pixels; must divide height and width.

    Raises:
        InvalidInput: if the squares do not fill the sensor.
    """

    shape: tuple[int, int, int]
    factor: int

    def __post_init__(self) -> None:
        _, height, width = self.shape
        if min(self.shape) < 1:
            raise InvalidInput("shape", f"{list(self.shape)} must be positive")
        if self.factor < 1 or height % self.factor or width % self.factor:
            raise InvalidInput(
                "factor", f"{self.factor} does not divide height {height} and width {width}"
            )

    @property
    def pooled_shape(self) -> tuple[int, int, int]:
        """Polarities, height and width after pooling."""
        polarities, height, width = self.shape
        return polarities, height // self.factor, width // self.factor

    @property
    def size(self) -> int:
        """Number of channels after pooling."""
        return int(np.prod(self.pooled_shape))

    def encode(self, stream: EventStream) -> EventStream:
        """Return the same events on the coarser channels.

        Raises:
            InvalidInput: if the stream does not have the sensor's number of channels.
        """
        if stream.size != int(np.prod(self.shape)):
            raise InvalidInput(
                "events", f"have {stream.size} channels, the sensor has {int(np.prod(self.shape))}"
            )
        polarity, y, x = np.unravel_index(stream.channel, self.shape)
        pooled = np.ravel_multi_index(
            (polarity, y // self.factor, x // self.factor), self.pooled_shape
        )
        return EventStream(stream.t_us, pooled.astype(np.int32), stream.value, self.size)
