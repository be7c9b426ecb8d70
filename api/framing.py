"""The bytes of a body: content type, compression, JSON text and raw tensors."""

import zlib

from msgspec import Struct

from api.errors import BodyTooLarge, MalformedBody, WrongContentType
from api.hop import Hop
from api.tensors import split_body

JSON, BINARY = "application/json", "application/octet-stream"


class Body(Struct, frozen=True):
    """A request body as it came in.

    Attributes:
        content: its bytes.
        content_type: media type without parameters, lower case; empty where absent.
        encoding: content encoding, lower case; empty where absent.
        header_length: the Inference-Header-Content-Length header, if there is one.
        hop: what the deployment that forwarded it says; None if none did.
    """

    content: bytes
    content_type: str
    encoding: str
    header_length: str | None
    hop: Hop | None = None

    @property
    def text_bytes(self) -> int:
        """Length of its JSON text, as far as that is known without reading it."""
        whole = len(self.content)
        if self.header_length is None or not self.header_length.isdecimal():
            return whole
        return min(whole, int(self.header_length))


def framed(body: Body, max_bytes: int) -> tuple[memoryview, memoryview]:
    """Return the JSON text of a body, and the raw tensors behind it.

    Raises:
        WrongContentType, BodyTooLarge, MalformedBody: if it cannot be read at all.
    """
    check_content_type(body)
    content = inflate(body, max_bytes)
    if not content:
        raise MalformedBody("body", "is empty", "a JSON object")
    if body.header_length is None:
        return memoryview(content), memoryview(b"")
    return split_body(content, body.header_length)


def check_content_type(body: Body) -> None:
    """Refuse a content type that is neither JSON nor, with its header, the binary framing.

    Raises:
        WrongContentType: saying what would be read.
    """
    if body.content_type in ("", JSON):
        return
    if body.content_type != BINARY:
        problem = f"{body.content_type[:80]!r} is not read here"
        raise WrongContentType("Content-Type", problem, f"{JSON} or {BINARY}")
    if body.header_length is None:
        problem = f"{BINARY} needs the length of its JSON header"
        raise WrongContentType("Inference-Header-Content-Length", problem, f"the header, or {JSON}")


def inflate(body: Body, max_bytes: int) -> bytes:
    """Return the content, inflated if it is gzip or deflate, of at most `max_bytes`.

    Raises:
        WrongContentType: for another encoding.
        MalformedBody: if it does not inflate.
        BodyTooLarge: if it inflates to more.
    """
    if body.encoding in ("", "identity"):
        return body.content
    if body.encoding not in ("gzip", "deflate"):
        problem = f"{body.encoding[:80]!r} is not read here"
        raise WrongContentType("Content-Encoding", problem, "gzip, deflate or none")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its own header
    try:
        content = inflater.decompress(body.content, max_bytes + 1)
    except zlib.error as error:
        raise MalformedBody("body", f"is not {body.encoding}: {error}") from None
    if len(content) > max_bytes:
        raise BodyTooLarge("body", f"inflates to more than {max_bytes} bytes", f"{max_bytes} bytes")
    if not inflater.eof or inflater.unused_data:
        raise MalformedBody("body", f"is not one whole {body.encoding} stream")
    return content
