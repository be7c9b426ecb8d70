"""Train the audio-visual digits model: about 15 minutes on one core.

    python train.py --fsdd DIR --nmnist DIR --out DIR [--seed N]

Needs PyTorch, the optional extra `train`.
"""

import argparse
from pathlib import Path

from av_digits.recipe import train_model


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the audio-visual digits model.")
    parser.add_argument("--fsdd", type=Path, required=True, help="folder of FSDD wav files")
    parser.add_argument("--nmnist", type=Path, required=True, help="folder of N-MNIST recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness")
    given = parser.parse_args()
    try:
        train_model(given.fsdd, given.nmnist, given.out, given.seed, _say)
    except (OSError, ValueError) as error:
        parser.exit(1, f"train.py: {error}\n")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
