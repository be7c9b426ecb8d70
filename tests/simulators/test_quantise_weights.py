"""Bounds on what rounding to eight bits loses; nothing is clipped on the way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from simulators.loihi_arithmetic import stored_weights
from simulators.quantise_weights import ALIGNED, MAGNITUDE_MAX, best_factors, by_sign

sizes = st.floats(1e-6, 1e3) | st.just(0.0)
matrices = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.tuples(sizes, st.sampled_from([-1, 1])).map(lambda pair: pair[0] * pair[1]),
)  # fmt: skip


def made(matrix, ceilings, groups, *, whole=False):
    weights = list(by_sign({("in", 1): sparse.csr_array(matrix)}))
    units = np.ones(len(matrix))
    factors = best_factors(weights, ceilings, groups, units, whole=whole)
    return weights, factors


@given(matrices, st.data())
def test_every_weight_is_within_half_a_unit_and_no_register_passes_its_ceiling(matrix, data):
    count = len(matrix)
    groups = data.draw(arrays(np.int64, count, elements=st.integers(0, 2)))
    groups = np.unique(groups, return_inverse=True)[1]
    largest = max(float(np.abs(matrix).max()), 1e-6)
    # A ceiling as the quantiser sets it: one spike through the largest weight fits 15 bits.
    ceilings = np.full(count, 2**21 / 2 / largest)
    whole = bool(ceilings[0] >= ALIGNED) and data.draw(st.booleans())
    weights, factors = made(matrix, ceilings, groups, whole=whole)
    assert np.all(factors <= ceilings * (1 + 1e-12))
    assert not whole or not np.any(factors % ALIGNED)
    for group in range(groups.max() + 1):
        assert len({*factors[groups == group].tolist()}) == 1
    for one in weights:
        integers, exponent = one.integers(factors)
        assert integers.max() <= MAGNITUDE_MAX
        sign = 1 if one.sign == "excitatory" else -1
        np.testing.assert_array_equal(stored_weights(sign * integers, one.sign, 8), sign * integers)
        unit = 2.0**exponent * ALIGNED / factors[one.post]
        error = np.abs(one.restored(integers, exponent, factors) - one.magnitude)
        assert np.all(error <= unit * (0.5 + 1e-9))


@given(arrays(np.float64, (3, 4), elements=st.integers(-255, 255).map(float)))
def test_whole_weights_stay_what_they_are(matrix):
    weights, factors = made(matrix, np.full(3, 2.0**13), np.zeros(3, np.int64), whole=True)
    for one in weights:
        integers, exponent = one.integers(factors)
        np.testing.assert_array_equal(one.restored(integers, exponent, factors), one.magnitude)


def test_each_kind_of_neuron_fills_the_bits():
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0.5, 1, (4, 50)) * np.array([[1.0], [0.3], [0.05], [0.004]])
    weights, factors = made(matrix, np.full(4, 1e8), np.arange(4))
    integers, _ = weights[0].integers(factors)
    for neuron in range(4):
        assert integers[weights[0].post == neuron].max() > 127
    shared, factors = made(matrix, np.full(4, 1e8), np.zeros(4, np.int64))
    integers, _ = shared[0].integers(factors)
    assert integers[shared[0].post == 3].max() <= 2


def test_sums_are_shifted_to_the_left_where_that_can_be_helped():
    matrix = np.array([[1.0, 0.2], [1.0, 0.5]])
    # The first neuron's input is so large that only a right shift would leave it all bits.
    weights, factors = made(matrix, np.array([2.0**12, 2.0**16]), np.arange(2))
    integers, exponent = weights[0].integers(factors)
    assert exponent == 0
    assert 32 <= integers[weights[0].post == 0].max() <= 64
    assert integers[weights[0].post == 1].max() > 127
