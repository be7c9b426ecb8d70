import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.models import write_model

from backends.base import Backend
from backends.errors import UnknownTarget
from backends.fuse import fuse
from backends.numpy_backend import NumpyBackend
from backends.programs import ProgramCache
from backends.registry import Registry
from fusion.events import EventStream
from fusion.model import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


class CountingBackend(NumpyBackend):
    """The real backend, counting how often it compiles."""

    compiled = 0
    lock = threading.Lock()

    def compile(self, model, contract):
        with self.lock:
            type(self).compiled += 1
        return super().compile(model, contract)


@pytest.fixture
def registry(monkeypatch):
    registry = Registry()
    backend: Backend = CountingBackend(registry.targets["numpy"])
    monkeypatch.setattr(CountingBackend, "compiled", 0)
    monkeypatch.setattr(registry, "backend", lambda _: backend)
    return registry


def test_threads_that_ask_at_once_share_one_compilation(model, registry):
    cache = ProgramCache(registry)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.get, model, "numpy", model.contract()) for _ in range(32)]
    assert len({id(future.result()) for future in asked}) == 1
    assert CountingBackend.compiled == 1


def test_contracts_have_programs_of_their_own_and_the_oldest_makes_room(model, registry):
    cache = ProgramCache(registry, size=2)
    first, second, third = (model.contract(dt_s=dt) for dt in (0.001, 0.002, 0.004))
    for contract in (first, second, first, third, first):
        cache.get(model, "numpy", contract)
    assert CountingBackend.compiled == 3
    cache.get(model, "numpy", second)
    assert CountingBackend.compiled == 4


def test_programs_of_a_dropped_model_are_made_anew(model, registry):
    cache = ProgramCache(registry)
    program = cache.get(model, "numpy", model.contract())
    cache.drop("another digest")
    assert cache.get(model, "numpy", model.contract()) is program
    cache.drop(model.digest)
    assert cache.get(model, "numpy", model.contract()) is not program


def test_an_unknown_target_is_not_remembered(model):
    cache = ProgramCache(Registry())
    for _ in range(2):
        with pytest.raises(UnknownTarget):
            cache.get(model, "abacus", model.contract())


def recordings(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 100_000, 200))
    return {
        "cam": EventStream.checked(times, rng.integers(0, 4, 200), size=4),
        "skin": EventStream.checked(times, rng.integers(0, 3, 200), size=3),
    }


def test_neighbours_in_a_batch_change_nothing(model):
    contract = model.contract()
    program = ProgramCache(Registry()).get(model, "numpy", contract)
    sets = [recordings(seed) for seed in range(4)]
    together = fuse(model, program, contract, sets, record=["all"])
    for one, answer in zip(sets, together, strict=True):
        (alone,) = fuse(model, program, contract, [one], record=["all"])
        assert alone.counts == answer.counts
        assert alone.windows[0].decision.posterior.tobytes() == (
            answer.windows[0].decision.posterior.tobytes()
        )
        for key, values in alone.recorded.items():
            np.testing.assert_array_equal(values, answer.recorded[key])
    assert fuse(model, program, contract, []) == []


def test_the_order_of_modalities_changes_nothing(model):
    contract = model.contract()
    program = ProgramCache(Registry()).get(model, "numpy", contract)
    forward = recordings(1)
    backward = dict(reversed(forward.items()))
    first, second = fuse(model, program, contract, [forward, backward])
    assert first.windows[0].decision.posterior.tobytes() == (
        second.windows[0].decision.posterior.tobytes()
    )
    assert first.windows[0].quality == second.windows[0].quality
