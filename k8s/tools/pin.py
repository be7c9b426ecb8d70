"""Choose the versions that the images hold: `pin.py > k8s/requirements.txt`, with Python 3.12.

They are those that pip would install today for pyproject.toml with its extras for object stores
and traces.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = "s3,otel"


def main() -> int:
    """Print one line a package."""
    if sys.version_info[:2] != (3, 12):
        print("the images have Python 3.12; run this with it", file=sys.stderr)
        return 1
    options = ["--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--report",
        "-",
        f"{ROOT}[{EXTRAS}]",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    chosen = {
        re.sub("[-_.]+", "-", entry["metadata"]["name"]).lower(): entry["metadata"]["version"]
        for entry in json.loads(done.stdout)["install"]
    }
    del chosen["snn-fusion"]
    print("# What the images hold; made by k8s/tools/pin.py.")
    for name, version in sorted(chosen.items()):
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
