"""Brian2 against the reference on any number of random graphs; `make fuzz` starts it.

Prints what the graphs held and what differs, and exits with 1 if any bit does or a run fails.
"""

import argparse
import gc
import os
import warnings
from functools import partial
from itertools import count
from multiprocessing import Pool

from support.agreement import Tally
from support.random_graphs import random_case

from simulators.brian2_codegen import Codegen
from simulators.brian2_engine import Brian2Engine

_AT_ONCE = 100


def compare(codegen: Codegen, seed: int) -> Tally:
    """Return what the graph of a seed showed: nothing if it does not spike as it should."""
    tally = Tally()
    if (case := random_case(seed)) is None:
        return tally
    try:
        engine = Brian2Engine(case.plan, codegen=codegen)
        tally.take(case, engine.run(case.inputs, record=["all"]))
    except Exception as error:
        tally.mismatches.append(f"seed {seed}: {error!r}")
    return tally


def prepare() -> None:
    """Make a worker quiet, and keep Brian2's collections of garbage off what was imported."""
    warnings.simplefilter("ignore")
    gc.freeze()


def main() -> int:
    """Compare as many graphs as were asked for, seed by seed, on every core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--graphs", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--codegen", choices=("numpy", "cython"), default="numpy")
    options = parser.parse_args()
    one = partial(compare, options.codegen)
    total = Tally()
    with Pool(os.cpu_count(), prepare) as pool:
        # Tallies come in the order of their seeds, so equal options mean equal graphs.
        for start in count(options.seed, _AT_ONCE):
            for tally in pool.imap(one, range(start, start + _AT_ONCE)):
                if total.graphs < options.graphs:
                    total.add(tally)
            if total.graphs >= options.graphs:
                break
    print(total)
    return 1 if total.mismatches else 0


if __name__ == "__main__":
    raise SystemExit(main())
