import threading
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.access import KeysFile, id_in
from support.api_server import until

from api.access import keyring as keyring_module
from api.access.keyring import Change, Keyring
from api.access.keys import new_key
from api.access.limits import Limits
from api.access.meter import Alone, Meter
from api.access.refusals import Unauthenticated
from fusion.errors import FusionError


class Told:
    """A keyring of a file, and what it told."""

    def __init__(self, keys):
        self.changes, self.troubles = [], []
        self.ring = Keyring(keys.path, self.meter, self.changes.append, self.troubles.append)

    def meter(self, entry):
        return Meter(entry.id, entry.limits, Alone())

    def look_twice(self):
        self.ring.look()
        self.ring.look()


def find(ring, key):
    return ring.find(key.encode())


def reason(ring, key):
    with pytest.raises(Unauthenticated) as caught:
        find(ring, key)
    assert len(key) < 40 or key[17:] not in str(caught.value)
    return caught.value.reason


def test_a_key_is_found_by_all_of_it(keys):
    key, other = keys.add("fuse", name="lab"), keys.add("check")
    ring = Told(keys).ring
    who = find(ring, key)
    assert (who.key_id, who.name, who.scopes) == (id_in(key), "lab", {"fuse"})
    assert str(who) == f"key {id_in(key)} (lab)"
    mixed = f"snf_{id_in(key)}_{other.split('_', 2)[2]}"
    for wrong in (key[:-1], key + "x", key.upper(), mixed, new_key()[1], id_in(key), "", "__"):
        assert reason(ring, wrong) == "unknown_key"


@given(st.binary(max_size=80))
def test_no_other_text_is_a_key(text):
    ring = Keyring.__new__(Keyring)
    ring._known = {}
    with pytest.raises(Unauthenticated):
        ring.find(text)


def test_disabled_and_expired_keys_are_told_apart_to_their_holders_alone(keys):
    disabled = keys.add("fuse", disabled=True)
    expired = keys.add("fuse", expires=date(2020, 1, 1))
    good = keys.add("fuse", expires=date(2120, 1, 1))
    ring = Told(keys).ring
    assert reason(ring, disabled) == "disabled_key"
    assert reason(ring, expired) == "expired_key"
    assert reason(ring, disabled + "x") == "unknown_key"
    assert find(ring, good).key_id == id_in(good)


def test_a_change_takes_effect_once_it_was_read_twice_alike(keys):
    first = keys.add("fuse")
    told = Told(keys)
    second = keys.add("check")
    told.ring.look()
    assert reason(told.ring, second) == "unknown_key"
    told.ring.look()
    assert find(told.ring, second).scopes == {"check"}
    assert told.changes == [Change((id_in(second),), (), ())]
    keys.entries.pop(0)
    keys.entries[0]["scopes"] = ["fuse"]
    keys.write()
    told.look_twice()
    assert reason(told.ring, first) == "unknown_key"
    assert find(told.ring, second).scopes == {"fuse"}
    assert told.changes[1:] == [Change((), (id_in(first),), (id_in(second),))]
    told.look_twice()
    assert len(told.changes) == 2
    assert told.troubles == []


def test_a_file_that_is_just_being_written_changes_nothing(keys):
    first, second = keys.add("fuse"), keys.add("fuse")
    told = Told(keys)
    whole = keys.path.read_bytes()
    for end in range(0, len(whole), 40):  # many of these are YAML, with fewer keys
        keys.path.write_bytes(whole[:end])
        told.ring.look()
        keys.path.write_bytes(whole)
        told.ring.look()
        assert find(told.ring, first)
        assert find(told.ring, second)
    assert told.changes == []


@pytest.mark.parametrize("content", [b"", b"keys: [", b"keys: [{id: 1}]", b"\xff\xfe\x00", None])
def test_a_broken_or_missing_file_keeps_the_keys_and_is_told_once(keys, content):
    key = keys.add("fuse")
    told = Told(keys)
    whole = keys.path.read_bytes()
    if content is None:
        keys.path.unlink()
    else:
        keys.path.write_bytes(content)
    for _ in range(4):
        told.ring.look()
        assert find(told.ring, key)
    assert len(told.troubles) == 1
    assert told.troubles[0]
    keys.path.write_bytes(whole)
    told.look_twice()
    assert told.troubles[1:] == [None]
    assert told.changes == []
    key = keys.add("check")
    told.look_twice()
    assert find(told.ring, key)


def test_one_broken_file_after_another_is_told(keys):
    keys.add("fuse")
    told = Told(keys)
    for content in (b"keys: 1", b"keys: [1]", b"keys: [2]"):
        keys.path.write_bytes(content)
        told.look_twice()
    assert len(told.troubles) == 2, "the last two are wrong in the same way"


def test_a_file_that_is_too_large_is_not_read_whole(keys):
    key = keys.add("fuse")
    told = Told(keys)
    with keys.path.open("ab") as file:
        file.write(b"#" * (keyring_module.MOST_BYTES + 1))
    told.look_twice()
    assert "too large" in told.troubles[0]
    assert find(told.ring, key)


def test_every_key_may_be_taken_away(keys):
    key = keys.add("fuse")
    told = Told(keys)
    keys.entries.clear()
    keys.write()
    told.look_twice()
    assert len(told.ring) == 0
    assert reason(told.ring, key) == "unknown_key"


def test_what_kubernetes_swaps_is_seen(tmp_path):
    """A secret's files are links through `..data`, which is replaced by another link."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
    old, new = KeysFile(tmp_path / "one/keys.yaml"), KeysFile(tmp_path / "two/keys.yaml")
    before, after = old.add("fuse"), new.add("fuse")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "keys.yaml").symlink_to("..data/keys.yaml")
    told = Told(KeysFile(tmp_path / "keys.yaml"))
    assert find(told.ring, before)
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    told.look_twice()
    assert find(told.ring, after)
    assert reason(told.ring, before) == "unknown_key"


def test_a_change_keeps_what_was_used_and_takes_the_new_limits(keys):
    key = keys.add("fuse", limits={"synaptic_events_per_day": 10})
    told = Told(keys)
    meter = find(told.ring, key).meter
    meter.charge(False, 5, 1.0)
    keys.entries[0]["limits"] = {"synaptic_events_per_day": 20}
    keys.write()
    told.look_twice()
    again = find(told.ring, key).meter
    assert again is meter
    assert again.limits == Limits(synaptic_events_per_day=20)
    assert again.used("synaptic_events_per_day") == 5


def test_the_first_file_has_to_be_right(keys):
    keys.path.write_text("keys: 3")
    with pytest.raises(FusionError):
        Told(keys)
    keys.path.unlink()
    with pytest.raises(FileNotFoundError):
        Told(keys)


def test_it_watches_until_it_is_closed(keys, monkeypatch):
    monkeypatch.setattr(keyring_module, "POLL_S", 0.01)
    keys.add("fuse")
    told = Told(keys)
    told.ring.watch()
    key = keys.add("fuse")
    until(lambda: told.changes)
    assert find(told.ring, key)
    told.ring.close()
    until(lambda: "keys" not in {thread.name for thread in threading.enumerate()})
