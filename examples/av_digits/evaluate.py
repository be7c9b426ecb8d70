"""Score the audio-visual digits model, or the recipe that trains it.

    python evaluate.py --model DIR --fsdd DIR --nmnist DIR [--ids A:B] [--level 0-3]
                       [--target NAME] [--json]

scores a finished model through the service's own pipeline, without training and without PyTorch.
Every clip is paired with a camera recording of its digit: the k-th clip of a digit, by file name,
with the (k mod n)-th of that digit's n recordings, by number.

    python evaluate.py --fsdd DIR --nmnist DIR

leaves out one speaker at a time, trains anew with seeds 0 to 2 (about 25 minutes; needs PyTorch)
and prints a table.
"""

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from av_digits.noise import LEVELS
from av_digits.scoring import score_model

from backends.errors import BackendError

CAVEAT = "The two sensors were recorded apart and paired by label, which flatters late fusion."
SEEDS = range(3)


def main() -> None:
    """Read the command line and print the score."""
    parser = _parser()
    given = parser.parse_args()
    try:
        if given.model is None:
            _cross_validate(given)
        else:
            _score(given)
    except (OSError, ValueError, BackendError) as error:
        parser.exit(1, f"evaluate.py: {error}\n")


def _score(given: argparse.Namespace) -> None:
    score = score_model(given.model, given.fsdd, given.nmnist, given.ids, given.level, given.target)
    if given.json:
        print(json.dumps(asdict(score)))
        return
    print(f"{score.n} pairs, noise level {given.level}, target {given.target}")
    for name in ("audio", "vision", "fused"):
        print(f"{name:7} {100 * getattr(score, name):5.1f} % right")
    print(f"quality {score.q:.3f}")
    print(CAVEAT)


def _cross_validate(given: argparse.Namespace) -> None:
    # Only this mode trains, so only it may ask for PyTorch.
    try:
        recipe = import_module("av_digits.recipe")
        crossval = import_module("av_digits.crossval")
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}: training needs the optional extra `train`") from None
    found = []
    for seed in SEEDS:
        found += recipe.cross_validate(given.fsdd, given.nmnist, seed, _say)
    print(crossval.table(found))
    print(CAVEAT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Score the audio-visual digits model.")
    parser.add_argument("--model", type=Path, help="model folder; without it, cross-validate")
    parser.add_argument("--fsdd", type=Path, required=True, help="folder of FSDD wav files")
    parser.add_argument("--nmnist", type=Path, required=True, help="folder of N-MNIST recordings")
    parser.add_argument(
        "--ids", type=_ids, default=range(701, 801), help="camera recordings A:B, both included"
    )
    parser.add_argument("--level", type=int, choices=range(len(LEVELS)), default=0)
    parser.add_argument("--target", default="numpy", help="where to run")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


def _ids(text: str) -> range:
    first, _, last = text.partition(":")
    try:
        numbers = range(int(first), int(last) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected two numbers like 701:800") from None
    if not numbers:
        raise argparse.ArgumentTypeError(f"{text!r} holds no number")
    return numbers


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
