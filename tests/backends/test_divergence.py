import numpy as np
import pytest
from support.models import small_graph, write_model

from backends.errors import Diverged
from backends.fuse import fuse
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.errors import InvalidModel
from fusion.events import EventStream
from fusion.model import load_model


def test_a_network_that_diverges_is_named_with_the_step(tmp_path):
    graph = small_graph()
    graph.nodes["cam_li"].tau = np.full(3, 1e-5)  # far below dt: forward Euler overshoots
    model = load_model(write_model(tmp_path, graph))
    contract = model.contract(overrides={"arithmetic": "float32"})
    program = ProgramCache(Registry()).get(model, "numpy", contract)
    events = {"cam": EventStream.checked([0, 5], [0, 1], size=4)}
    with pytest.raises(Diverged, match="cam_out is not a finite number at step"):
        fuse(model, program, contract, [events])


def test_a_model_that_fails_to_compile_leaves_nothing_behind(tmp_path):
    graph = small_graph()
    graph.nodes["cam_lif"].tau = np.full(12, -1.0)
    model = load_model(write_model(tmp_path, graph))
    cache = ProgramCache(Registry())
    with pytest.raises(InvalidModel, match="tau"):
        cache.get(model, "numpy", model.contract())
    assert not cache._compiling
