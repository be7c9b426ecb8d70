"""What must hold of any file at all: a graph that runs, or an error that names what is wrong."""

from typing import Any

import numpy as np

from backends.base import Backend
from backends.errors import ModelRejected
from backends.registry import Registry
from fusion.contract import ExecutionContract, make_contract
from fusion.errors import InvalidModel
from fusion.graph_file import read_graph
from fusion.limits import ModelLimits
from fusion.model import bare_model, values_per_step

CONTRACTS = (
    make_contract("nir", 1e-3),
    make_contract("snntorch", 1e-4),
    make_contract("nengo", 1e-3),
)
LIMITS = ModelLimits(cpu_s=3)
_MOST_CHARS = 4000


class Judge:
    """Reads files, plans what can be planned and steps what can be stepped."""

    def __init__(self) -> None:
        self._registry = Registry()

    def close(self) -> None:
        self._registry.close()

    def of(self, data: bytes, *, in_child: bool) -> str:
        """Return `runs`, `rejected` or `invalid`; anything else that happens is a mistake of ours.

        Raises:
            AssertionError: if an error is of no use to a person.
            Exception: whatever must not have happened.
        """
        try:
            model = bare_model(read_graph(data, LIMITS, in_child=in_child))
        except InvalidModel as error:
            _of_use(error)
            return "invalid"
        outcomes = {self._prepared(model, contract) for contract in CONTRACTS}
        return min(outcomes, key=("runs", "rejected", "invalid").index)

    def _prepared(self, model: Any, contract: ExecutionContract) -> str:
        try:
            for name in ("brian2", "numpy"):
                backend: Backend = self._registry.backend(name)
                backend.check(model, contract)
            program = backend.compile(model, contract)
        except InvalidModel as error:
            _of_use(error)
            return "invalid"
        except ModelRejected as error:
            _of_use(error)
            return "rejected"
        if values_per_step(model) < 10**6:
            inputs = {
                name: np.ones((1, 2, *np.atleast_1d(node.input_type["input"])))
                for name, node in model.graph.inputs.items()
            }
            program.run(inputs, record=["all"])
        return "runs"


def _of_use(error: InvalidModel | ModelRejected) -> None:
    if isinstance(error, InvalidModel):
        assert error.field
        assert error.problem
    else:
        assert all(one.node and one.used and one.allowed for one in error.violations)
    assert str(error).isprintable()
    assert len(str(error)) < _MOST_CHARS
    str(error).encode()
