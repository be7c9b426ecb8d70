"""The tests that every backend has to pass, ours and foreign ones.

Subclass `BackendContract` in a pytest file of your own and say which backend it is:

    from snn_fusion.testing import BackendContract

    class TestMyChip(BackendContract):
        @classmethod
        def make_backend(cls):
            return MyChipBackend(read_target(Path("my-chip.yaml")))

Networks with node types that the target's capabilities do not list are skipped, and so are tests
of state where the target is not stateful.

A target that computes in numbers of its own overrides `model`, which makes a network what its
backend is given, and `reference`, which runs it in a readable engine of those numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.base import Backend, Program, RunResult, Violation
from backends.errors import ModelRejected
from fusion.contract import ExecutionContract, make_contract
from fusion.errors import InvalidInput
from fusion.model import FusionModel, bare_model
from simulators.plan import make_plan
from simulators.reference import ReferenceEngine
from simulators.trace import Trace
from snn_fusion.testing_networks import NETWORKS, Network

STEPS, BATCH = 60, 3


class BackendContract(ABC):
    """What a backend owes its callers."""

    @classmethod
    @abstractmethod
    def make_backend(cls) -> Backend:
        """Return the backend under test."""

    def contract(self) -> ExecutionContract:
        """Return the contract to test under; by default the profile `nir` at 1 ms."""
        return make_contract("nir", 1e-3)

    def model(self, network: Network) -> FusionModel:
        """Return a network as a model for this backend; by default its graph alone."""
        return bare_model(network.graph)

    def reference(self, network: Network, inputs: Mapping[str, NDArray[np.float64]]) -> Trace:
        """Return what a run has to give, all recorded; by default by the readable float engine."""
        engine = ReferenceEngine(make_plan(network.graph, self.contract()))
        return engine.run(inputs, record=["all"])

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> Backend:
        """The backend, made once for the class."""
        return cls.make_backend()

    @pytest.fixture(params=sorted(NETWORKS))
    def network(self, request: pytest.FixtureRequest, backend: Backend) -> Network:
        """Every network that the target's node types allow."""
        network = NETWORKS[request.param]()
        lacking = network.kinds - set(backend.target.capabilities.node_types)
        if lacking:
            pytest.skip(f"the target has no {', '.join(sorted(lacking))}")
        return network

    @pytest.fixture
    def program(self, backend: Backend, network: Network) -> Iterator[Program]:
        """The network compiled for the target."""
        program = backend.compile(self.model(network), self.contract())
        yield program
        program.close()

    def test_it_is_available(self, backend: Backend) -> None:
        """It can be used where its tests run."""
        backend.available()

    def test_it_agrees_with_the_reference_bit_for_bit(
        self, network: Network, program: Program
    ) -> None:
        """Outputs, spikes, v, i, state and counts are those of the readable engine."""
        inputs = network.inputs(BATCH, STEPS)
        expected = self.reference(network, inputs)
        assert any(spikes.any() for spikes in expected.counts.spikes.values()), "nothing spikes"
        _assert_equal(program.run(inputs, record=["all"]), expected)

    def test_it_gives_the_same_bits_twice(self, network: Network, program: Program) -> None:
        """A run leaves nothing behind that the next one sees."""
        inputs = network.inputs(BATCH, STEPS)
        first = program.run(inputs, record=["all"])
        program.run({name: values[:, ::-1] for name, values in inputs.items()})
        second = program.run(inputs, record=["all"])
        _assert_same_arrays(first.recorded, second.recorded)
        _assert_same_arrays(first.outputs, second.outputs)

    def test_neighbours_in_a_batch_change_nothing(self, network: Network, program: Program) -> None:
        """A sample gives the same bits alone as among others."""
        inputs = network.inputs(BATCH, STEPS)
        together = program.run(inputs, record=["all"])
        for sample in range(BATCH):
            alone = program.run(
                {name: values[sample : sample + 1] for name, values in inputs.items()},
                record=["all"],
            )
            _assert_same_arrays(alone.recorded, _sample(together.recorded, sample))
            _assert_same_arrays(alone.outputs, _sample(together.outputs, sample))

    def test_a_run_in_parts_equals_the_whole(self, network: Network, program: Program,
                                             backend: Backend) -> None:  # fmt: skip
        """State out, state in: where one cuts a recording changes nothing."""
        if not backend.target.capabilities.stateful:
            pytest.skip("the target takes no state")
        inputs = network.inputs(BATCH, STEPS)
        whole = program.run(inputs)
        first = program.run({name: values[:, :23] for name, values in inputs.items()})
        rest = {name: values[:, 23:] for name, values in inputs.items()}
        second = program.run(rest, state=first.state)
        for name, output in whole.outputs.items():
            parts = np.concatenate((first.outputs[name], second.outputs[name]), axis=1)
            np.testing.assert_array_equal(parts, output)
        _assert_same_arrays(second.state, whole.state)

    def test_input_that_does_not_fit_is_named(self, network: Network, program: Program) -> None:
        """A missing, unknown, misshapen or non-finite input is an `InvalidInput` of its name."""
        good = network.inputs(1, 5)
        name = next(iter(good))
        bad = good[name].copy()
        bad.flat[0] = np.nan
        for wrong in (
            {key: values for key, values in good.items() if key != name},
            {**good, "nowhere": good[name]},
            {**good, name: good[name][..., :-1]},
            {**good, name: bad},
        ):
            with pytest.raises(InvalidInput):
                program.run(wrong)
        with pytest.raises(InvalidInput, match="nowhere"):
            program.run(good, record=["nowhere"])
        program.run(good)  # and nothing of it does harm

    def test_closing_twice_does_nothing(self, network: Network, backend: Backend) -> None:
        """`close` may be called again."""
        program = backend.compile(self.model(network), self.contract())
        program.close()
        program.close()

    def test_what_does_not_fit_is_refused_before_it_runs(self, network: Network) -> None:
        """A target of one neuron refuses every network, and says by how much."""
        backend = self.make_backend()
        small = replace(backend.target.capabilities, max_neurons=1)
        backend.target = replace(backend.target, capabilities=small)
        violations = backend.check(self.model(network), self.contract())
        assert violations
        assert all(isinstance(violation, Violation) for violation in violations)
        assert any(violation.allowed == "1" for violation in violations)
        with pytest.raises(ModelRejected):
            backend.compile(self.model(network), self.contract())


def _assert_equal(result: RunResult, expected: Trace) -> None:
    _assert_same_arrays(result.outputs, expected.outputs)
    _assert_same_arrays(result.recorded, expected.recorded)
    _assert_same_arrays(result.state, expected.state)
    _assert_same_arrays(result.counts.spikes, expected.counts.spikes)
    _assert_same_arrays(result.overflows, expected.overflows)
    np.testing.assert_array_equal(result.counts.synaptic_events, expected.counts.synaptic_events)
    assert result.counts.neuron_updates == expected.counts.neuron_updates
    assert result.steps == STEPS


def _assert_same_arrays(
    given: Mapping[str, NDArray[np.generic]], expected: Mapping[str, NDArray[np.generic]]
) -> None:
    assert set(given) == set(expected)
    for name, values in expected.items():
        assert given[name].dtype == values.dtype, name
        np.testing.assert_array_equal(given[name], values, err_msg=name)


def _sample(
    arrays: Mapping[str, NDArray[np.generic]], sample: int
) -> dict[str, NDArray[np.generic]]:
    return {name: values[sample : sample + 1] for name, values in arrays.items()}
