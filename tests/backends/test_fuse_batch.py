"""Windows that share a run: what goes wrong with one of them is no matter to the others."""

import nir
import numpy as np
import pytest
from support.models import small_graph, write_model

from backends.base import Program
from backends.errors import Diverged, RunFailed, RunTimeout
from backends.fuse import FusedAnswer, fuse, run_batch
from backends.numpy_backend import NumpyBackend
from backends.registry import Registry
from fusion.errors import InvalidInput
from fusion.events import EventStream
from fusion.model import load_model
from fusion.window import encode_window

LARGEST = float(np.finfo(np.float32).max)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The small model, with a camera whose population does not spike, so that numbers may grow."""
    graph = small_graph()
    ones = np.ones(12)
    graph.nodes["cam_lif"] = nir.LI(tau=ones * 0.02, r=ones * 1e3, v_leak=ones * 0)
    return load_model(write_model(tmp_path_factory.mktemp("models") / "growing", graph))


@pytest.fixture(scope="module")
def contract(model):
    return model.contract(overrides={"arithmetic": "float32"})


@pytest.fixture
def program(model, contract):
    return NumpyBackend(Registry().targets["numpy"]).compile(model, contract)


def window(model, contract, *values):
    times = [500] * len(values)
    cam = EventStream.checked(times, [1] * len(values), list(values), size=4)
    return encode_window(model, {"cam": cam}, contract)


class Faulty(Program):
    """A program that breaks off where an input holds a certain number."""

    def __init__(self, inner: Program, poison: float, error: Exception) -> None:
        self.inner = inner
        self.poison = poison
        self.error = error
        self.sizes = []

    def run(self, batch, state=None, record=(), deadline_s=None):
        activity = np.asarray(batch["cam"])
        self.sizes.append(len(activity))
        if (activity == self.poison).any():
            raise self.error
        return self.inner.run(batch, state, record, deadline_s)


def test_divergence_and_an_infinite_input_are_their_own(model, contract, program):
    numbers = [(1,), (LARGEST,), (LARGEST, LARGEST), (2,)]
    windows = [window(model, contract, *values) for values in numbers]
    good, diverged, infinite, too = run_batch(model, program, contract, windows)
    assert isinstance(good, FusedAnswer)
    assert isinstance(too, FusedAnswer)
    assert isinstance(diverged, Diverged)
    assert isinstance(infinite, InvalidInput)
    for values, error in zip(numbers[1:3], (diverged, infinite), strict=True):
        (alone,) = run_batch(model, program, contract, [window(model, contract, *values)])
        assert str(alone) == str(error)


def test_divergence_leaves_the_rest_of_its_run_alone(model, contract, program):
    counted = Faulty(program, 13, RunFailed("unused"))
    windows = [window(model, contract, value) for value in (1, LARGEST, 2)]
    outcomes = run_batch(model, counted, contract, windows)
    assert [type(one) for one in outcomes] == [FusedAnswer, Diverged, FusedAnswer]
    assert counted.sizes == [3]


@pytest.mark.parametrize("error", [RunFailed("the child has ended"), ZeroDivisionError()])
def test_after_a_run_that_broke_off_each_runs_alone(model, contract, program, error):
    faulty = Faulty(program, 13, error)
    windows = [window(model, contract, value) for value in (1, 13, 2)]
    good, bad, too = run_batch(model, faulty, contract, windows)
    assert bad is error
    assert faulty.sizes == [3, 1, 1, 1]
    for outcome, value in ((good, 1), (too, 2)):
        (alone,) = run_batch(model, program, contract, [window(model, contract, value)])
        assert outcome.counts == alone.counts


def test_after_a_deadline_nothing_runs_again(model, contract, program):
    faulty = Faulty(program, 13, RunTimeout("it", 1.0))
    windows = [window(model, contract, value) for value in (1, 13)]
    outcomes = run_batch(model, faulty, contract, windows, deadline_s=1.0)
    assert [type(one) for one in outcomes] == [RunTimeout, RunTimeout]
    assert faulty.sizes == [2]


def test_fuse_raises_what_went_wrong(model, contract, program):
    cam = EventStream.checked([500], [1], [LARGEST], size=4)
    with pytest.raises(Diverged):
        fuse(model, program, contract, [{"cam": cam}])
    assert fuse(model, program, contract, []) == []
