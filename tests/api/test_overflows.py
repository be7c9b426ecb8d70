"""Integers that left their range are told in counts and warnings, never silently."""

import numpy as np

from api.render import counts_reply, warnings_of
from backends.base import RunResult
from backends.fuse import FusedAnswer, sample_counts
from fusion.manifest import parse_manifest
from simulators.trace import Counts

MANIFEST = parse_manifest(b"""
name: small
version: "1"
labels: [a, b]
window: {length_s: 1}
sensors: {cam: {node: cam, unit: events, shape: [2]}}
heads: {cam: {sensor: cam, node: out}}
""")


def answer(sample: int) -> FusedAnswer:
    counts = Counts(np.array([5, 6]), 7, {"lif": np.array([1, 2])})
    overflows = {"lif.i": np.array([0, 3]), "w.sum": np.array([0, 1])}
    result = RunResult({}, {}, {}, 1, counts, 0.0, overflows=overflows)
    return FusedAnswer((), {}, sample_counts(result, sample), 1, 0.0, None)


def test_overflows_are_told_for_the_sample_that_had_them() -> None:
    assert counts_reply(answer(1).counts)["overflows"] == {"lif.i": 3, "w.sum": 1}
    assert warnings_of(answer(1), MANIFEST) == [
        "lif.i: integers left their range 3 times",
        "w.sum: integers left their range 1 times",
    ]
    assert counts_reply(answer(0).counts)["overflows"] == {}
    assert warnings_of(answer(0), MANIFEST) == []
