"""Calls of every kind that the OpenAPI document allows, and some that it does not: `make fuzz-api`.

Schemathesis makes them from the document of a real service and holds every reply to it. A status
that is not documented fails the run, 500 among them. Loading and unloading are left out: each call
starts a process that reads the model, and `tests/api/oip/test_fuzz.py` fuzzes them.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.api_server import running
from support.oip import write_oip_shelf

from api.logs import configure_logging
from api.settings import load_settings

CHECKS = (
    "status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
HOOKS = "support.fuzz_hooks"
CONFIGURATION = """
[phases.fuzzing.extra-data-sources]
responses = false
"""
"""Earlier replies are no source of values: to look through them takes longer with every call."""
OPERATIONS = 30
"""About so many operations have as many different calls as are asked for; the others have few."""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What a run came to: calls made, calls whose reply was as documented, and the whole report."""

    calls: int
    passed: int
    report: str


def fuzz(calls: int, seed: int | None = None) -> Fuzzed:
    """Return what about so many calls came to.

    Args:
        calls: how many; there are more than a thousand in any case.
        seed: makes the same calls again.
    """
    with tempfile.TemporaryDirectory() as folder:
        shelf = write_oip_shelf(Path(folder))
        settings = load_settings(
            models_dir=shelf,
            store=str(Path(folder) / "store"),
            model="listening",
            targets="numpy",
            max_steps=500,
            log_level="ERROR",
        )
        configure_logging(settings)
        with running(settings) as server:
            server.wait_until_ready()
            address = str(server.client.base_url).rstrip("/")
            return _run(address, folder, calls, seed)


def _run(address: str, folder: str, calls: int, seed: int | None) -> Fuzzed:
    Path(folder, "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{address}/openapi.json"),
        *("--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
        *("--max-examples", str(max(1, calls // OPERATIONS)), "--workers", "1"),
        *("--request-timeout", "60"),
        *("--suppress-health-check", "all", "--warnings", "off", "--no-color"),
        *("--exclude-path-regex", "/(load|unload)$"),
        *(("--seed", str(seed)) if seed is not None else ()),
    ]
    paths = os.pathsep.join(str(path) for path in (Path.cwd(), Path.cwd() / "tests"))
    environment = os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": paths}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    report = done.stdout + done.stderr
    counted = re.search(r"([\d,]+) generated(?:, ([\d,]+) passed)?", report)
    made, passed = (_number(one) for one in counted.groups()) if counted else (0, 0)
    return Fuzzed(made, passed if done.returncode == 0 else min(passed, made - 1), report)


def _number(text: str | None) -> int:
    return int((text or "0").replace(",", ""))


def main() -> int:
    """Fuzz as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--seed", type=int)
    chosen = parser.parse_args()
    fuzzed = fuzz(chosen.calls, chosen.seed)
    print(fuzzed.report)
    print(json.dumps({"calls": fuzzed.calls, "passed": fuzzed.passed}))
    return 0 if fuzzed.calls and fuzzed.passed == fuzzed.calls else 1


if __name__ == "__main__":
    sys.exit(main())
