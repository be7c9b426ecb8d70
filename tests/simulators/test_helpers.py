"""Samples shared out among threads: all of them, once, within the cores that are free."""

import threading

import pytest

from simulators.helpers import Helpers


def ranges(helpers, samples, most):
    taken, lock = [], threading.Lock()

    def work(first, last, number):
        with lock:
            taken.append((number, first, last))

    helpers.share(samples, most, work)
    return sorted(taken)


def test_the_caller_does_everything_alone_if_it_may_have_no_helper():
    assert ranges(Helpers(), 5, 1) == [(0, 0, 5)]
    assert ranges(Helpers(), 1, 8) == [(0, 0, 1)]


@pytest.mark.parametrize("cores", [1, 2, 3])
@pytest.mark.parametrize("samples", [2, 3, 7])
def test_every_sample_has_one_thread(monkeypatch, samples, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    helpers = Helpers()
    for _ in range(2):
        found = ranges(helpers, samples, 3)
        assert len(found) == min(cores, samples, 3)
        assert [number for number, _, _ in found] == list(range(len(found)))
        assert [sample for _, first, last in found for sample in range(first, last)] == list(
            range(samples)
        )


def test_a_run_beside_another_takes_the_cores_that_are_left(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    helpers, inner = Helpers(), []
    helpers.share(4, 2, lambda *_: inner.append(len(ranges(helpers, 4, 2))))
    assert inner == [1, 1]
    assert len(ranges(helpers, 4, 2)) == 2


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_reaches_the_caller_when_all_have_ended(monkeypatch, failing):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    helpers, ended = Helpers(), []

    def work(first, last, number):
        if number == failing:
            raise ValueError("no")
        ended.append((first, last))

    with pytest.raises(ValueError, match="no"):
        helpers.share(4, 2, work)
    assert len(ended) == 1
    assert len(ranges(helpers, 4, 2)) == 2
