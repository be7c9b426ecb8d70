"""The compiled engine against the reference: every output, record, state and count, bit for bit."""

import threading

import nir
import numpy as np
import pytest
from support.agreement import EVERYTHING, Tally
from support.equality import differences
from support.profiles import FLOAT_PROFILES
from support.random_graphs import Case, cases
from support.small_graphs import chain, contract, filled, graph

from fusion.errors import InvalidInput
from fusion.sparse_raster import SparseRaster
from simulators.compiled import CompiledEngine
from simulators.compiled_layout import Form
from simulators.compiled_weights import WeightPools, integer_scale
from simulators.connectivity import Connection
from simulators.draft import Source
from simulators.operations import Passing, Weights
from simulators.plan import Plan, PlanNode, make_plan
from simulators.reference import ReferenceEngine


def agreement(chosen: list[Case]) -> Tally:
    tally = Tally()
    for case in chosen:
        tally.take(case, CompiledEngine(case.plan).run(case.inputs, record=["all"]))
    print(tally)
    assert tally.mismatches == []
    return tally


@pytest.mark.parametrize("profile", FLOAT_PROFILES)
def test_every_profile_gives_the_bits_of_the_reference(profile):
    agreement(cases(5, 100, profile))


@pytest.mark.parametrize("first_seed", [50_000, 51_000])
def test_random_graphs_give_the_bits_of_the_reference(first_seed):
    tally = agreement(cases(100, first_seed))
    assert EVERYTHING - set(tally.features) == set()


@pytest.mark.full
@pytest.mark.parametrize("first_seed", range(60_000, 80_000, 1000))
def test_thousands_of_random_graphs_give_the_bits_of_the_reference(first_seed):
    agreement(cases(100, first_seed))


def test_state_goes_in_and_out_anywhere():
    for case in cases(40, 55_000):
        engine, reference = CompiledEngine(case.plan), ReferenceEngine(case.plan)
        head = {name: raster[:, :17] for name, raster in case.inputs.items()}
        tail = {name: raster[:, 17:] for name, raster in case.inputs.items()}
        first = engine.run(head)
        assert differences(first, reference.run(head)) == []
        # Either engine goes on from the other's state.
        ours = engine.run(tail, reference.run(head).state, ["all"])
        assert differences(ours, reference.run(tail, first.state, ["all"])) == []


def layer(weight, arithmetic="float32", **choices):
    """Lines into LIF neurons that keep what arrives for a while."""
    post, pre = np.shape(weight)
    lif = filled("LIF", post, tau=0.01, r=10.0, v_leak=0.0, v_threshold=40.0, v_reset=0.0)
    nodes = {
        "in": nir.Input(np.array([pre])),
        "w": nir.Linear(np.asarray(weight, float)),
        "lif": lif,
        "out": nir.Output(np.array([post])),
        "sums": nir.Output(np.array([post])),
    }
    network = graph(nodes, "in -> w -> lif -> out", "w -> sums")
    return make_plan(network, contract(arithmetic=arithmetic, **choices))


def same(plan, inputs, **options):
    expected = ReferenceEngine(plan).run(inputs, record=["all"], **options)
    found = CompiledEngine(plan).run(inputs, record=["all"], **options)
    assert differences(found, expected) == []
    return found


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
@pytest.mark.parametrize("post", [1, 2, 15, 16, 17, 63, 64, 65, 100, 128, 129, 200, 513])
def test_populations_of_any_width(post, arithmetic):
    rng = np.random.default_rng(post)
    for weight in (rng.normal(0, 20, (post, 70)), rng.integers(-127, 128, (post, 70))):
        plan = layer(weight, arithmetic)
        raster = rng.random((2, 30, 70)) < 0.1
        assert same(plan, {"in": raster}).counts.spikes["lif"].sum() > 0


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_integer_weights_at_their_bound(arithmetic):
    # 700 rows of 127 leave int16 twice; with both signs the sums come back to small numbers.
    for weight in (np.full((33, 700), 127), np.full((33, 700), -127), np.full((33, 700), 1)):
        plan = layer(weight, arithmetic)
        found = same(plan, {"in": np.ones((1, 3, 700), bool)})
        assert found.outputs["sums"][0, 0, 0] == weight[0, 0] * 700
    signs = np.where(np.arange(700) % 2, 127, -127) * np.ones((33, 1))
    same(layer(signs, arithmetic), {"in": np.ones((1, 3, 700), bool)})


def sum_of_layers(first, second, **choices):
    """Two sets of lines into the same LIF neurons, whose spikes come back a step later."""
    post = len(first)
    lif = filled("LIF", post, tau=0.01, r=10.0, v_leak=0.0, v_threshold=40.0, v_reset=0.0)
    nodes = {
        "in": nir.Input(np.array([first.shape[1]])),
        "scaled": nir.Scale(np.full(first.shape[1], 1.5)),
        "a": nir.Linear(first),
        "b": nir.Linear(second),
        "loop": nir.Affine(second[:, :post], np.full(post, 0.1)),
        "lif": lif,
        "out": nir.Output(np.array([post])),
    }
    network = graph(
        nodes, "in -> a -> lif -> out", "in -> scaled -> b -> lif", "lif -> loop -> lif"
    )
    return make_plan(network, contract(**choices))


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
@pytest.mark.parametrize("form", ["rows", "integers", "synapses", "equal"])
def test_weights_that_meet_keep_their_own_sums(form, arithmetic):
    # Sums of 300 rows of 127 leave int16 in the middle of what they are added to.
    rng = np.random.default_rng(6)
    one, two = rng.normal(0, 20, (33, 300)), rng.integers(-127, 128, (33, 300)) / 3
    if form == "integers":
        one, two = np.full((33, 300), 127.0), two * 3
    elif form != "rows":
        one = np.where(rng.random(one.shape) < 0.05, one if form == "synapses" else 7.7, 0)
    plan = sum_of_layers(one, two, arithmetic=arithmetic)
    for rate in (0.0, 0.1, 1.0):
        raster = rng.random((2, 20, 300)) < rate
        assert same(plan, {"in": raster}).counts.spikes["lif"].sum() > 0 or rate == 0
    graded = rng.normal(1, 0.3, (2, 20, 300)) * (rng.random((2, 20, 300)) < 0.2)
    same(plan, {"in": graded})


def test_the_target_of_a_synapse_takes_16_bits_where_they_are_enough():
    rng = np.random.default_rng(7)
    for post in (65_536, 65_537):
        pre = np.repeat(np.arange(4), 500)
        targets = rng.choice(post, 2000, replace=False)
        targets[[0, 500]] = 0, post - 1
        for weight in (rng.normal(size=2000), np.repeat(rng.normal(size=4), 500)):
            connection = Connection.from_triplets(pre, targets, weight, 4, post)
            stored = WeightPools(np.dtype(float)).add(connection)
            assert stored.narrow == (post == 65_536)
            assert stored.form == (Form.EQUAL if np.ptp(weight[:500]) == 0 else Form.SYNAPSES)
            plan = Plan(
                (
                    PlanNode("in", "Input", (4,), Passing(), ()),
                    PlanNode("w", "Linear", (post,), Weights(connection, None), (Source("in", 0),)),
                    PlanNode("out", "Output", (post,), Passing(), (Source("w", 0),)),
                ),
                contract(arithmetic="float64"),
            )
            same(plan, {"in": rng.random((1, 4, 4)) < 0.7})


def test_integers_are_kept_only_where_no_bit_can_change():
    def form(weight, dtype=np.float32):
        return WeightPools(np.dtype(dtype)).add(Connection.from_matrix(np.asarray(weight))).form

    whole = np.random.default_rng(0).integers(1, 128, (20, 30)).astype(float)
    whole[0, 0] = 127
    assert form(whole) == Form.INTEGERS
    assert form(whole / 64) == Form.INTEGERS
    assert form(whole / 10) == Form.ROWS
    whole[3, 4] = 200
    assert form(whole) == Form.ROWS
    assert form(np.where(whole < 12, whole, 0)) == Form.SYNAPSES
    # As float32 the weight would be lost among the zeros of absent synapses.
    whole[0, 0] = 1e-60
    assert (form(whole), form(whole, np.float64)) == (Form.SYNAPSES, Form.ROWS)


def test_integers_need_sums_that_a_float_holds():
    weight = np.full(5, 127.0, np.float32)
    assert integer_scale(weight, 66_000) == 1.0
    assert integer_scale(weight, 67_000) is None
    assert integer_scale(weight.astype(float), 67_000) == 1.0
    assert integer_scale(np.array([2.0**-80, 2.0**-81], np.float32), 2) is None
    assert integer_scale(np.array([np.inf], np.float32), 2) is None


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_weighted_activity_takes_the_same_rounding(arithmetic):
    rng = np.random.default_rng(5)
    graded = rng.normal(1, 0.3, (2, 20, 90)) * (rng.random((2, 20, 90)) < 0.2)
    for weight in (rng.normal(0, 20, (140, 90)), rng.integers(-127, 128, (140, 90)) / 8):
        same(layer(weight, arithmetic), {"in": graded})
        same(layer(weight, arithmetic), {"in": np.rint(graded * 3).astype(np.int16)})


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_activity_that_overflows(arithmetic):
    # The membrane of an I diverges; what is connected becomes infinite, what is not stays finite.
    weight = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    for matrix in (weight, weight / 3, np.pad(weight, ((0, 60), (0, 0)))):
        post = len(matrix)
        network = chain(
            nir.Scale(np.array([3e38, 1.0])),
            filled("I", 2, r=1e36),
            nir.Linear(matrix),
            filled("LI", post, tau=0.01, r=1.0, v_leak=0.0),
            size=2,
            out=post,
        )
        plan = make_plan(network, contract(arithmetic=arithmetic, if_gain="r"))
        inputs = {"in": np.full((1, 400, 2), 1e30)}
        with np.errstate(all="ignore"):
            expected = ReferenceEngine(plan).run(inputs, record=["all"])
        found = CompiledEngine(plan).run(inputs, record=["all"])
        for name, values in expected.recorded.items():
            np.testing.assert_array_equal(found.recorded[name], values)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int8, np.int64, np.float16, np.float32])
def test_rasters_of_any_type_mean_their_numbers(kind):
    rng = np.random.default_rng(1)
    raster = (rng.random((3, 40, 70)) < 0.07).astype(kind)
    plan = layer(rng.normal(0, 20, (30, 70)))
    expected = ReferenceEngine(plan).run({"in": raster.astype(float)})
    for given in (raster, raster[:, ::-1][:, ::-1], np.asfortranarray(raster)):
        assert differences(CompiledEngine(plan).run({"in": given}), expected) == []
    frozen = np.frombuffer(b"x" + raster.tobytes(), kind, offset=1).reshape(raster.shape)
    assert differences(CompiledEngine(plan).run({"in": frozen}), expected) == []


def test_what_rounds_to_zero_is_silent_and_minus_zero_is_zero():
    plan = layer(np.random.default_rng(2).normal(0, 20, (30, 4)), feedforward_delay_steps=1)
    same(plan, {"in": np.array([[[1e-60, -0.0, 2.0, -1e-60]]]).repeat(5, axis=1)})


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
def test_nothing_to_do(shape):
    plan = layer(np.ones((3, 4)))
    same(plan, {"in": np.zeros((*shape, 4))})


def sparse(raster):
    """Return the lists of what is active in a raster [batch, steps, lines]."""
    rows = raster.reshape(-1, raster.shape[2])
    row, channel = np.nonzero(rows)
    start = np.searchsorted(row, np.arange(len(rows) + 1))
    value = rows[row, channel]
    return SparseRaster(
        raster.shape,
        start.astype(np.int64),
        channel.astype(np.int32),
        None if np.all(value == 1) else value,
    )


@pytest.mark.parametrize("graded", [False, True])
def test_lists_of_what_is_active_run_like_their_raster(graded):
    rng = np.random.default_rng(3)
    raster = (rng.random((3, 40, 70)) < 0.07) * (rng.normal(size=(3, 40, 70)) if graded else 1.0)
    lists = sparse(raster)
    assert np.array_equal(np.asarray(lists), raster.astype(np.asarray(lists).dtype))
    plan = layer(rng.normal(0, 20, (30, 70)), "float64")
    for engine in (ReferenceEngine(plan), CompiledEngine(plan)):
        assert differences(engine.run({"in": lists}), engine.run({"in": raster})) == []


def test_what_a_list_holds_may_round_to_zero():
    lists = SparseRaster(
        (1, 2, 4), np.array([0, 2, 3]), np.array([0, 3, 1], np.int32), np.array([1e-60, 2.0, 0.0])
    )
    plan = layer(np.random.default_rng(2).normal(0, 20, (30, 4)))
    assert same(plan, {"in": lists}).counts.synaptic_events.tolist() == [30]


@pytest.mark.parametrize(
    ("start", "channel", "value"),
    [
        ([0, 2], [1, 1], None),
        ([0, 2], [2, 1], None),
        ([0, 2], [1, 9], None),
        ([0, 2], [-1, 1], None),
        ([0, 3], [1, 2], None),
        ([1, 2], [1, 2], None),
        ([2, 0], [1, 2], None),
        ([0], [], None),
        ([0, 2], [1, 2], [1.0]),
        ([0, 2], [1, 2], [1.0, np.nan]),
    ],
)
def test_lists_that_are_not_in_order_are_refused_by_name(start, channel, value):
    lists = SparseRaster(
        (1, 1, 4), np.array(start, np.int64), np.array(channel, np.int32),
        None if value is None else np.array(value),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match=r"inputs\.in: its lists are not in order"):
        CompiledEngine(layer(np.ones((3, 4)))).run({"in": lists})


def test_what_does_not_fit_is_named_as_the_reference_names_it():
    plan = layer(np.ones((3, 4)))
    bad = np.zeros((2, 5, 4))
    bad[1, 3, 2] = np.inf
    for inputs in ({"in": bad}, {}, {"in": bad[..., :3]}, {"in": bad.astype(str)}, {"in": bad[0]}):
        messages = []
        for engine in (ReferenceEngine(plan), CompiledEngine(plan)):
            with pytest.raises(InvalidInput) as caught:
                engine.run(inputs)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_several_threads_run_one_engine_at_once():
    rng = np.random.default_rng(4)
    plan = layer(rng.normal(0, 20, (300, 200)))
    engine = CompiledEngine(plan)
    rasters = [rng.random((2, 100, 200)) < 0.05 for _ in range(8)]
    expected = [engine.run({"in": raster}, record=["all"]) for raster in rasters]
    found = [None] * 8

    def work(n):
        for _ in range(20):
            found[n] = engine.run({"in": rasters[n]}, record=["all"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(differences(*pair) == [] for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("lines", [24, 64, 70, 130])
@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32, np.float64, np.int64])
def test_rasters_of_any_width_and_density(lines, kind):
    rng = np.random.default_rng(lines)
    plan = layer(rng.integers(-9, 10, (20, lines)))
    for rate in (0.02, 0.5, 1.0):
        raster = (rng.random((2, 9, lines)) < rate).astype(kind)
        same(plan, {"in": raster})
        if kind is not bool:
            # Whatever is no spike may come last, behind all that was taken for spikes.
            raster[-1, -1, -1] = 3
            same(plan, {"in": raster})


def test_threads_that_share_a_batch_change_no_bit(monkeypatch):
    monkeypatch.setattr("simulators.compiled.WORTH_SHARING", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(3)))
    for case in cases(12, 57_000):
        inputs = {name: np.repeat(raster, 2, axis=0) for name, raster in case.inputs.items()}
        found = CompiledEngine(case.plan, threads=3).run(inputs, record=["all"])
        assert differences(found, CompiledEngine(case.plan).run(inputs, record=["all"])) == []
