"""What moves over a connection, and how fast."""

import asyncio
import select
from collections.abc import Callable
from dataclasses import dataclass

HEAD = b"HTTP/1.1 "
"""What every reply of uvicorn's begins with."""
MIN_BYTES_PER_S = 500
"""A body has to come, and a reply to be taken, at least so fast."""


class Wire:
    """The transport as uvicorn's protocol sees it: its end is decided here, and bytes are counted.

    The head of a reply goes out together with what follows it in the same turn of the event loop,
    so that client and system are bothered once for a reply.

    Args:
        transport: the transport.
        close: is called to close it.
    """

    __slots__ = ("_held", "close", "is_closing", "transport", "written")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.transport = transport
        self.is_closing = transport.is_closing
        self.close = close
        self.written = 0
        self._held = b""

    def write(self, data: bytes) -> None:
        """Send bytes, a head with what follows it."""
        self.written += len(data)
        if self._held:
            self.transport.write(self._held + data)
            self._held = b""
        elif data.startswith(HEAD):
            self._held = data
            asyncio.get_running_loop().call_soon(self.flush)
        else:
            self.transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing has followed."""
        if self._held:
            self.transport.write(self._held)
            self._held = b""

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return self.transport.get_write_buffer_size() + len(self._held)

    @property
    def readable(self) -> bool:
        """Whether something came that has not been read yet."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))


@dataclass(frozen=True, slots=True)
class Progress:
    """How many bytes had moved at a moment of the event loop's clock."""

    since: float
    moved: int

    def fast_enough(self, now: float, moved: int) -> bool:
        """Whether enough has moved since."""
        return moved - self.moved >= MIN_BYTES_PER_S * (now - self.since)
