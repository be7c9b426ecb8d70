"""Score the audio-visual digits model in floats and in Loihi's integers, on the same recordings.

    python evaluate_loihi.py --fsdd DIR --nmnist DIR [--model DIR] [--target NAME] [--seed N]

The model is quantised on the ten pairs of samples that ship with it. Clips are the takes 0 to 4 of
every speaker and digit, camera recordings 701 to 800: none of them trained the model, none of them
but the shipped samples calibrated it. Each clip is heard with two recordings of its digit, at noise
levels 0 and 2. The agreement of spikes is measured on clips without noise. Needs no PyTorch.
"""

import argparse
import sys
from pathlib import Path

from av_digits.loihi import Comparison, compare_on_loihi

from backends.errors import BackendError

CAVEAT = "The two sensors were recorded apart and paired by label, which flatters late fusion."
HERE = Path(__file__).parent


def main() -> None:
    """Read the command line and print the scores."""
    parser = argparse.ArgumentParser(description="Score the model on Loihi's integers.")
    parser.add_argument("--model", type=Path, default=HERE, help="model folder")
    parser.add_argument("--fsdd", type=Path, required=True, help="folder of FSDD wav files")
    parser.add_argument("--nmnist", type=Path, required=True, help="folder of N-MNIST recordings")
    parser.add_argument("--target", default="loihi-emulator", help="a target of integers")
    parser.add_argument("--seed", type=int, default=0, help="of noise and pairing")
    given = parser.parse_args()
    try:
        found = compare_on_loihi(
            given.model, given.fsdd, given.nmnist, given.target, given.seed, _say
        )
    except (OSError, ValueError, BackendError) as error:
        parser.exit(1, f"evaluate_loihi.py: {error}\n")
    print(_table(found))
    print(CAVEAT)


def _table(found: Comparison) -> str:
    lines = ["level  pairs  target          audio  vision  fused"]
    for level, scores in found.scores.items():
        for target, score in scores.items():
            parts = (100 * getattr(score, name) for name in ("audio", "vision", "fused"))
            cells = "  ".join(f"{part:5.1f}" for part in parts)
            lines.append(f"{level:5d}  {score.n:5d}  {target:14}  {cells}")
    lines.append(
        f"spikes as in floats: {found.predicted:.1%} predicted on the {found.calibration} shipped "
        f"samples, {found.measured:.1%} measured on {found.held_out} others"
    )
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
