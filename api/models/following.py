"""Follows what others change: other processes of the service, and other replicas of it."""

import time
from collections.abc import Iterator, Mapping
from threading import Lock

import structlog

from api.metrics import Metrics
from api.models.changes import Changes, Unshared
from api.models.entry import Entry, Key, shipped, uploaded
from api.models.known import Known
from api.models.memory import Memory
from fusion.errors import FusionError, StoreFailed
from fusion.held import held_bytes
from fusion.records import Index, Switch
from fusion.shelf import Shelf
from fusion.store import ModelStore

log = structlog.get_logger("snn_fusion")

LOOK_AGAIN_S = 0.2
"""Requests for unknown models have the store looked at so often, at most."""


class Following:
    """Keeps what is known of all models up to what the folder and the store hold.

    Args:
        known: what is kept up.
        memory: the models in memory.
        shelf: the models that ship.
        store: the models that were uploaded.
        metrics: where looks that fail are counted.
        changes: tells the processes of a service that something was changed.

    Attributes:
        store_failure: why the last look at the store failed, if it did.
    """

    def __init__(
        self,
        known: Known,
        memory: Memory,
        shelf: Shelf,
        store: ModelStore,
        metrics: Metrics,
        changes: Changes | Unshared,
    ) -> None:
        self._known = known
        self._memory = memory
        self._shelf = shelf
        self._store = store
        self._metrics = metrics
        self._changes = changes
        self._looking = Lock()
        self._looked_s = float("-inf")
        self._seen = -1
        self.store_failure: StoreFailed | None = None

    @property
    def is_current(self) -> bool:
        """Whether no process of the service has told of a change since the last look."""
        return self._changes.count == self._seen

    def look(self, asked_s: float | None = None) -> None:
        """Find out what was changed, here or by others, unless somebody did since `asked_s`."""
        self._look(time.monotonic() if asked_s is None else asked_s, 0.0)

    def look_again(self, asked_s: float | None = None) -> None:
        """Do so for something unknown, and not sooner than `LOOK_AGAIN_S` after the last look."""
        self._look(time.monotonic() if asked_s is None else asked_s, LOOK_AGAIN_S)

    def tell(self) -> None:
        """Let every process know of a change, and know it here."""
        self._changes.tell()
        self.look()

    def close(self) -> None:
        """Give back what other processes share."""
        self._changes.close()

    def _look(self, asked_s: float, pause_s: float) -> None:
        """Read the index unless somebody did since `asked_s`, and not sooner than `pause_s`."""
        with self._looking:
            if self._looked_s >= asked_s:
                return
            time.sleep(max(0.0, self._looked_s + pause_s - time.monotonic()))
            self._looked_s = time.monotonic()
            seen = self._changes.count
            try:
                index = self._store.index()
            except StoreFailed as error:
                log.warning("store of models not usable", error=str(error))
                self._metrics.store_failures.inc()
                self.store_failure, index = error, self._known.index
            else:
                self.store_failure = None
            with self._known.lock:
                self._take(index)
                self._seen = seen

    def _take(self, index: Index) -> None:
        """Know what an index tells."""
        known = self._known
        known.index = index
        for name, switch in index.switches.items():
            if known.switched.get(name) != switch:
                known.switched[name] = switch
                self._switch(name, switch, fresh=not known.families)
        before = known.entries
        known.entries = dict(self._entries(before, index))
        for key in before.keys() - known.entries.keys():
            self._memory.drop(before[key])
        known.retable()
        self._memory.count()

    def _entries(self, before: Mapping[Key, Entry], index: Index) -> Iterator[tuple[Key, Entry]]:
        """Give key → entry for all there is; an entry that was known stays the same one."""
        for shelved in self._shelf.models.values():
            made = shipped(shelved)
            entry = before.get(made.key, made)
            entry.shelved = made.shelved
            entry.held_bytes = entry.held_bytes or held_bytes(made.shelved)
            yield made.key, entry
        for versions in index.versions.values():
            for version in versions:
                made = uploaded(version)
                yield made.key, before.get(made.key, made)

    def _switch(self, name: str, switch: Switch, *, fresh: bool) -> None:
        """Do what somebody asked every process to do; one that starts reads all anew anyway."""
        mine = [entry for entry in self._known.entries.values() if entry.name == name]
        for entry in mine:
            entry.state, entry.problem = "known", None
            self._memory.forget_programs(entry)
            if entry.stored is not None:
                entry.shelved = None
        if not switch.unloaded and not fresh:
            try:
                self._shelf.load(name)
            except FusionError as error:
                if not any(entry.stored for entry in mine):
                    log.warning("model not loaded anew", model=name, error=str(error))
