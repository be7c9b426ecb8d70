"""How late a model's Outputs are under a contract, so that a window is read when they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import nir

from fusion.contract import ExecutionContract
from fusion.model import FusionModel
from simulators.draft import make_drafts
from simulators.latency import latencies


@dataclass(frozen=True, slots=True)
class _Question:
    digest: str
    contract: ExecutionContract
    graph: nir.NIRGraph = field(compare=False)


def output_latency(model: FusionModel, contract: ExecutionContract) -> Mapping[str, int]:
    """Return Output node → steps that pass before it shows all of what the Inputs did.

    Raises:
        InvalidModel: if the graph cannot be run anywhere.
    """
    if not contract.feedforward_delay_steps:
        return MappingProxyType({})
    return _output_latency(_Question(model.digest, contract, model.graph))


@lru_cache(maxsize=16)
def _output_latency(question: _Question) -> Mapping[str, int]:
    # Drafts tell of delays without the weights, which a graph may have too many of.
    nodes = make_drafts(question.graph, question.contract)
    late = latencies(nodes)
    outputs = (node.name for node in nodes if node.kind == "Output")
    return MappingProxyType({name: late[name].longest for name in outputs if name in late})
