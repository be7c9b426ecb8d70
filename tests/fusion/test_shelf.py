import pytest
from support.models import small_manifest, write_model

from fusion.errors import InvalidInput
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
