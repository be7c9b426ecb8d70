"""Stored models: what is there, what never changes, and what becomes of what is damaged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.stored import aged, files, made

from fusion.errors import Conflict, Damaged, InvalidInput, InvalidModel, StoreFailed, StoreFull
from fusion.limits import ModelLimits
from fusion.model import model_from
from fusion.objects import FolderObjects
from fusion.records import Index
from fusion.store import ModelStore


@pytest.fixture
def store(tmp_path):
    return ModelStore(FolderObjects(tmp_path / "store"))


def another(store):
    """A store on the same place, as another process has it."""
    return ModelStore(store.objects)


def keys(store):
    return {key for part in ("models", "files", ".parts") for key in store.objects.listing(part)}


def test_what_is_stored_is_read_again_by_anyone(store):
    version, new = store.add(made())
    assert new
    assert (version.name, version.version, version.digest) == ("small", "1", made().digest)
    found = another(store).index().find("small", "1")
    assert found == version
    again = another(store).read(found)
    assert again.digest == made().digest
    assert again.content == made().content


def test_a_store_that_was_never_written_is_empty_and_makes_no_folder(store):
    assert store.index() == Index()
    assert store.sweep() == ()
    assert not store.objects._root.exists()


def test_the_same_model_again_is_the_same_version(store):
    first, _ = store.add(made())
    before = keys(store)
    again, new = another(store).add(made())
    assert (again, new) == (first, False)
    assert keys(store) == before


def test_a_version_never_changes(store):
    store.add(made())
    with pytest.raises(Conflict, match=f"digest is {made().digest[:12]}"):
        another(store).add(made(seed=1))
    assert another(store).index().find("small", "1").digest == made().digest
    assert len(store.objects.listing("files")) == 1


def test_versions_are_ordered_as_they_were_stored_whatever_the_clocks_say(store, monkeypatch):
    store.add(made(version="b"))
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000)  # a machine whose clock is far behind
    another(store).add(made(version="a"))
    assert [one.label for one in store.index().versions["small"]] == ["b", "a"]


def test_a_bare_graph_is_told_by_its_digest(store):
    bare = model_from({"graph.nir": files()["graph.nir"]})
    version, _ = store.add(bare)
    assert (version.name, version.version, version.label) == (bare.name, "", bare.digest)
    assert store.read(store.index().find(bare.name, bare.digest)).digest == bare.digest


@pytest.mark.parametrize(
    ("name", "version", "field"),
    [("../up", "1", "name"), ("a/b", "1", "name"), ("a:b", "1", "name"), ("", "1", "name"),
     ("ü", "1", "name"), ("x" * 101, "1", "name"), ("small", "..", "version"),
     ("small", "1@2", "version"), ("small", "", "version"), ("small", "1\n", "version")],
)  # fmt: skip
def test_names_that_are_no_part_of_an_address_are_refused(store, name, version, field):
    model = made()
    strange = replace(model, manifest=replace(model.manifest, name=name, version=version))
    with pytest.raises(InvalidModel) as caught:
        store.add(strange)
    assert caught.value.field == f"fusion.yaml.{field}"
    assert not keys(store)


def test_a_model_as_large_as_may_be_can_be_read_again(tmp_path):
    content = files()
    size = sum(map(len, content.values()))
    store = ModelStore(FolderObjects(tmp_path), ModelLimits(file_bytes=size))
    version, _ = store.add(model_from(content))
    assert version.size_bytes > size
    assert store.read(version).digest == version.digest


def test_an_alias_leads_to_a_version_until_it_is_set_anew(store):
    store.add(made())
    store.add(made(version="2"))
    store.set_alias("small", "production", "1")
    assert another(store).index().aliases == {"small": {"production": "1"}}
    another(store).set_alias("small", "production", "2")
    assert store.index().aliases == {"small": {"production": "2"}}
    store.remove_alias("small", "production")
    assert another(store).index().aliases == {}
    with pytest.raises(InvalidInput, match="no alias 'production'"):
        store.remove_alias("small", "production")
    with pytest.raises(InvalidInput, match=r"no version '3' \(try: 1, 2\)"):
        store.set_alias("small", "production", "3")
    with pytest.raises(InvalidModel, match="alias"):
        store.set_alias("small", "a/b", "1")


def test_a_version_that_an_alias_leads_to_stays(store):
    store.add(made())
    store.set_alias("small", "production", "1")
    with pytest.raises(Conflict, match="'production' leads to version '1'"):
        store.remove("small", "1")
    store.remove_alias("small", "production")
    store.remove("small", "1")
    assert another(store).index() == Index()


def test_what_is_not_there_is_not_removed(store):
    store.add(made())
    with pytest.raises(InvalidInput, match="no version '2'"):
        store.remove("small", "2")
    with pytest.raises(InvalidInput, match="no model 'other'"):
        store.remove("other", "1")
    with pytest.raises(InvalidInput, match="no model 'other'"):
        store.remove_all("other")
    for strange in ("../../files", "1.json/../1", "/etc/passwd"):
        with pytest.raises(InvalidInput):
            store.remove("small", strange)
    assert store.index().find("small", "1")


def test_a_whole_model_is_removed_with_its_aliases(store):
    store.add(made())
    store.add(made(version="2"))
    store.add(made("small.more"))
    store.set_alias("small", "production", "1")
    assert sorted(another(store).remove_all("small")) == ["1", "2"]
    index = store.index()
    assert set(index.versions) == {"small.more"}
    assert index.aliases == {}


def test_a_removed_version_says_so_and_can_be_stored_anew(store):
    version, _ = store.add(made())
    store.remove("small", "1")
    assert store.read(version).digest == version.digest  # whoever still needs it
    aged(store.objects._root)
    assert store.sweep() == (version.file_key,)
    with pytest.raises(InvalidInput, match="'small' was deleted"):
        another(store).read(version)
    again, new = store.add(made(seed=1))
    assert new
    assert another(store).read(again).digest == made(seed=1).digest


def test_files_without_a_record_are_swept_up_once_they_are_old(store):
    kept, _ = store.add(made())
    gone, _ = store.add(made(version="2"))
    store.remove("small", "2")
    (store.objects._root / ".parts").mkdir(exist_ok=True)
    half = store.objects._root / ".parts" / "half"
    half.write_bytes(b"half of a model")
    assert store.sweep() == ()
    assert half.exists()
    aged(store.objects._root)
    assert another(store).sweep() == (gone.file_key,)
    assert not half.exists()
    assert store.read(kept).digest == kept.digest


def test_nothing_is_swept_up_while_a_record_cannot_be_read(store):
    version, _ = store.add(made())
    (store.objects._root / version.key).write_bytes(b"torn")
    aged(store.objects._root)
    assert store.sweep() == ()
    assert version.file_key in store.objects.listing("files")


@pytest.mark.parametrize("content", [b"", b"torn", b"0" * 64 + b"\n{}\n"])
def test_a_damaged_record_is_told_not_used_and_mended_by_an_upload(store, content):
    version, _ = store.add(made())
    (store.objects._root / version.key).write_bytes(content)
    index = another(store).index()
    assert index.versions == {}
    assert "not what was written" in str(index.problems[version.key])
    again, new = store.add(made())
    assert new
    assert another(store).index().versions == {"small": (again,)}


def test_a_damaged_record_can_be_removed(store):
    version, _ = store.add(made())
    (store.objects._root / version.key).write_bytes(b"torn")
    another(store).remove("small", "1")
    assert store.index() == Index()


def test_a_single_bit_in_a_record_is_noticed(store):
    version, _ = store.add(made())
    path = store.objects._root / version.key
    data = path.read_bytes()
    for at in range(0, len(data) - 1, 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        index = another(store).index()
        assert index.versions == {}, at
        assert version.key in index.problems


def test_a_record_under_another_name_is_told(store):
    version, _ = store.add(made())
    other = store.objects._root / version.key.replace("small", "large")
    other.parent.mkdir(parents=True)
    other.write_bytes((store.objects._root / version.key).read_bytes())
    index = store.index()
    assert set(index.versions) == {"small"}
    assert "belongs under" in str(index.problems["models/large/versions/1.json"])


def test_files_that_are_none_of_the_stores_are_left_alone(store):
    store.add(made())
    root = store.objects._root
    for name in ("models/notes.txt", "models/small/README", "models/.x/versions/1.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("hello")
    index = store.index()
    assert set(index.versions) == {"small"}
    assert not index.problems


@pytest.mark.parametrize("damage", ["missing", "cut", "bit", "other"])
def test_a_damaged_file_is_told_never_served_and_mended_by_an_upload(store, damage):
    version, _ = store.add(made())
    path = store.objects._root / version.file_key
    data = path.read_bytes()
    other, _ = store.add(made(version="2"))
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "bit":
        path.write_bytes(data[:99] + bytes([data[99] ^ 1]) + data[100:])
    else:
        path.write_bytes((store.objects._root / other.file_key).read_bytes())
    for read in (another(store).read, another(store).file):
        with pytest.raises(Damaged, match=r"small:1: its file .*upload the model again"):
            read(version)
    assert store.add(made()) == (version, False)
    assert another(store).read(version).digest == version.digest


def test_of_many_writers_of_one_version_one_wins_and_the_others_are_told(store):
    models = [made(seed=seed) for seed in range(4)] * 2

    def add(model):
        try:
            return another(store).add(model)[0].digest, model.digest
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(add, models))
    (winner,) = {one[0] for one in told if one}
    assert all(one is None or one == (winner, winner) for one in told)
    assert [one is not None for one in told] == [model.digest == winner for model in models]
    assert store.read(store.index().find("small", "1")).digest == winner


def test_a_switch_is_another_one_each_time(store):
    store.switch("a model/of any name", unloaded=True)
    first = another(store).index().switches["a model/of any name"]
    assert first.unloaded
    store.switch("a model/of any name", unloaded=True)
    assert another(store).index().switches["a model/of any name"] != first


def test_a_place_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = ModelStore(FolderObjects(tmp_path / "file" / "store"))
    with pytest.raises(StoreFailed, match="store: cannot be used: Not a directory"):
        store.add(made())
    assert store.index() == Index()


class _Full(FolderObjects):
    def replace(self, key, data):
        raise OSError(28, "No space left on device")


def test_a_full_place_is_told(tmp_path):
    with pytest.raises(StoreFull, match="has no room: No space left on device"):
        ModelStore(_Full(tmp_path)).add(made())
