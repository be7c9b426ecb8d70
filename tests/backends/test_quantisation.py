"""A model with its integers and report attached: made, refused, and found to be out of date."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.models import small_graph, write_model
from support.quantising import NETWORKS, poisson

from backends.contracts import contract_on
from backends.errors import ModelRejected
from backends.fuse import encode, fuse
from backends.loihi import check_loihi, integers_of
from backends.quantisation import QuantisedModel, is_quantised, quantise_model
from backends.quantisation_file import REPORT, quantisation_of
from backends.registry import Registry
from fusion.contract import ExecutionContract, make_contract
from fusion.errors import InvalidInput, InvalidModel
from fusion.events import EventStream
from fusion.model import FusionModel, bare_model, load_model, model_from, with_files
from fusion.saving import save_model

REGISTRY = Registry()
EMULATOR = REGISTRY.target("loihi-emulator")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> FusionModel:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


def recordings(seed: int) -> dict[str, EventStream]:
    draw = np.random.default_rng(seed)
    return {
        name: EventStream.checked(
            np.sort(draw.integers(0, 100_000, 120)), draw.integers(0, size, 120), size=size
        )
        for name, size in (("cam", 4), ("skin", 3))
    }


def encoded(model: FusionModel, seeds: range) -> list:
    contract = contract_on(EMULATOR, model.contract())
    return [encode(model, recordings(seed), contract).rasters() for seed in seeds]


@pytest.fixture(scope="module")
def made(model) -> QuantisedModel:
    return quantise_model(
        model, model.contract(), EMULATOR, encoded(model, range(8)), encoded(model, range(8, 16))
    )


def rejected(model: FusionModel, contract: ExecutionContract, target=EMULATOR) -> set[str]:
    samples = poisson(model.graph)
    with pytest.raises(ModelRejected) as caught:
        quantise_model(model, contract, target, samples)
    return {f"{one.node}: {one.limit}" for one in caught.value.violations}


def test_a_quantised_model_decides_as_its_floats_do(model, made):
    answers = []
    for name, one in (("numpy", model), ("loihi-emulator", made.model)):
        contract = contract_on(REGISTRY.target(name), one.contract())
        program = REGISTRY.backend(name).compile(one, contract)
        asked = [recordings(seed) for seed in range(100, 130)]
        answers.append(fuse(one, program, contract, asked))
    labels = [[answer.windows[0].label for answer in part] for part in answers]
    assert sum(a == b for a, b in zip(*labels, strict=True)) >= 29
    for a, b in zip(*answers, strict=True):
        beliefs = a.windows[0].decision.posterior, b.windows[0].decision.posterior
        np.testing.assert_allclose(*beliefs, atol=0.05)


def test_the_report_is_attached_and_tells_both_agreements(model, made):
    assert is_quantised(made.model)
    assert not is_quantised(model)
    assert made.model.digest != model.digest
    file = quantisation_of(made.model)
    assert file is not None
    assert (file.calibration, file.held_out) == (8, 8)
    assert file.contract["arithmetic"] == "loihi_fixed"
    assert file.loss.measured is not None
    assert abs(file.loss.predicted - file.loss.measured) < 0.02
    assert file.loss.predicted > 0.9


@pytest.mark.parametrize("name", ["made", "made.zip"])
def test_it_is_written_and_read_again_as_any_model(made, tmp_path, name):
    path = tmp_path / "deep" / name
    save_model(made.model, path)
    again = load_model(path)
    assert again.digest == made.model.digest
    assert again.content == made.model.content
    assert [one.name for one in path.parent.iterdir()] == [name]
    with pytest.raises(InvalidInput, match="exists"):
        save_model(made.model, path)


def test_nothing_is_left_of_a_model_that_cannot_be_written(made, tmp_path, monkeypatch):
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("folder", "file.zip"):
        with pytest.raises(OSError, match="No space left"):
            save_model(made.model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_only_models_from_files_are_written(tmp_path):
    with pytest.raises(InvalidInput, match="in memory"):
        save_model(bare_model(small_graph()), tmp_path / "out")


def test_samples_go_along(made, tmp_path):
    source = tmp_path / "source"
    (source / "samples").mkdir(parents=True)
    (source / "samples" / "index.yaml").write_text("attribution: mine\nsamples: []\n")
    save_model(made.model, tmp_path / "out", source)
    assert (tmp_path / "out" / "samples" / "index.yaml").read_text().startswith("attribution")


def test_integers_hold_for_the_contract_they_were_made_for(made):
    own = made.model.contract()
    for changes, field in (
        ({"dt_s": 2e-3}, "contract.dt_s"),
        ({"integrator": "exponential"}, "contract.integrator"),
        ({"input_gain": "unit"}, "contract.input_gain"),
        ({"initial_v": "v_leak"}, "contract.initial_v"),
    ):
        contract = contract_on(EMULATOR, replace(own, **changes))
        (violation,) = check_loihi(made.model, contract, EMULATOR.capabilities)
        assert (violation.node, violation.limit) == (field, "choice")
    loose = contract_on(EMULATOR, replace(own, exact=False, arithmetic_form="decay"))
    assert check_loihi(made.model, loose, EMULATOR.capabilities) == []


def test_integers_of_another_graph_are_refused(model, made, tmp_path):
    other = write_model(tmp_path / "other", small_graph(seed=1))
    stale = {**made.model.content, "graph.nir": (other / "graph.nir").read_bytes()}
    contract = contract_on(EMULATOR, model.contract())
    with pytest.raises(InvalidModel, match="another graph"):
        check_loihi(model_from(stale), contract, EMULATOR.capabilities)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "Expected"),
        (b'{"contract": {}}', "missing required"),
    ],
)
def test_a_damaged_report_is_named(model, made, content, named):
    broken = with_files(made.model, {REPORT: content})
    with pytest.raises(InvalidModel, match=named) as caught:
        quantisation_of(broken)
    assert caught.value.field.startswith(REPORT)


def test_a_report_with_an_impossible_contract_is_named(made):
    content = json.loads(made.model.content[REPORT])
    content["contract"]["reset"] = "never"
    broken = with_files(made.model, {REPORT: json.dumps(content).encode()})
    contract = contract_on(EMULATOR, made.model.contract())
    with pytest.raises(InvalidModel, match="never"):
        check_loihi(broken, contract, EMULATOR.capabilities)


def test_choices_that_the_chip_has_not_are_listed_together():
    model = bare_model(NETWORKS["recurrent"]())
    contract = make_contract(
        "nir", 1e-3,
        {"reset": "subtract_threshold", "spike_condition": ">=", "v_min": 0.0,
         "membrane_reads": "old_current", "synapse_order": "add_then_decay"},
    )  # fmt: skip
    assert rejected(model, contract) == {
        f"contract.{name}: choice"
        for name in ("reset", "spike_condition", "v_min", "membrane_reads", "synapse_order")
    }


def test_what_a_chip_cannot_hold_is_refused():
    model = bare_model(NETWORKS["recurrent"]())
    own = make_contract("nir", 1e-3)
    few = replace(
        EMULATOR, capabilities=replace(EMULATOR.capabilities, cores=1, neurons_per_core=9)
    )
    assert any("cores" in one for one in rejected(model, own, few))
    narrow = replace(EMULATOR, capabilities=replace(EMULATOR.capabilities, max_neurons=30))
    assert any("neurons" in one for one in rejected(model, own, narrow))


def test_nodes_in_the_way_are_all_told():
    graph = NETWORKS["recurrent"]()
    graph.nodes["a"].v_threshold[3] = graph.nodes["a"].v_reset[3]
    graph.nodes["b"].tau_mem[:] = 1e-4
    assert rejected(bare_model(graph), make_contract("nir", 1e-3)) == {
        "a: v_threshold - v_reset",
        "b: decay per step, dt / tau_mem",
    }


def test_targets_in_floats_take_no_integers(model):
    numpy = REGISTRY.target("numpy")
    with pytest.raises(InvalidInput, match="numpy runs floats"):
        quantise_model(model, model.contract(), numpy, encoded(model, range(1)))
    with pytest.raises(InvalidInput, match="one sample at least"):
        quantise_model(model, model.contract(), EMULATOR, [])


def test_quantising_again_replaces_the_integers(made):
    own = made.model.contract()
    again = quantise_model(made.model, own, EMULATOR, encoded(made.model, range(8)))
    assert again.file.loss.measured is None
    assert integers_of(again.model) is not None
    assert {*again.model.content} == {*made.model.content}
