"""The reference engine's neurons against their equations, computed here in plain Python floats."""

import math
from typing import Any

import pytest
from support.small_graphs import chain, contract, filled, run, values

DT = 1e-3
X = [0.0, 1.0, 2.0, 0.0, -1.0, 3.0, 3.0, 0.5, 0.0]
LIF = {"tau": 0.01, "r": 2.0, "v_leak": 0.125, "v_threshold": 0.6, "v_reset": -0.25}
CUBA = {"tau_mem": 0.01, "tau_syn": 0.004, "r": 2.0, "v_leak": 0.125, "w_in": 3.0}


def rate(tau: float, integrator: str) -> float:
    return DT / tau if integrator == "forward_euler" else -math.expm1(-(DT / tau))


def leaky(form: str, a: float, v: float, i: float) -> float:
    if form == "increment":
        return v + a * ((LIF["v_leak"] - v) + LIF["r"] * i)
    return (1 - a) * v + (a * LIF["r"]) * i + a * LIF["v_leak"]


@pytest.mark.parametrize("integrator", ["forward_euler", "exponential"])
@pytest.mark.parametrize("form", ["increment", "decay"])
def test_li_follows_its_equation(integrator: str, form: str) -> None:
    a, v, expected = rate(LIF["tau"], integrator), 0.0, []
    for x in X:
        v = leaky(form, a, v, x)
        expected.append(v)
    node = filled("LI", tau=LIF["tau"], r=LIF["r"], v_leak=LIF["v_leak"])
    trace = run(chain(node), X, contract(integrator=integrator, arithmetic_form=form))
    assert values(trace.recorded["n0.v"]) == expected
    assert values(trace.outputs["out"]) == expected


@pytest.mark.parametrize("form", ["increment", "decay"])
@pytest.mark.parametrize("reset", ["to_v_reset", "subtract_threshold"])
def test_lif_spikes_and_resets_in_the_same_step(form: str, reset: str) -> None:
    a, v, membranes, spikes = rate(LIF["tau"], "forward_euler"), 0.0, [], []
    for x in X:
        v = leaky(form, a, v, x)
        spikes.append(float(v > LIF["v_threshold"]))
        if spikes[-1]:
            v = LIF["v_reset"] if reset == "to_v_reset" else v - LIF["v_threshold"]
        membranes.append(v)
    assert 0 < sum(spikes) < len(X)
    trace = run(chain(filled("LIF", **LIF)), X, contract(arithmetic_form=form, reset=reset))
    assert values(trace.recorded["n0.v"]) == membranes
    assert values(trace.recorded["n0.spikes"]) == spikes
    assert values(trace.outputs["out"]) == spikes


@pytest.mark.parametrize("form", ["increment", "decay"])
@pytest.mark.parametrize("kind", ["CubaLI", "CubaLIF"])
def test_the_membrane_sees_the_new_synaptic_current(form: str, kind: str) -> None:
    a_syn, a_mem = rate(CUBA["tau_syn"], "forward_euler"), rate(CUBA["tau_mem"], "forward_euler")
    i = v = 0.0
    currents, membranes, spikes = [], [], []
    for x in X:
        if form == "increment":
            i = i + a_syn * (CUBA["w_in"] * x - i)
        else:
            i = (1 - a_syn) * i + (a_syn * CUBA["w_in"]) * x
        v = leaky(form, a_mem, v, i)
        spikes.append(float(kind == "CubaLIF" and v > 0.6))
        v = -0.25 if spikes[-1] else v
        currents.append(i)
        membranes.append(v)
    firing = {"v_threshold": 0.6, "v_reset": -0.25} if kind == "CubaLIF" else {}
    trace = run(chain(filled(kind, **CUBA, **firing)), X, contract(arithmetic_form=form))
    assert values(trace.recorded["n0.i"]) == currents
    assert values(trace.recorded["n0.v"]) == membranes
    if firing:
        assert 0 < sum(spikes) < len(X)
        assert values(trace.recorded["n0.spikes"]) == spikes


@pytest.mark.parametrize(("if_gain", "gain"), [("r_dt", DT), ("r", 1.0)])
def test_an_integrator_adds_what_arrives(if_gain: str, gain: float) -> None:
    v, expected = 0.0, []
    for x in X:
        v = v + (2.0 * gain) * x
        expected.append(v)
    trace = run(chain(filled("I", r=2.0)), X, contract(if_gain=if_gain))
    assert values(trace.recorded["n0.v"]) == expected


def test_an_if_neuron_keeps_what_is_above_its_threshold_when_that_is_subtracted() -> None:
    node = filled("IF", r=1.0, v_threshold=1.0, v_reset=0.0)
    under = contract(if_gain="r", reset="subtract_threshold")
    trace = run(chain(node), [0.75, 0.75, 0.25, 0.5, 0.0], under)
    assert values(trace.recorded["n0.v"]) == [0.75, 0.5, 0.75, 0.25, 0.25]
    assert values(trace.recorded["n0.spikes"]) == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(("condition", "spikes"), [(">", [0, 1]), (">=", [1, 1])])
@pytest.mark.parametrize("kind", ["IF", "Threshold"])
def test_a_tie_with_the_threshold_spikes_only_where_the_contract_says(
    kind: str, condition: str, spikes: list[float]
) -> None:
    params = {"v_threshold": 1.0, "v_reset": 0.0, "r": 1.0} if kind == "IF" else {"threshold": 1.0}
    under = contract(if_gain="r", spike_condition=condition)
    trace = run(chain(filled(kind, **params)), [1.0, 1.25], under)
    assert values(trace.outputs["out"]) == spikes


@pytest.mark.parametrize(
    ("initial", "first"), [("zero", 0.0), ("v_leak", 0.125), ("v_reset", -0.25)]
)
def test_the_membrane_starts_where_the_contract_says(initial: str, first: float) -> None:
    trace = run(chain(filled("LIF", **LIF)), [0.0], contract(initial_v=initial))
    assert values(trace.recorded["n0.v"]) == [first + DT / LIF["tau"] * (0.125 - first)]


def test_the_gains_of_the_file_can_be_left_out() -> None:
    plain = filled("CubaLI", **{**CUBA, "r": 1.0, "w_in": 1.0})
    expected = run(chain(plain), X)
    trace = run(chain(filled("CubaLI", **CUBA)), X, contract(input_gain="unit"))
    assert values(trace.recorded["n0.v"]) == values(expected.recorded["n0.v"])


def test_single_precision_rounds_every_operation() -> None:
    import numpy as np  # noqa: PLC0415 (the other tests stay clear of NumPy on purpose)

    one = np.float32
    a = one(DT / LIF["tau"])
    v, expected = one(0), []
    for x in X:
        v = v + a * ((one(LIF["v_leak"]) - v) + one(LIF["r"]) * one(x))
        expected.append(float(v))
    node = filled("LI", tau=LIF["tau"], r=LIF["r"], v_leak=LIF["v_leak"])
    trace = run(chain(node), X, contract(arithmetic="float32"))
    assert trace.recorded["n0.v"].dtype == np.float32
    assert values(trace.recorded["n0.v"]) == expected


def test_time_constants_count_in_the_unit_of_the_contract() -> None:
    expected = run(chain(filled("LIF", **LIF)), X)
    for unit, factor in (("milliseconds", 1e3), ("steps", 1e3)):
        node = filled("LIF", **{**LIF, "tau": LIF["tau"] * factor})
        trace = run(chain(node), X, contract(time_unit=unit))
        assert values(trace.recorded["n0.v"]) == values(expected.recorded["n0.v"]), unit


def spikes_of(node: Any, under: Any) -> list[float]:
    return values(run(chain(node), X, under).outputs["out"])


def test_a_scalar_parameter_stands_for_every_neuron() -> None:
    scalar = filled("LIF", **LIF)
    scalar.tau, scalar.r = scalar.tau[0], scalar.r[0]
    assert spikes_of(scalar, contract()) == spikes_of(filled("LIF", **LIF), contract())
