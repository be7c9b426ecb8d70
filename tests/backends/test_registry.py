from pathlib import Path

import pytest
import yaml

from backends.base import Backend, EnergyModel, Taint
from backends.errors import InvalidTarget, TargetUnavailable, UnknownTarget
from backends.registry import Registry, read_target

CONFIGS = Path(__file__).parents[2] / "hw_configs"


def described(name, /, **change):
    target = {
        "name": name, "backend": "numpy", "description": "for a test",
        "capabilities": {
            "node_types": ["Input"], "arithmetic": ["float64"], "deterministic": True,
            "stateful": True, "hardware": False,
        },
    }  # fmt: skip
    return target | change


def written(folder, name, /, **change):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(described(name, **change)))
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_target_is_valid(path):
    assert read_target(path).name == path.stem


def test_our_own_backends_come_through_the_entry_points():
    registry = Registry()
    assert set(registry.targets) == {path.stem for path in CONFIGS.glob("*.yaml")}
    for name in registry.targets:
        assert isinstance(registry.backend(name), Backend)
        assert registry.backend(name) is registry.backend(name)


def test_a_later_folder_adds_and_overrides_targets(tmp_path):
    written(tmp_path, "mine")
    written(tmp_path, "numpy", description="another")
    registry = Registry([tmp_path])
    assert "mine" in registry.targets
    assert registry.targets["numpy"].description == "another"


def test_a_target_says_which_nodes_of_a_cluster_can_run_it_and_what_it_takes(tmp_path):
    energy = {
        "model": "mine", "citation": "a data sheet", "pj_per_synaptic_event": 1,
        "pj_per_neuron_update": 2.5, "excludes": ["static"],
    }  # fmt: skip
    where = {"node_label": "chip=mine", "taint": {"key": "chip", "value": "mine"}}
    target = read_target(written(tmp_path, "mine", energy=energy, **where))
    assert target.node_label == "chip=mine"
    assert target.taint == Taint(key="chip", value="mine", effect="NoSchedule")
    assert target.energy == EnergyModel(**energy | {"excludes": ("static",)})
    plain = read_target(written(tmp_path, "plain"))
    assert (plain.node_label, plain.taint, plain.energy) == ("", None, None)
    with pytest.raises(InvalidTarget, match=r"taint\.effect"):
        read_target(written(tmp_path, "bad", taint={"key": "chip", "effect": "Never"}))


def test_an_unknown_target_lists_the_known():
    with pytest.raises(UnknownTarget, match=r"known: .*numpy"):
        Registry().backend("abacus")


def test_a_target_without_installed_backend_is_unavailable_with_a_hint(tmp_path):
    written(tmp_path, "mine", backend="nowhere")
    with pytest.raises(TargetUnavailable) as caught:
        Registry([tmp_path]).backend("mine")
    assert "nowhere" in caught.value.reason
    assert "snn_fusion.backends" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "other"}, r"mine\.yaml\.name"),
        ({"max_run_s": "long"}, r"mine\.yaml\.max_run_s"),
        ({"colour": "red"}, r"mine\.yaml\.colour"),
        ({"capabilities": {}}, r"mine\.yaml\.capabilities"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, change, says):
    with pytest.raises(InvalidTarget, match=says):
        read_target(written(tmp_path, "mine", **change))


def test_what_is_no_yaml_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("[")
    with pytest.raises(InvalidTarget, match=r"mine\.yaml"):
        Registry([tmp_path])
