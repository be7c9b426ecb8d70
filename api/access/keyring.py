"""The keys that are good now, from a file that may change while they are used."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

import structlog

from api.access.caller import Caller, target_patterns
from api.access.keys import digest_of, id_of
from api.access.keys_file import MOST_BYTES, KeyEntry, parse_keys
from api.access.meter import Meter
from api.access.refusals import Unauthenticated
from fusion.errors import FusionError, InvalidInput, in_words

log = structlog.get_logger("snn_fusion")

POLL_S = 0.5
"""How often the file is read."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A key that the file has."""

    digest: bytes
    ends_s: float
    disabled: bool
    caller: Caller


@dataclass(frozen=True, slots=True)
class Change:
    """What a new keys' file changed: ids of keys that came, went and are otherwise than before."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


class Keyring:
    """Finds callers by their keys.

    The file is read again and again rather than watched: that sees a file that is replaced, the
    symbolic links that Kubernetes swaps, and file systems that tell of no change. What is read
    takes effect once it was read twice alike, so a file that is just being written does not.

    Args:
        path: the keys' file.
        make_meter: makes the meter of a key from its entry.
        on_change: is told of a change that took effect.
        on_trouble: is told why the file cannot be read, once for every different reason, and None
            when it can again.

    Raises:
        FusionError: naming what is wrong in the file.
        OSError: if it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        make_meter: Callable[[KeyEntry], Meter],
        on_change: Callable[[Change], None] = lambda _: None,
        on_trouble: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._make_meter = make_meter
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._trouble: str | None = None
        self._read = self._in_effect = _content(path)
        self._refused: bytes | None = None
        self._entries = parse_keys(self._in_effect, path.name)
        self._known = self._made(self._entries, {})
        self._ended = threading.Event()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: bytes) -> Caller:
        """Return whose key this is.

        Raises:
            Unauthenticated: if it is none, or not good now.
        """
        known = self._known.get(id_of(key))
        if known is None or not compare_digest(known.digest, digest_of(key)):
            raise Unauthenticated("unknown_key", "there is no such key")
        caller = known.caller
        if known.disabled:
            raise Unauthenticated("disabled_key", f"{caller} is disabled", caller.key_id)
        if time.time() >= known.ends_s:
            raise Unauthenticated("expired_key", f"{caller} has expired", caller.key_id)
        return caller

    def watch(self) -> None:
        """Look for changes from now on, in a thread."""
        threading.Thread(target=self._watch, name="keys", daemon=True).start()

    def close(self) -> None:
        """Look for changes no more."""
        self._ended.set()

    def look(self) -> None:
        """Look for a change once; one takes effect when it is seen for the second time."""
        try:
            content = _content(self._path)
            settled, self._read = content == self._read, content
            if settled and content not in (self._in_effect, self._refused):
                self._refused = content
                self._take(content)
            if content == self._in_effect:
                self._tell(None)
        except FusionError as error:
            self._tell(str(error))
        except OSError as error:
            self._tell(f"cannot be read: {in_words(error)}")

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            try:
                self.look()
            except Exception:
                log.exception("looking for changed keys failed unexpectedly")

    def _take(self, content: bytes) -> None:
        entries, before = parse_keys(content, self._path.name), self._entries
        # One assignment, so a request sees the keys of before or those of now.
        self._known = self._made(entries, self._known)
        self._in_effect, self._entries = content, entries
        both = entries.keys() & before.keys()
        self._on_change(
            Change(
                tuple(sorted(entries.keys() - before.keys())),
                tuple(sorted(before.keys() - entries.keys())),
                tuple(sorted(one for one in both if entries[one] != before[one])),
            )
        )

    def _made(
        self, entries: Mapping[str, KeyEntry], before: Mapping[bytes, _Known]
    ) -> dict[bytes, _Known]:
        made = {}
        for key_id, entry in entries.items():
            old = before.get(key_id.encode())
            meter = self._make_meter(entry) if old is None else old.caller.meter
            meter.change(entry.limits)
            caller = Caller(
                key_id=key_id,
                name=entry.name,
                scopes=entry.granted,
                targets=target_patterns(entry.targets),
                meter=meter,
            )
            made[key_id.encode()] = _Known(entry.digest, entry.ends_s, entry.disabled, caller)
        return made

    def _tell(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._on_trouble(trouble)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InvalidInput(path.name, "is too large", f"at most {MOST_BYTES} bytes")
    return content
