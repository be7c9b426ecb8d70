from dataclasses import replace

import nir
import numpy as np
import pytest
from support.models import small_graph, write_model

from backends.base import Backend
from backends.fuse import encode, fuse
from backends.latency import output_latency
from backends.registry import Registry
from fusion.events import EventStream
from fusion.model import FusionModel, load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> FusionModel:
    graph = small_graph()
    for name in ("cam", "skin"):  # without constants, an earlier start makes no difference
        weights = graph.nodes[f"{name}_w"]
        graph.nodes[f"{name}_w"] = nir.Linear(weights.weight)
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small", graph))


def cam() -> dict[str, EventStream]:
    times = np.arange(0, 100_000, 900)
    return {"cam": EventStream.checked(times, times // 900 % 4, size=4)}


def numpy_backend() -> Backend:
    return Registry().backend("numpy")


def test_outputs_are_late_by_the_weights_before_them(model):
    contract = model.contract(overrides={"feedforward_delay_steps": 1})
    assert output_latency(model, contract) == {"cam_out": 2, "skin_out": 2}
    assert output_latency(model, model.contract()) == {}
    assert encode(model, cam(), contract).inputs["cam"].shape[1] == 102


@pytest.mark.parametrize("readout", ["last", "max", "mean", "count", "first_spike"])
def test_a_late_network_gives_the_answer_of_one_that_is_not(model, readout):
    assert model.manifest is not None
    heads = {
        name: replace(head, readout=readout, read_at_s=0.05 if name == "cam" else None)
        for name, head in model.manifest.heads.items()
    }
    model = replace(model, manifest=replace(model.manifest, heads=heads))
    posteriors = []
    for steps in (0, 1):
        contract = model.contract(overrides={"feedforward_delay_steps": steps})
        program = numpy_backend().compile(model, contract)
        (answer,) = fuse(model, program, contract, [cam()])
        posteriors.append(answer.windows[0].decision.posterior)
    np.testing.assert_array_equal(*posteriors)
    assert answer.steps == 102
