import pytest
from support.models import small_manifest, write_model

from fusion.errors import InvalidInput, InvalidModel
from fusion.shelf import Shelf


def test_models_are_found_by_name_and_digest_and_broken_ones_are_told(tmp_path):
    write_model(tmp_path / "one")
    write_model(tmp_path / "two", manifest=small_manifest() | {"name": "second"})
    write_model(tmp_path / "bad", manifest=small_manifest() | {"labels": []})
    (tmp_path / "notes").mkdir()
    shelf = Shelf(tmp_path)
    assert set(shelf.models) == {"small", "second"}
    assert [path.rsplit("/", 1)[1] for path in shelf.problems] == ["bad"]
    second = shelf.find("second")
    assert second.path == tmp_path / "two"
    assert shelf.find(second.model.digest[:10]) is second


def test_an_unknown_name_lists_the_known(tmp_path):
    write_model(tmp_path / "one")
    with pytest.raises(InvalidInput, match=r"'third' is unknown \(try: small\)"):
        Shelf(tmp_path).find("third")


def test_an_empty_or_missing_folder_has_no_models(tmp_path):
    assert not Shelf(tmp_path / "none").models
    with pytest.raises(InvalidInput, match="unknown"):
        Shelf(tmp_path).find("small")


def test_a_model_is_read_again_from_where_it_was(tmp_path):
    write_model(tmp_path / "one")
    shelf = Shelf(tmp_path)
    before = shelf.find("small")
    write_model(tmp_path / "one", manifest=small_manifest() | {"version": "new"})
    assert shelf.find("small") is before
    assert shelf.load("small").model.manifest.version == "new"
    assert shelf.find("small").model.manifest.version == "new"


def test_a_model_that_broke_or_went_leaves_what_was_read(tmp_path):
    write_model(tmp_path / "one")
    shelf = Shelf(tmp_path)
    before = shelf.find("small")
    (tmp_path / "one" / "graph.nir").write_bytes(b"torn")
    with pytest.raises(InvalidModel, match=r"graph\.nir"):
        shelf.load("small")
    write_model(tmp_path / "one", manifest=small_manifest() | {"name": "renamed"})
    with pytest.raises(InvalidInput, match="'small' is not in the folder"):
        shelf.load("small")
    assert shelf.find("small") is before


def test_a_new_model_is_found_by_its_name_and_a_mended_one_is_no_problem_any_more(tmp_path):
    write_model(tmp_path / "one")
    write_model(tmp_path / "bad", manifest=small_manifest() | {"labels": []})
    shelf = Shelf(tmp_path)
    assert len(shelf.problems) == 1
    with pytest.raises(InvalidModel, match="labels"):
        shelf.load("bad")
    with pytest.raises(InvalidInput, match=r"'third' is not in the folder \(try: small\)"):
        shelf.load("third")
    write_model(tmp_path / "bad", manifest=small_manifest() | {"name": "third"})
    assert shelf.load("third").path == tmp_path / "bad"
    assert not shelf.problems
