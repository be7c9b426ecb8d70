import zipfile

import h5py
import nir
import numpy as np
import pytest
from support.models import small_graph, small_manifest, write_model

from fusion.errors import InvalidContract, InvalidModel
from fusion.model import bare_model, load_model


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "small")


def zipped(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, prefix + file.name)
    return path


def test_a_folder_and_its_zip_are_the_same_model(folder, tmp_path):
    digests = {
        load_model(path).digest
        for path in (
            folder,
            zipped(folder, tmp_path / "a.zip"),
            zipped(folder, tmp_path / "b.zip", "small/"),
        )
    }
    assert len(digests) == 1


def test_the_digest_covers_the_manifest(folder):
    before = load_model(folder).digest
    with (folder / "fusion.yaml").open("a") as file:
        file.write("description: changed\n")
    assert load_model(folder).digest != before


def test_other_files_are_no_part_of_the_model(folder):
    before = load_model(folder).digest
    (folder / "README.md").write_text("hello")
    assert load_model(folder).digest == before


def test_attachments_belong_to_the_model(folder, tmp_path):
    before = load_model(folder).digest
    (folder / "chip.npz").write_bytes(b"integers")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "other.npz").write_bytes(b"of no model")
    model = load_model(folder)
    assert model.digest != before
    assert set(model.content) == {"graph.nir", "fusion.yaml", "chip.npz"}
    archive = zipped(folder, tmp_path / "a.zip", "small/")
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("small/deeper/other.npz", b"of no model")
    assert load_model(archive).digest == model.digest


def test_a_graph_in_memory_is_a_model_unlike_any_other():
    assert bare_model(small_graph()).digest != bare_model(small_graph()).digest


def test_a_bare_graph_has_no_manifest_and_no_contract(folder):
    model = load_model(folder / "graph.nir")
    assert model.manifest is None
    with pytest.raises(InvalidContract, match="integrator"):
        model.contract()
    assert model.contract("nir", 1e-4).dt_s == 1e-4


def test_the_caller_overrides_the_manifest(folder):
    model = load_model(folder)
    assert model.contract().dt_s == 0.001
    assert model.contract(dt_s=0.002, overrides={"arithmetic": "float32"}).dt_s == 0.002


def test_a_profile_of_the_caller_replaces_the_manifests_overrides(tmp_path):
    manifest = small_manifest() | {"contract": {"arithmetic": "float32"}}
    model = load_model(write_model(tmp_path / "m", manifest=manifest))
    assert model.contract().arithmetic == "float32"
    assert model.contract(profile="nir").arithmetic == "float64"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": ["one"]}, "fusion.yaml.labels"),
        ({"labels": ["a", "a", "b"]}, "fusion.yaml.labels"),
        ({"labels": ["a", "b"]}, "fusion.yaml.heads.cam.node"),
        ({"window": {"length_s": 0}}, "fusion.yaml.window.length_s"),
        ({"window": {"length_s": "x"}}, "fusion.yaml.window.length_s"),
        ({"window": {"length_s": float("inf")}}, "fusion.yaml.window.length_s"),
        ({"windw": {}}, "fusion.yaml.windw"),
        ({"heads": {}}, "fusion.yaml.heads"),
        ({"version": 1}, "fusion.yaml.version"),
    ],
)
def test_a_wrong_manifest_entry_is_named(tmp_path, change, field):
    with pytest.raises(InvalidModel) as caught:
        load_model(write_model(tmp_path / "m", manifest=small_manifest() | change))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("part", "name", "change", "field"),
    [
        ("sensors", "cam", {"node": "nowhere"}, "fusion.yaml.sensors.cam.node"),
        ("sensors", "cam", {"node": "skin"}, "fusion.yaml.sensors.cam.node"),
        ("sensors", "cam", {"shape": []}, "fusion.yaml.sensors.cam.shape"),
        ("sensors", "cam", {"unit": "samples"}, "fusion.yaml.sensors.cam.encoder"),
        ("sensors", "cam", {"unit": "volts"}, "fusion.yaml.sensors.cam.unit"),
        ("sensors", "cam", {"encoder": {"kind": "x"}}, "fusion.yaml.sensors.cam.encoder.kind"),
        (
            "sensors", "cam", {"shape": [1, 2, 2], "encoder": {"kind": "pool", "factor": 3}},
            "fusion.yaml.sensors.cam.encoder.factor",
        ),
        ("heads", "cam", {"sensor": "nose"}, "fusion.yaml.heads.cam.sensor"),
        ("heads", "cam", {"sensor": "skin"}, "fusion.yaml.heads"),
        ("heads", "cam", {"node": "cam_lif"}, "fusion.yaml.heads.cam.node"),
        ("heads", "cam", {"temperature": 0}, "fusion.yaml.heads.cam.temperature"),
        ("heads", "cam", {"temperature": float("inf")}, "fusion.yaml.heads.cam.temperature"),
        ("heads", "cam", {"reliability": 2}, "fusion.yaml.heads.cam.reliability"),
        ("heads", "cam", {"read_at_s": 1}, "fusion.yaml.heads.cam.read_at_s"),
        ("heads", "cam", {"temprature": 1}, "fusion.yaml.heads.cam.temprature"),
    ],
)  # fmt: skip
def test_a_wrong_sensor_or_head_is_named(tmp_path, part, name, change, field):
    manifest = small_manifest()
    manifest[part][name] |= change
    with pytest.raises(InvalidModel) as caught:
        load_model(write_model(tmp_path / "m", manifest=manifest))
    assert caught.value.field == field


def test_every_input_node_needs_a_sensor(tmp_path):
    manifest = small_manifest()
    del manifest["sensors"]["skin"], manifest["heads"]["skin"]
    with pytest.raises(InvalidModel, match="no sensor drives the Input node 'skin'"):
        load_model(write_model(tmp_path / "m", manifest=manifest))


def test_a_missing_path_a_folder_without_graph_and_a_zip_without_are_named(tmp_path):
    with pytest.raises(InvalidModel, match="does not exist"):
        load_model(tmp_path / "none")
    with pytest.raises(InvalidModel, match=r"graph\.nir"):
        load_model(tmp_path)
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(InvalidModel, match="holds 0 files"):
        load_model(tmp_path / "e.zip")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no_node"])
def test_a_broken_graph_file_is_named(folder, damage):
    path = folder / "graph.nir"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    elif damage == "no_node":
        with h5py.File(path, "w") as file:
            file["version"] = "1.0"
    else:
        path.write_bytes(b"" if damage == "empty" else b"not hdf5")
    with pytest.raises(InvalidModel, match="not a readable NIR file"):
        load_model(folder)


def test_yaml_that_is_none_is_named(folder):
    (folder / "fusion.yaml").write_text("a: [1")
    with pytest.raises(InvalidModel, match="is not YAML"):
        load_model(folder)


def test_the_graph_survives_the_file(folder):
    graph = load_model(folder).graph
    assert set(graph.nodes) == set(small_graph().nodes)
    original = small_graph().nodes["cam_in"]
    assert isinstance(original, nir.Linear)
    np.testing.assert_array_equal(graph.nodes["cam_in"].weight, original.weight)
