"""SNN Fusion beside one of its peers: the same network, in turn, on one core of one machine."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.floor import floor_ms
from benchmarks.networks import NETWORKS, Network
from benchmarks.peer_problem import event_lists, first_difference, our_spikes, write_problem
from benchmarks.peer_process import (
    PeerKind,
    PeerName,
    PeerProcess,
    kind_of,
    make_environment,
    on_one_core,
    peer_process,
)
from benchmarks.timing import seconds
from simulators.compiled import CompiledEngine

_LEAST, _MOST = 3, 50
"""Turns of each."""
_TURN_S = 0.05
"""A turn lasts so long, or a run: else the faster one would be timed on what the other cached."""


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """What was measured; medians of runs that took turns, without building and compiling.

    Attributes:
        peer: who, with its version.
        net: network.
        batch: samples of a run.
        ours_ms: a run of the compiled engine.
        peer_ms: a run of the peer.
        ratio: how many times as long the peer takes.
        floor_share: the memory floor's part of `ours_ms`; above 1 where numbers are stored smaller.
        spikes_equal: whether every spike is; None where the peer computes something else.
        note: why not, or which.
        synaptic_events: in a run.
        ours_events_per_s: synaptic events a second.
        peer_events_per_s: the same of the peer.
        runs: of the peer.
        our_runs: of the compiled engine.
    """

    peer: str
    net: str
    batch: int
    ours_ms: float
    peer_ms: float
    ratio: float
    floor_share: float
    spikes_equal: bool | None
    note: str
    synaptic_events: int
    ours_events_per_s: float
    peer_events_per_s: float
    runs: int
    our_runs: int


def measure(peer: PeerName, net: str, batch: int) -> PeerFigures:
    """Measure a peer; its environment is made if there is none.

    Raises:
        Unavailable: if the peer cannot be installed, or is not measured on this network.
    """
    kind = kind_of(peer, net, batch)
    make_environment(peer)
    on_one_core()
    return measured(kind, NETWORKS[net](), batch)


def measured(
    kind: PeerKind, network: Network, batch: int, *, enough_s: float = 20.0
) -> PeerFigures:
    """Measure a peer whose environment exists, for about `enough_s` after three runs.

    Raises:
        Unavailable: with what the peer's process said, if it ends.
    """
    with _peer_on(network, batch, kind) as other:
        return _figures(other, network, batch, kind, enough_s)


@contextmanager
def _peer_on(network: Network, batch: int, kind: PeerKind) -> Iterator[PeerProcess]:
    with tempfile.TemporaryDirectory(prefix="snn-fusion-peer-") as name:
        write_problem(network, batch, Path(name))
        with peer_process(kind, Path(name)) as other:
            yield other


def _figures(
    other: PeerProcess, network: Network, batch: int, kind: PeerKind, enough_s: float
) -> PeerFigures:
    engine = CompiledEngine(network.plan)
    events = int(
        engine.run(event_lists(network, batch), network.state(batch)).counts.synaptic_events.sum()
    )
    ours_s, peer_s = _in_turn(engine, other, network, batch, enough_s)
    ours, theirs = median(ours_s), median(peer_s)
    mine, spikes = our_spikes(engine, network, batch), other.spikes()
    difference = first_difference(mine, spikes) if kind.differs is None else None
    total, peers = (sum(len(rows) for rows in one.values()) for one in (mine, spikes))
    own_numbers = f"{kind.differs}; {total} spikes of ours, {peers} of the peer's"
    return PeerFigures(
        peer=other.version,
        net=network.name,
        batch=batch,
        ours_ms=ours * 1e3,
        peer_ms=theirs * 1e3,
        ratio=theirs / ours,
        floor_share=floor_ms(network, events, batch) / (ours * 1e3),
        spikes_equal=None if kind.differs else difference is None,
        note=own_numbers if kind.differs else difference or f"{total} spikes",
        synaptic_events=events,
        ours_events_per_s=events / ours,
        peer_events_per_s=events / theirs,
        runs=len(peer_s),
        our_runs=len(ours_s),
    )


def _in_turn(
    engine: CompiledEngine, other: PeerProcess, network: Network, batch: int, enough_s: float
) -> tuple[list[float], list[float]]:
    """Return the seconds of our runs and of the peer's, after one of each that compiles."""
    inputs, state = event_lists(network, batch), network.state(batch)
    run_s = partial(seconds, partial(engine.run, inputs, state))
    other.run_s()
    ours: list[float] = []
    theirs: list[float] = []
    turns, end = 0, time.perf_counter() + enough_s
    while turns < _LEAST or (turns < _MOST and time.perf_counter() < end):
        ours += _turn(run_s)
        theirs += _turn(other.run_s)
        turns += 1
    return ours, theirs


def _turn(run_s: Callable[[], float]) -> list[float]:
    """Return the seconds of the runs of a turn."""
    taken_s = [run_s()]
    while sum(taken_s) < _TURN_S:
        taken_s.append(run_s())
    return taken_s


def as_line(figures: PeerFigures) -> str:
    """Return the figures as one line of JSON."""
    values = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in asdict(figures).items()
    }
    return json.dumps(values)


def print_table(figures: PeerFigures) -> None:
    """Print the figures for people."""
    table = Table("", "SNN Fusion", figures.peer, title=f"{figures.net}, batch {figures.batch}")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("ms a run", f"{figures.ours_ms:.4g}", f"{figures.peer_ms:.4g}")
    rates = (figures.ours_events_per_s / 1e6, figures.peer_events_per_s / 1e6)
    table.add_row("million synaptic events a second", *(f"{rate:,.0f}" for rate in rates))
    table.add_row("times as long", "1", f"{figures.ratio:.3g}")
    table.add_row("share of the memory floor", f"{figures.floor_share:.2f}", "")
    equal = {True: "equal", False: "not equal", None: "not comparable"}[figures.spikes_equal]
    table.add_row("spikes", "", equal)
    console = Console()
    console.print(table)
    console.print(figures.note, highlight=False)
