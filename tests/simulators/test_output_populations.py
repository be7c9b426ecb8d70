from typing import Any

import nir
import numpy as np
from support.models import small_graph

from fusion.contract import make_contract
from simulators.plan import make_plan, output_populations

CONTRACT = make_contract("nir", 0.001)


def lif(size: int = 2) -> nir.LIF:
    one = np.ones(size)
    return nir.LIF(tau=one, r=one, v_leak=one * 0, v_threshold=one, v_reset=one * 0)


def test_populations_behind_a_readout_are_found() -> None:
    assert output_populations(make_plan(small_graph(), CONTRACT)) == ("cam_lif", "skin_lif")


def test_a_population_behind_another_one_is_not_an_output_population() -> None:
    shape = {"input": np.array([2])}
    nodes: dict[str, Any] = {"in": nir.Input(shape), "first": lif(), "second": lif()}
    nodes["out"] = nir.Output({"output": np.array([2])})
    edges = [("in", "first"), ("first", "second"), ("second", "out")]
    assert output_populations(make_plan(nir.NIRGraph(nodes, edges), CONTRACT)) == ("second",)


def test_a_shortcut_makes_both_output_populations_and_a_loop_ends() -> None:
    shape = {"input": np.array([2])}
    nodes: dict[str, Any] = {
        "in": nir.Input(shape),
        "first": lif(),
        "second": lif(),
        "back": nir.Linear(np.eye(2)),
        "out": nir.Output({"output": np.array([2])}),
    }
    edges = [
        ("in", "first"),
        ("first", "second"),
        ("second", "back"),
        ("back", "second"),
        ("second", "out"),
        ("first", "out"),
    ]
    plan = make_plan(nir.NIRGraph(nodes, edges), CONTRACT)
    assert output_populations(plan) == ("first", "second")
