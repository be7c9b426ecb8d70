import numpy as np
import pytest

from fusion.sparse_raster import sparse


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("values", ["ones", "numbers"])
def test_a_dense_raster_comes_back(share, values):
    rng = np.random.default_rng(1)
    dense = (rng.random((2, 5, 3, 2)) < share).astype(np.float32)
    if values == "numbers":
        dense *= rng.normal(size=dense.shape).astype(np.float32)
    raster = sparse(dense)
    assert np.array_equal(np.asarray(raster), dense)
    assert (raster.value is None) == (values == "ones" or share == 0)
    longer = np.asarray(sparse(dense, 3))
    assert np.array_equal(longer[:, :5], dense)
    assert longer.shape == (2, 8, 3, 2)
    assert not longer[:, 5:].any()


def test_channels_ascend_in_every_step():
    raster = sparse(np.ones((1, 2, 2, 2), np.float64))
    assert raster.start.tolist() == [0, 4, 8]
    assert raster.channel.tolist() == [0, 1, 2, 3] * 2
