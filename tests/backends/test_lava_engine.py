"""Our integers against Lava's own process models and runtime."""

import os

import numpy as np
import pytest
from support.lava import installed
from typer.testing import CliRunner

from api.cli import app
from backends import lava_fuzz
from backends.lava_engine import LavaEngine, lava_host
from backends.lava_fuzz import Coverage, first_difference, fuzz
from simulators.loihi import LoihiEngine
from simulators.loihi_random import random_network

FIRST = int(os.environ.get("SNN_FUSION_TEST_SEED", "20000"))
"""First seed; CI may name another one."""


@pytest.fixture(scope="module")
def python():
    return installed()


def agree(python, seeds, *, runtime):
    coverage = Coverage()
    different = [d for d in fuzz(python, seeds, runtime=runtime, coverage=coverage) if d]
    print(coverage)
    assert not different, "\n".join(map(str, different))
    assert coverage.networks == len(seeds)
    assert coverage.spikes
    return coverage


def test_a_few_networks_equal_lavas_process_models(python):
    agree(python, range(FIRST, FIRST + 8), runtime=False)


def test_a_network_equals_lavas_runtime(python):
    agree(python, range(FIRST, FIRST + 2), runtime=True)


@pytest.mark.full
@pytest.mark.parametrize("part", range(5))
def test_hundreds_of_networks_equal_lavas_process_models(python, part):
    first = FIRST + 100 * part
    coverage = agree(python, range(first, first + 100), runtime=False)
    assert coverage.spiking > 0.8 * coverage.populations
    assert {"Dense", "Sparse", "Conv", "delayed Dense", "delayed Sparse", "graded", "loops",
            "periodic resets", "decays of every neuron", "sign mode None", "sign mode mixed",
            "sign mode inhibitory", "sign mode excitatory"} == set(coverage.features)  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("part", range(2))
def test_fifty_networks_equal_lavas_runtime(python, part):
    first = FIRST + 1000 + 25 * part
    agree(python, range(first, first + 25), runtime=True)


@pytest.mark.parametrize("runtime", [False, True])
def test_a_warm_run_a_run_in_parts_and_the_state_equal_ours(python, runtime):
    # A seed with delays and a periodic reset, so that the state holds all there is.
    seed = next(
        seed
        for seed in range(FIRST, FIRST + 500)
        if any(p.reset and p.reset.interval > 2 for p in random_network(seed)[0].populations)
        and any(getattr(c, "delays", None) is not None for c in random_network(seed)[0].connections)
    )
    network, inputs = random_network(seed)
    host = lava_host("test", python)
    try:
        lava, ours = LavaEngine(network, host, runtime=runtime), LoihiEngine(network)
        for _ in range(2):
            same_traces(lava.run(inputs, record=["all"]), ours.run(inputs, record=["all"]))
        first = lava.run({name: values[:, :17] for name, values in inputs.items()})
        rest = {name: values[:, 17:] for name, values in inputs.items()}
        same_traces(
            lava.run(rest, first.state, ["all"]), ours.run(rest, first.state, ["all"])
        )  # fmt: skip
        empty = {name: values[:, :0] for name, values in inputs.items()}
        same_traces(lava.run(empty, record=["all"]), ours.run(empty, record=["all"]))
    finally:
        host.close()


def same_traces(one, other):
    for part in ("outputs", "recorded", "state"):
        given, expected = getattr(one, part), getattr(other, part)
        assert set(given) == set(expected)
        for key, values in expected.items():
            assert given[key].dtype == values.dtype, key
            np.testing.assert_array_equal(given[key], values, err_msg=key)
    assert np.array_equal(one.counts.synaptic_events, other.counts.synaptic_events)
    assert one.counts.neuron_updates == other.counts.neuron_updates


def fuzz_command(*arguments):
    return CliRunner().invoke(app, ["fuzz-loihi", *map(str, arguments)])


def test_the_command_says_what_it_compared(python):
    done = fuzz_command("--seed", FIRST, "--nets", 2)
    assert done.exit_code == 0, done.output
    assert "2 networks equal" in done.output


def test_the_command_names_the_first_difference_and_how_to_see_it_again(python, monkeypatch):
    class Off(LoihiEngine):
        """Our engine with one membrane off by one, in one step."""

        def run(self, inputs, state=None, record=()):
            trace = super().run(inputs, state, record)
            key = next(key for key in trace.recorded if key.endswith(".v"))
            trace.recorded[key].reshape(2, 40, -1)[1, 23, 0] += 1
            return trace

    monkeypatch.setattr(lava_fuzz, "LoihiEngine", Off)
    done = fuzz_command("--seed", FIRST, "--nets", 2)
    assert done.exit_code == 1
    assert "lif1.v of neuron 0 differs first at step 23 of sample 1" in done.output
    assert f"snn-fusion fuzz-loihi --seed {FIRST} --nets 1" in done.output


def test_without_lava_the_command_says_what_to_do():
    done = fuzz_command("--seed", 0, "--python", "/no/such/python")
    assert done.exit_code == 2
    assert "make lava" in done.output


def test_the_first_difference_is_the_earliest_step():
    one = np.zeros((2, 5, 3), int)
    other = one.copy()
    other[0, 4, 0] = other[1, 2, 1] = 1
    assert first_difference(one, other) == (2, 1, 1)
    assert first_difference(one, one) is None
