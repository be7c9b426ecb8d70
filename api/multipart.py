"""Bodies of the type multipart/form-data, as browsers and `curl -F` send files."""

from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import MalformedBody

MULTIPART = "multipart/form-data"
_MOST_PARTS = 8


def parts_of(content: bytes, content_type: str) -> Mapping[str, bytes]:
    """Return name → content of the parts of a body.

    Raises:
        MalformedBody: if it is none, or a part has no name or the name of another.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedBody("body", "is multipart, but its Content-Type names no boundary")
    reading = _Reading()
    parser = MultipartParser(boundary, reading.callbacks)  # type: ignore[arg-type]
    try:
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise MalformedBody("body", f"is no {MULTIPART}: {error}") from None
    if not reading.ended:
        raise MalformedBody("body", f"is no {MULTIPART}: it ends too early")
    return {name: bytes(data) for name, data in reading.parts.items()}


class _Reading:
    """Keeps what a parser finds; `parts` is complete once `ended`."""

    def __init__(self) -> None:
        self.parts: dict[str, bytearray] = {}
        self.ended = False
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._into = bytearray()
        self.callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self._into.extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name or name in self.parts or len(self.parts) == _MOST_PARTS:
            raise MalformedBody("body", f"has a part too many: {name[:80]!r}")
        self._into = self.parts[name] = bytearray()

    def _end(self) -> None:
        self.ended = True
