"""`make fuzz-files SEED=n COUNT=n`: damage `.nir` files for as long as one likes.

Every tenth mutant goes the way of the service, through a child. The others are read in a fork,
which is faster, hides nothing, and shows what a service without a child would have suffered.
"""

import argparse
import os
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter

from support.hostile import Judge
from support.mutants import mutant

OUTCOMES = ("runs", "rejected", "invalid")
FOUND = 100
PATIENCE_S = 5
TELL_EVERY = 500


def main() -> None:
    """Judge mutants until the count is reached; exit with 1 if any was taken wrongly."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--first", type=int, default=0, help="number of the first mutant")
    options.add_argument("--child-every", type=int, default=10, help="every nth in a real child")
    given = options.parse_args()
    warnings.simplefilter("error")
    judge, tally = Judge(), Counter[str]()
    try:
        _fuzz(judge, tally, given)
    except KeyboardInterrupt:
        print("broken off")
    finally:
        judge.close()
    print(f"seed {given.seed}, from mutant {given.first}: {dict(tally)}")
    sys.exit(tally["findings"] > 0)


def _fuzz(judge: Judge, tally: Counter[str], given: argparse.Namespace) -> None:
    before = _peak_kib()
    for at in range(1, given.count + 1):
        number = given.first + at - 1
        done, data = mutant(given.seed, number)
        name = f"seed {given.seed}, mutant {number}: {done}"
        child = number % given.child_every == 0
        if not child:
            outcome = _in_fork(judge, data, name)
            tally[outcome] += 1
            child = outcome not in (*OUTCOMES, "findings")
        if child:
            tally["through the child"] += 1
            tally[_judged(judge, data, name, in_child=True)] += 1
        if at == TELL_EVERY:
            before = _peak_kib()  # everything has been in use once
        if at % TELL_EVERY == 0:
            grown = _peak_kib() - before
            print(f"{at}: {dict(tally)}, peak memory grown by {grown} KiB", flush=True)


def _judged(judge: Judge, data: bytes, name: str, *, in_child: bool) -> str:
    try:
        return judge.of(data, in_child=in_child)
    except Exception:
        print(f"{name}\n{traceback.format_exc()}", flush=True)
        return "findings"


def _in_fork(judge: Judge, data: bytes, name: str) -> str:
    """Return the outcome in a fork, `hangs` or the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE_S, PATIENCE_S + 1))
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        outcome = _judged(judge, data, name, in_child=False)
        os._exit(FOUND if outcome == "findings" else OUTCOMES.index(outcome))
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        killed = os.WTERMSIG(status)
        return "hangs" if killed == signal.SIGXCPU else f"ends by {signal.Signals(killed).name}"
    code = os.WEXITSTATUS(status)
    return "findings" if code == FOUND else OUTCOMES[code]


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
