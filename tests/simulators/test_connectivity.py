"""Weighted connections: the order of additions, and convolutions against SciPy."""

from itertools import product
from typing import Any

import nir
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate
from support.small_graphs import contract, graph, run

from simulators.connectivity import Connection, Propagator
from simulators.operations import MAKERS


def summed(
    weight: NDArray[Any], row: NDArray[Any], dtype: np.dtype[np.floating]
) -> NDArray[np.floating]:
    """Add weight·activity of the active presynaptic neurons, one after the other."""
    total = np.zeros(weight.shape[0], dtype)
    for post, pre in product(range(weight.shape[0]), range(weight.shape[1])):
        if row[pre] != 0 and weight[post, pre] != 0:
            product_ = dtype.type(weight[post, pre]) * dtype.type(row[pre])
            total[post] = total[post] + product_
    return total


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)])
@pytest.mark.parametrize("n_post", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("density", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("graded", [False, True])
def test_inputs_are_added_one_after_the_other(
    dtype: np.dtype[np.floating], n_post: int, density: float, graded: bool
) -> None:
    rng = np.random.default_rng(7)
    for n_pre in (1, 2, 9, 300, 2000):
        weight = rng.normal(size=(n_post, n_pre)) * (rng.random((n_post, n_pre)) < density)
        activity = (rng.random((2, n_pre)) < 0.5).astype(dtype)
        if graded:
            activity *= rng.normal(size=activity.shape).astype(dtype)
        sums = Propagator(Connection.from_matrix(weight), dtype).sums(activity)
        assert sums.dtype == dtype
        for row, total in zip(activity, sums, strict=True):
            assert total.tobytes() == summed(weight, row, dtype).tobytes(), n_pre


@pytest.mark.parametrize("density", [1.0, 0.05])
@pytest.mark.parametrize("n_post", [1, 5])
def test_nothing_but_positive_zero_comes_of_silence_and_of_underflow(
    density: float, n_post: int
) -> None:
    weight = np.zeros((n_post, 40))
    weight[:, : int(40 * density)] = -1e-60
    propagator = Propagator(Connection.from_matrix(weight), np.dtype(np.float32))
    for activity in (np.zeros((1, 40), np.float32), np.ones((1, 40), np.float32)):
        assert not np.signbit(propagator.sums(activity)).any()


def test_an_infinite_activity_reaches_only_the_neurons_it_is_connected_to() -> None:
    propagator = Propagator(Connection.from_matrix(np.array([[1.0], [0.0]])), np.dtype(float))
    assert propagator.sums(np.array([[np.inf]])).tolist() == [[np.inf, 0.0]]


def test_synapses_given_in_any_order_are_sorted_and_zeros_dropped() -> None:
    pre, post = np.array([2, 0, 2, 1]), np.array([1, 0, 0, 1])
    made = Connection.from_triplets(pre, post, np.array([1.0, 2.0, 3.0, 0.0]), 3, 2)
    assert made.pre.tolist() == [0, 2, 2]
    assert made.post.tolist() == [0, 0, 1]
    assert made.weight.tolist() == [2.0, 3.0, 1.0]
    assert made.fan_out().tolist() == [1, 0, 2]


def convolved(node: Any, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Run one convolution or pooling node over one step of input x [channels, *spatial]."""
    shape = MAKERS[type(node).__name__](node, x.shape, contract()).shape
    ends = {"in": nir.Input(np.array(x.shape)), "out": nir.Output(np.array(shape))}
    whole = graph(ends | {"c": node}, "in -> c -> out")
    return run(whole, {"in": x[None, None]}, record=[]).outputs["out"][0, 0]


def expected_convolution(
    x: NDArray[np.float64], weight: NDArray[np.float64], stride: int, pad: Any, groups: int
) -> NDArray[np.float64]:
    """Correlate with SciPy, channel by channel."""
    x = np.pad(x, [(0, 0), *pad])
    inner, outer = weight.shape[1], weight.shape[0] // groups
    maps = []
    for out_channel, kernels in enumerate(weight):
        first = out_channel // outer * inner
        maps.append(
            sum(
                correlate(x[first + n], kernel, mode="valid", method="direct")
                for n, kernel in enumerate(kernels)
            )
        )
    return np.stack(maps)[(slice(None), *(slice(None, None, stride),) * (x.ndim - 1))]


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, "valid", "same"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_scipys_correlation(
    rank: int, stride: int, padding: Any, dilation: int, groups: int
) -> None:
    if padding == "same" and stride > 1:
        return
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, *(8, 7)[:rank]))
    kernel = (3, 2)[:rank]
    weight = rng.normal(size=(4, 2 // groups, *kernel))
    bias = rng.normal(size=4)
    node = (nir.Conv1d if rank == 1 else nir.Conv2d)(
        None, weight, stride, padding, dilation, groups, bias
    )
    wide = np.zeros((*weight.shape[:2], *(dilation * (k - 1) + 1 for k in kernel)))
    wide[(..., *(slice(None, None, dilation),) * rank)] = weight
    pad = [(0, 0)] * rank
    if padding == "same":
        pad = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in wide.shape[2:]]
    elif padding == 1:
        pad = [(1, 1)] * rank
    expected = expected_convolution(x, wide, stride, pad, groups)
    expected += bias.reshape(-1, *[1] * rank)
    np.testing.assert_allclose(convolved(node, x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["SumPool2d", "AvgPool2d"])
@pytest.mark.parametrize("pad", [0, 1])
def test_pooling_adds_or_averages_windows_of_each_channel(kind: str, pad: int) -> None:
    x = np.random.default_rng(5).normal(size=(3, 6, 5))
    node = getattr(nir, kind)(np.array([2, 3]), np.array([2, 1]), np.array([pad, pad]))
    padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad)])
    rows, columns = (padded.shape[1] - 2) // 2 + 1, padded.shape[2] - 3 + 1
    expected = np.array(
        [
            [[channel[2 * r : 2 * r + 2, c : c + 3].sum() for c in range(columns)]
             for r in range(rows)]
            for channel in padded
        ]
    )  # fmt: skip
    expected /= 6 if kind == "AvgPool2d" else 1
    np.testing.assert_allclose(convolved(node, x), expected, rtol=1e-12, atol=1e-12)
