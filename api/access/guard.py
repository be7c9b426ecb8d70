"""What all requests share of the access to the service: its keys, its audit log, its counts."""

import time
from dataclasses import asdict

import structlog
from starlette.types import Scope as Connection

from api.access.audit import Audit
from api.access.caller import ANYONE, Caller
from api.access.counts import DayCounts
from api.access.demand import demand_keys, warn_if_open
from api.access.keyring import Change, Keyring
from api.access.keys_file import KeyEntry
from api.access.limits import Bucket
from api.access.meter import Meter
from api.access.refusals import Refused, Unauthenticated
from api.access.scopes import CHANGES, Scope
from api.metrics import Metrics
from api.notes import Notes
from api.redis.counters import Counters
from api.settings import PREFIX, InvalidSettings, Settings
from fusion.errors import FusionError, in_words

log = structlog.get_logger("snn_fusion")

REFUSALS_PER_S, REFUSALS_AT_ONCE = 10.0, 100
"""How many refusals a process writes to the audit log; more are counted, so none fills a disk."""


class Guard:
    """Knows callers by their keys, and keeps the audit log; one for each process.

    Args:
        settings: the deployment's settings.
        metrics: where refusals are counted.
        counters: what the processes tell each other of what keys used.

    Raises:
        InvalidSettings: if keys are needed and there are none, or their file or the audit log's
            cannot be used.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, counters: Counters | None = None
    ) -> None:
        demand_keys(settings)
        warn_if_open(settings)
        self._settings = settings
        self._metrics = metrics
        self._counts = DayCounts(counters or Counters(None))
        self._audit = _audit(settings, metrics)
        self._keyring = _keyring(settings, self)
        self._refusals = Bucket(REFUSALS_PER_S, REFUSALS_AT_ONCE, time.monotonic())
        self._untold = 0

    @property
    def open(self) -> bool:
        """Whether no keys are asked for."""
        return self._keyring is None

    def start(self) -> None:
        """Look for changes of the keys from now on; called on the event loop."""
        self._counts.start()
        if self._keyring is not None:
            self._keyring.watch()

    def close(self) -> None:
        """Look for changes no more, and close the audit log."""
        if self._keyring is not None:
            self._keyring.close()
        self._audit.close()

    def identify(self, connection: Connection) -> Caller:
        """Return who asks.

        Raises:
            Unauthenticated: if there is no key, or one that is not good.
        """
        if self._keyring is None:
            return ANYONE
        key = _key_in(connection)
        if key is None:
            raise Unauthenticated("no_key", "a key is needed, and none was sent")
        return self._keyring.find(key)

    def is_open(self, scope: Scope) -> bool:
        """Return whether a route that needs this scope may be asked without a key."""
        return scope is Scope.NONE or (scope is Scope.METRICS and self._settings.open_metrics)

    def tell_refusal(
        self, refusal: Refused, connection: Connection, notes: Notes, scope: Scope | None
    ) -> None:
        """Count a refusal, and write it to the audit log unless there are too many."""
        self._metrics.refused.labels(refusal.reason).inc()
        if self._refusals.take(time.monotonic()) > 0:
            self._untold += 1
            return
        untold, self._untold = self._untold, 0
        key_id = refusal.key_id if isinstance(refusal, Unauthenticated) else notes.caller.key_id
        self._audit.write(
            "refused",
            **_asked(connection, notes, scope) | {"key": key_id or None},
            reason=refusal.reason,
            not_told=untold or None,
        )

    def tell_end(self, connection: Connection, notes: Notes, scope: Scope | None) -> None:
        """Write what the audit log keeps of a request that has ended, if it keeps anything."""
        if notes.refusal is not None:
            self.tell_refusal(notes.refusal, connection, notes, scope)
            return
        facts = _asked(connection, notes, scope)
        facts["status"] = notes.status or None
        facts["outcome"] = "done" if 200 <= notes.status < 300 else "failed"
        if scope in CHANGES:
            self._audit.write("change", **facts)
        elif notes.hardware:
            self._audit.write("hardware", **facts)

    def make_meter(self, entry: KeyEntry) -> Meter:
        """Return the meter of a key."""
        return Meter(entry.id, entry.limits, self._counts, self._settings.target)

    def tell_change(self, change: Change) -> None:
        """Tell that other keys are good now."""
        log.warning("the keys have changed", **asdict(change))
        self._metrics.key_reloads.labels("taken").inc()
        self._audit.write("keys", outcome="taken", **asdict(change))

    def tell_trouble(self, trouble: str | None) -> None:
        """Tell that the keys' file cannot be used, or that it can again."""
        self._metrics.keys_file_broken.set(0 if trouble is None else 1)
        if trouble is None:
            log.warning("the keys' file can be used again")
            return
        log.error("the keys' file cannot be used: the keys stay as they were", problem=trouble)
        self._metrics.key_reloads.labels("refused").inc()
        self._audit.write("keys", outcome="refused", problem=trouble)


def _audit(settings: Settings, metrics: Metrics) -> Audit:
    try:
        return Audit(settings.audit_file, metrics.audit_failures.inc)
    except OSError as error:
        raise InvalidSettings(f"{PREFIX}AUDIT_FILE: {in_words(error)}") from None


def _keyring(settings: Settings, guard: Guard) -> Keyring | None:
    if settings.keys_file is None:
        return None
    variable = f"{PREFIX}KEYS_FILE"
    try:
        keyring = Keyring(
            settings.keys_file, guard.make_meter, guard.tell_change, guard.tell_trouble
        )
    except OSError as error:
        raise InvalidSettings(f"{variable}: {in_words(error)}") from None
    except FusionError as error:
        raise InvalidSettings(f"{variable}: {error}") from None
    if not len(keyring):
        raise InvalidSettings(
            f"{variable}: {settings.keys_file} holds no key: make one with `snn-fusion keys new`"
        )
    return keyring


def _key_in(connection: Connection) -> bytes | None:
    other = None
    for name, value in connection["headers"]:
        if name == b"authorization":
            if value[:7].lower() == b"bearer ":
                return bytes(value[7:].strip())
        elif name == b"x-api-key":
            other = bytes(value)
    return other


def _asked(connection: Connection, notes: Notes, scope: Scope | None) -> dict[str, object]:
    client = connection.get("client")
    return {
        "request_id": notes.request_id,
        "key": notes.caller.key_id or None,
        "name": notes.caller.name,
        "client": client[0] if client else None,
        "scope": scope,
        "method": connection.get("method"),
        "path": connection["path"],
        "model": notes.model,
        "digest": notes.digest,
        "target": notes.target,
    }
