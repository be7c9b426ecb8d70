import numpy as np
import pytest
from support.models import small_manifest, write_model

from fusion.errors import InvalidContract, InvalidInput
from fusion.events import EventStream, bin_events, dt_ns
from fusion.model import load_model
from fusion.samples import read_index


def test_a_time_step_of_zero_is_refused_not_ignored(tmp_path):
    with pytest.raises(InvalidContract, match="dt_s"):
        load_model(write_model(tmp_path)).contract(dt_s=0.0)


def test_an_empty_profile_is_refused_not_ignored(tmp_path):
    with pytest.raises(InvalidContract, match="profile"):
        load_model(write_model(tmp_path)).contract("")


def test_the_callers_time_step_comes_before_the_manifests_contract(tmp_path):
    manifest = {**small_manifest(), "contract": {"dt_s": 0.004}}
    model = load_model(write_model(tmp_path, manifest=manifest))
    assert model.contract().dt_s == 0.004
    assert model.contract(dt_s=0.002).dt_s == 0.002


@pytest.mark.parametrize("dt_s", [1e308, 5e-324])
def test_an_absurd_time_step_is_named(dt_s):
    with pytest.raises(InvalidInput, match="dt_s"):
        dt_ns(dt_s)


def test_values_that_overflow_a_bin_become_infinite_without_a_warning():
    largest = np.finfo(np.float32).max
    stream = EventStream.checked([0, 0], [0, 0], [largest, largest], size=1)
    raster, _ = bin_events(stream, 0.001, 1)
    assert np.isinf(raster).all()


def test_a_model_without_samples_has_an_empty_index(tmp_path):
    assert read_index(write_model(tmp_path)).samples == ()
