"""Rolling restarts under load: no request may fail, and every answer has to be the reference's.

    PYTHONPATH=.:tests python -m drills.rolling --times 20 --workers 2

Nothing is ever sent twice: a connection that breaks is a failure.
"""

import argparse
import os
import signal
import sys
import time

from drills.checked_load import (
    HABITS,
    READY_S,
    Service,
    Tally,
    end_on_sigterm,
    known_questions,
    service,
    visitors,
    wait_for,
)


def roll(times: int, workers: int, *, pause_s: float = 1.0, **settings: object) -> Tally:
    """Restart every worker so many times under load, and return what visitors saw.

    Raises:
        AssertionError: if a worker was not replaced, or there was no load.
    """
    with service(WORKERS=workers, **settings) as started:
        questions = known_questions(started.port)
        with visitors(started.port, questions, HABITS) as tally:
            for turn in range(times):
                before, answered = set(started.workers()), tally.answered
                os.kill(started.process.pid, signal.SIGHUP)
                wait_for(lambda: _replaced(started, before, workers), READY_S)  # noqa: B023
                time.sleep(pause_s)
                assert tally.answered > answered
                print(f"restart {turn + 1} of {times}: {summary(tally)}", flush=True)
        assert set(tally.by_name) == {"json", "binary", "v2"}
    return tally


def _replaced(started: Service, before: set[int], workers: int) -> bool:
    now = set(started.workers())
    return len(now) == workers and not now & before


def summary(tally: Tally) -> str:
    """Return what visitors saw, in a line."""
    return (
        f"{tally.answered} answers as the reference gives them, "
        f"{len(tally.failures)} failed, {len(tally.wrong)} wrong"
    )


def main() -> None:
    """Restart, and exit with 1 if anything was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    end_on_sigterm()
    tally = roll(given.times, given.workers)
    for line in [*tally.failures[:20], *tally.wrong[:20]]:
        print(line, file=sys.stderr)
    sys.exit(1 if tally.failures or tally.wrong else 0)


if __name__ == "__main__":
    main()
