"""What holds of a store whatever is done to it, in whatever order, by two who share it."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.stored import aged, made

from fusion.errors import Conflict, Damaged, InvalidInput
from fusion.objects import FolderObjects
from fusion.store import ModelStore

NAMES = st.sampled_from(["one", "two"])
LABELS = st.sampled_from(["1", "2"])
ALIASES = st.sampled_from(["production", "canary"])
SEEDS = st.integers(0, 1)
WHO = st.integers(0, 1)


class Stored(RuleBasedStateMachine):
    """Two stores on one folder beside plain dictionaries."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name) / "store"
        self.stores = [ModelStore(FolderObjects(self.root)) for _ in range(2)]
        self.versions = {}
        self.aliases = {}
        self.order = []
        self.damaged = set()

    def teardown(self):
        self._folder.cleanup()

    @contextmanager
    def refused(self, kind, when):
        if not when:
            yield
            return
        with pytest.raises(kind):
            yield

    @rule(who=WHO, name=NAMES, label=LABELS, seed=SEEDS)
    def add(self, who, name, label, seed):
        model = made(name, label, seed)
        before = self.versions.get((name, label))
        with self.refused(Conflict, before not in (None, model.digest)):
            version, new = self.stores[who].add(model)
            assert new == (before is None)
            self.versions[name, label] = version.digest
            if new:
                self.order.append((name, label))
            self.damaged.discard(model.digest)

    @rule(who=WHO, name=NAMES, label=LABELS)
    def remove(self, who, name, label):
        led_to = label in [to for (of, _), to in self.aliases.items() if of == name]
        missing = (name, label) not in self.versions
        with self.refused(InvalidInput if missing else Conflict, missing or led_to):
            self.stores[who].remove(name, label)
            self.forget(name, label)

    @rule(who=WHO, name=NAMES)
    def remove_all(self, who, name):
        mine = [label for of, label in self.versions if of == name]
        with self.refused(InvalidInput, not mine):
            assert sorted(self.stores[who].remove_all(name)) == sorted(mine)
            for label in mine:
                self.forget(name, label)
            self.aliases = {key: to for key, to in self.aliases.items() if key[0] != name}

    @rule(who=WHO, name=NAMES, alias=ALIASES, label=LABELS)
    def set_alias(self, who, name, alias, label):
        with self.refused(InvalidInput, (name, label) not in self.versions):
            self.stores[who].set_alias(name, alias, label)
            self.aliases[name, alias] = label

    @rule(who=WHO, name=NAMES, alias=ALIASES)
    def remove_alias(self, who, name, alias):
        with self.refused(InvalidInput, (name, alias) not in self.aliases):
            self.stores[who].remove_alias(name, alias)
            del self.aliases[name, alias]

    @rule(who=WHO)
    def sweep_when_all_is_old(self, who):
        aged(self.root)
        self.stores[who].sweep()
        named = {one.file_key for ones in self.index(who).versions.values() for one in ones}
        assert set(self.stores[who].objects.listing("files")) <= named

    @rule(who=WHO, data=st.data())
    def damage_a_file(self, who, data):
        if self.versions:
            name, label = data.draw(st.sampled_from(sorted(self.versions)))
            version = self.index(who).find(name, label)
            (self.root / version.file_key).write_bytes(b"PK torn")
            self.damaged.add(version.digest)

    @invariant()
    def both_see_what_is_stored(self):
        for who in range(2):
            index = self.index(who)
            assert {
                (name, one.label): one.digest for name, of in index.versions.items() for one in of
            } == self.versions
            assert {
                (name, alias): to for name, of in index.aliases.items() for alias, to in of.items()
            } == self.aliases
            for name, ones in index.versions.items():
                assert [(name, one.label) for one in ones] == [
                    key for key in self.order if key[0] == name
                ]
            assert not index.problems

    @invariant()
    def what_is_served_is_what_was_stored(self):
        for ones in self.index(0).versions.values():
            for version in ones:
                with self.refused(Damaged, version.digest in self.damaged):
                    assert self.stores[1].file(version)

    @invariant()
    def nothing_is_left_half_written(self):
        assert not self.stores[0].objects.listing(".parts")

    def index(self, who):
        return self.stores[who].index()

    def forget(self, name, label):
        del self.versions[name, label]
        self.order.remove((name, label))


TestStored = Stored.TestCase
TestStored.settings = settings(max_examples=30, stateful_step_count=25)
