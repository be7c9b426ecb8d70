"""Ask a front for the answer of every target: `ask_every_target.py ADDRESS KEY_FILE TARGET...`.

Ends with 1 if a target does not answer. Needs the standard library only.
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

MODEL = "av_digits"
PROFILES = {"lava-float": "lava-float"}
"""Targets that run no model under its own contract."""
SENSORS = {"audio": {"sample": "digit-7"}, "vision": {"sample": "digit-7"}}


def ask(address: str, key: str, target: str) -> str:
    """Return what a target believes to have heard and seen, or why it did not answer."""
    body = {"model": MODEL, "target": target, "sensors": SENSORS, "quantise": True}
    if target in PROFILES:
        body["profile"] = PROFILES[target]
    request = urllib.request.Request(
        f"{address}/v1/fuse",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return str(json.load(reply)["windows"][-1]["label"])
    except urllib.error.HTTPError as error:
        return f"error {error.code}: {error.read().decode(errors='replace')}"
    except OSError as error:
        return f"error: {error}"


def main() -> int:
    """Ask them one after the other."""
    address, key_file, *targets = sys.argv[1:]
    path = Path(key_file)
    key = path.read_text().strip() if path.exists() else ""
    failed = 0
    for target in targets:
        said = ask(address, key, target)
        failed += said.startswith("error")
        print(f"{target}: {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
