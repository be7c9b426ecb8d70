import math
from datetime import UTC, date, datetime

import pytest
import yaml
from support.access import id_in

from api.access.keys import digest_of, hash_of, id_of, new_key
from api.access.keys_edit import entry_text, replace, with_entry, without
from api.access.keys_file import parse_keys
from api.access.limits import Limits
from api.access.scopes import Scope
from fusion.errors import FusionError, InvalidInput

KEY_ID, KEY = new_key()


def entry(**changes):
    made = {"id": KEY_ID, "name": "lab", "hash": hash_of(KEY), "scopes": ["fuse", "models:read"]}
    return {name: value for name, value in (made | changes).items() if value is not ...}


def parse(*entries, **rest):
    return parse_keys(yaml.safe_dump({"keys": list(entries), **rest}).encode(), "keys.yaml")


def test_a_key_is_long_random_and_names_its_id():
    assert id_of(KEY.encode()) == KEY_ID.encode()
    assert len(KEY) == len("snf_") + 12 + 1 + 43
    assert len({new_key()[1] for _ in range(100)}) == 100
    assert hash_of(KEY) == "sha256:" + digest_of(KEY.encode()).hex()
    assert id_of(b"snf_abc") == id_of(b"") == b""


def test_an_entry_says_all_about_a_key():
    limits = {"requests_per_s": 5, "run_s_per_day": 60}
    (one,) = parse(entry(targets=["cpu"], expires=date(2027, 1, 1), limits=limits)).values()
    assert one.granted == {Scope.FUSE, Scope.MODELS_READ}
    assert one.targets == ("cpu",)
    assert one.digest == digest_of(KEY.encode())
    assert one.ends_s == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert one.limits == Limits(requests_per_s=5, run_s_per_day=60)
    (plain,) = parse(entry()).values()
    assert (plain.targets, plain.ends_s, plain.limits) == (("*",), math.inf, Limits())


def test_defaults_are_overridden_one_by_one_and_null_is_without_limit():
    defaults = {"requests_per_s": 5, "burst": 10, "concurrent": 3}
    (one,) = parse(entry(limits={"burst": 7, "concurrent": None}), defaults=defaults).values()
    assert one.limits == Limits(requests_per_s=5, burst=7)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has no list called keys"),
        (b"keys: 3", "has no list called keys"),
        (b"keys: [", "is not YAML"),
        (b"keys: [3]", "keys[0]: is no key"),
        (b"keys: []\nkey: 1", "keys.yaml.key: is not an entry"),
        (b"keys: []\ndefaults: 3", "defaults: is not limits"),
        (b"keys: []\ndefaults: {requests_per_s: -1}", "defaults.requests_per_s: is -1"),
        (b"keys: []\ndefaults: {burst: 3}", "defaults.burst: means nothing alone"),
    ],
)
def test_a_wrong_file_is_refused_by_what_is_wrong(content, says):
    with pytest.raises(FusionError) as caught:
        parse_keys(content, "keys.yaml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": ...}, "missing required field `id`"),
        ({"hash": ...}, "missing required field `hash`"),
        ({"id": 123}, "id: Expected `str`"),
        ({"id": "a_b"}, "id: is not 1 to 64"),
        ({"hash": KEY}, "hash: is not sha256: and 64 hex digits"),
        ({"hash": "sha256:" + 64 * "x"}, "hash: is not sha256: and 64 hex digits"),
        ({"scopes": ["fus"]}, "scopes: 'fus' is no scope (try: fuse)"),
        ({"scopes": ["none"]}, "scopes: 'none' is no scope"),
        ({"targets": ["a b"]}, "targets: 'a b' is no name"),
        ({"targets": "cpu"}, "targets: Expected `array`"),
        ({"expires": "soon"}, "expires"),
        ({"disabled": "yes"}, "disabled: Expected `bool`"),
        ({"limits": 3}, "limits: Expected `object`"),
        ({"limits": {"requests_per_s": 0}}, "requests_per_s: is 0 (try: disabled: true)"),
        ({"limits": {"concurrent": 0}}, "concurrent: is 0 (try: at least 1)"),
        ({"limits": {"requests_per_s": math.inf}}, "requests_per_s: is inf"),
        ({"limits": {"brust": 3}}, "limits.brust: is not an entry"),
        ({"scope": ["fuse"]}, "scope: is not an entry"),
    ],
)
def test_a_wrong_entry_is_refused_by_key_and_field_and_never_repeats_a_secret(changes, says):
    with pytest.raises(FusionError) as caught:
        parse(entry(**changes))
    assert "keys.yaml.keys[0]" in str(caught.value)
    assert says in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_id_stands_in_a_file_once():
    with pytest.raises(InvalidInput, match=r"the id .* stands there twice"):
        parse(entry(), entry(name="another"))


def written(name="lab", **rest):
    key_id, key = new_key()
    text = entry_text(
        key_id=key_id,
        name=name,
        hash_text=hash_of(key),
        scopes=["fuse"],
        targets=["cpu", "loihi-*"],
        expires=rest.get("expires"),
    )
    return key, text


@pytest.mark.parametrize("name", ["lab", 'a "b": [c] # d', "Ünïcode 🙂", "- x", "null", "007"])
def test_entries_are_added_to_the_text_and_read_back(name):
    key, first = written(name)
    other, second = written("other", expires=date(2027, 5, 1))
    text = with_entry("", first, "f")
    text = with_entry("# ours\n" + text + "defaults: {concurrent: 4}  # all\n", second, "f")
    assert "# ours" in text
    assert "# all" in text
    made = parse_keys(text.encode(), "f")
    assert made[id_in(key)].name == name
    assert made[id_in(other)].expires == date(2027, 5, 1)
    assert made[id_in(other)].limits.concurrent == 4
    assert made[id_in(key)].targets == ("cpu", "loihi-*")


def test_an_empty_list_takes_an_entry_and_one_in_braces_is_left_alone():
    _, text = written()
    assert len(parse_keys(with_entry("keys: []  # none yet\n", text, "f").encode(), "f")) == 1
    inline = yaml.safe_dump({"keys": [entry()]}, default_flow_style=True)
    with pytest.raises(InvalidInput, match="add this"):
        with_entry(inline, text, "f")


def test_a_key_is_disabled_in_place_and_only_that_one():
    (key, first), (other, second) = written(), written()
    text = with_entry(with_entry("", first, "f"), second, "f")
    text = text.replace("    name", "    # who\n    name")
    made = without(text, id_in(key), "f")
    entries = parse_keys(made.encode(), "f")
    assert entries[id_in(key)].disabled
    assert not entries[id_in(other)].disabled
    assert made.replace("    disabled: true\n", "") == text
    assert without(made, id_in(key), "f") == made
    with pytest.raises(InvalidInput, match="has no key 'nope'"):
        without(text, "nope", "f")


def test_an_entry_in_braces_is_not_edited_but_said():
    text = yaml.safe_dump({"keys": [entry()]}, default_flow_style=True)
    with pytest.raises(InvalidInput, match="by hand"):
        without(text, KEY_ID, "f")


def test_a_file_is_replaced_at_once_through_links_and_with_its_mode(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    replace(real, "one")
    assert real.stat().st_mode & 0o777 == 0o600
    real.chmod(0o640)
    link.symlink_to(real)
    before = real.stat().st_ino
    replace(link, "two")
    assert link.is_symlink()
    assert real.read_text() == "two"
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.stat().st_ino != before
    assert len(list(tmp_path.iterdir())) == 2
