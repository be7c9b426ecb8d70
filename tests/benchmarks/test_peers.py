"""The harness that compares with peers, on a network and a peer small enough for a test."""

import sys
from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.networks import Network
from benchmarks.peer import as_line, print_table
from benchmarks.peer import measured as measured_beside
from benchmarks.peer_process import PEERS, PeerKind, PeerName, Unavailable, kind_of
from fusion.contract import make_contract
from simulators.plan import make_plan


def _lif(size: int) -> nir.LIF:
    one = np.ones(size)
    return nir.LIF(tau=one * 0.02, r=one, v_leak=one * 0, v_threshold=one * 3, v_reset=one * 0)


@pytest.fixture(scope="module")
def network() -> Network:
    rng = np.random.default_rng(3)

    def weights(post: int, pre: int) -> nir.Linear:
        return nir.Linear(rng.integers(-20, 60, (post, pre)).astype(float))

    nodes = {
        "input": nir.Input(np.array([12])),
        "w": weights(8, 12),
        "first": _lif(8),
        "w2": weights(5, 8),
        "second": _lif(5),
        "output": nir.Output(np.array([5])),
    }
    edges = list(pairwise(nodes))
    nodes["loop"] = weights(8, 8)
    edges += [("first", "loop"), ("loop", "first")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    plan = make_plan(graph, make_contract("nir", 1e-3, {"arithmetic": "float32"}))
    return Network("tiny", plan, 40, {"input": 0.2}, graph)


def _kind(*arguments: str, differs: str | None = None) -> PeerKind:
    script = str(Path(__file__).with_name("numpy_peer.py"))
    return PeerKind(script, sys.prefix, ("tiny",), arguments=arguments, differs=differs)


def test_equal_spikes_are_told_and_times_are_the_peers_own(network: Network) -> None:
    figures = measured_beside(_kind(), network, batch=2, enough_s=0.0)
    assert figures.spikes_equal is True
    assert figures.peer == "NumPy"
    assert figures.peer_ms == 2500.0
    assert figures.ratio == pytest.approx(2500.0 / figures.ours_ms)
    assert figures.synaptic_events > 0
    assert int(figures.note.split()[0]) > 50
    assert as_line(figures).count("\n") == 0


def test_the_first_spike_that_differs_is_named(network: Network) -> None:
    figures = measured_beside(_kind("extra"), network, batch=1, enough_s=0.0)
    assert figures.spikes_equal is False
    assert "1 spikes differ" in figures.note
    assert "step 3 of sample 0, neuron 99 of first" in figures.note


def test_a_peer_that_computes_something_else_is_not_compared(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = measured_beside(_kind(differs="it rounds"), network, batch=1, enough_s=0.0)
    assert figures.spikes_equal is None
    assert figures.note.startswith("it rounds; ")
    print_table(figures)
    assert "not comparable" in capsys.readouterr().out


def test_a_peer_that_dies_says_why(network: Network) -> None:
    with pytest.raises(Unavailable, match="no such neuron"):
        measured_beside(_kind("fail"), network, batch=1, enough_s=0.0)


def test_what_a_peer_does_not_run_is_refused_before_anything_is_installed() -> None:
    with pytest.raises(Unavailable, match="jax is not measured on cuba-4k, but on fusion, mlp"):
        kind_of(PeerName.JAX, "cuba-4k", 1)
    asked = CliRunner().invoke(app, ["peer", "--peer", "jax", "--net", "cuba-40k", "--json"])
    assert asked.exit_code == 2
    assert "not measured" in asked.stderr


def test_every_peer_has_its_script() -> None:
    peers = Path(__file__).parents[2] / "benchmarks/peers"
    assert set(PEERS) == set(PeerName)
    assert all((peers / kind.script).is_file() for kind in PEERS.values())
