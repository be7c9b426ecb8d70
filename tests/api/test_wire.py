"""How replies reach the socket: a head with what follows it, and never late."""

import asyncio

import pytest

from api.transfers import Wire

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"


class _Transport:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("parts", "now", "later"),
    [
        ([HEAD, BODY], [HEAD + BODY], []),
        ([HEAD, BODY, BODY], [HEAD + BODY, BODY], []),
        ([HEAD], [], [HEAD]),
        ([HEAD, HEAD], [HEAD + HEAD], []),
        ([BODY], [BODY], []),
    ],
)
def test_a_head_waits_for_what_follows_in_the_same_turn(parts, now, later):
    async def written() -> None:
        transport = _Transport()
        wire = Wire(transport, lambda: None)
        for part in parts:
            wire.write(part)
        assert transport.writes == now
        assert wire.unsent == sum(map(len, later))
        await asyncio.sleep(0)
        assert transport.writes == now + later
        assert (wire.unsent, wire.written) == (0, sum(map(len, parts)))

    asyncio.run(written())
