"""Starts the service, posts shipped recordings to its targets over HTTP, and shows what came back.

Prints a table, writes `out/demo.png`, stops the service, and exits with 0 only if every request
was answered, engines of one arithmetic gave identical answers, and integers decided as floats did.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from api.picture import draw_answer

MODEL, SAMPLES = "av_digits", 4
FLOATS, INTEGERS = ("numpy", "brian2"), ("loihi-emulator", "loihi-lava")
"""Targets by arithmetic; the first of each is what the others are held to. Those of integers that
cannot be used on this machine, Lava for one, are left out."""
DIFFERENT = "DIFFERENT"
PICTURE = Path("out/demo.png")
START_S, ANSWER_S = 60.0, 300.0
IDENTICAL = ("windows", "spikes", "counts")
"""Parts of two replies that have to agree; timing and request id differ."""


@contextlib.contextmanager
def service() -> Iterator[str]:
    """Run the service on a free port of this machine, give its address, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "serve"],
        env=os.environ | {"SNN_FUSION_PORT": str(port), "SNN_FUSION_LOG_LEVEL": "WARNING"},
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the service takes requests.

    Raises:
        RuntimeError: if it ended or took longer than a minute.
    """
    for _ in range(int(START_S * 10)):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with exit code {process.returncode}")
        try:
            call(f"{address}/healthz/ready")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the service was not ready after {START_S:g} s")


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return the decoded JSON of a GET, or of a POST if there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
        return json.load(reply)


def question(sample: dict[str, Any], target: str, sensors: list[str]) -> dict[str, Any]:
    """Return the request that fuses a shipped sample on a target."""
    return {
        "model": MODEL,
        "target": target,
        "record": ["all"],
        "quantise": target in INTEGERS,
        "sensors": {name: {"sample": sample["name"]} for name in sensors},
    }


def row(sample: dict[str, Any], target: str, reply: dict[str, Any], same: str) -> list[str]:
    """Return one line of the table."""
    window = reply["windows"][0]
    sensors = [
        f"{max(p, key=p.__getitem__)} {max(p.values()):.2f}"
        for p in (part["posterior"] for part in window["sensors"].values())
    ]
    spikes = sum(reply["counts"]["spikes"].values())
    run_ms = f"{reply['timing']['run_s'] * 1e3:.0f}"
    fused = f"{window['label']} {window['confidence']:.2f}"
    quality = f"{window['quality']['score']:.2f}"
    return [sample["name"], sample["label"], target, *sensors, fused, quality, str(spikes),
            run_ms, same]  # fmt: skip


def usable(address: str) -> list[str]:
    """Return the targets to ask: all of floats, and those of integers that can be used here."""
    known = {one["name"]: one["available"] for one in call(f"{address}/v1/targets")["targets"]}
    return [*FLOATS, *(name for name in INTEGERS if known.get(name))]


def ask(address: str, samples: list[dict[str, Any]], table: Table) -> tuple[bool, dict[str, Any]]:
    """Post every sample to every target; return whether they agreed, and the least sure reply."""
    agreed, replies = True, []
    for sample in samples:
        firsts: dict[str, dict[str, Any]] = {}
        for target in usable(address):
            sensors = sorted(sample["sensors"])
            reply = call(f"{address}/v1/fuse", question(sample, target, sensors))
            told = judge(reply, firsts)
            agreed = agreed and told != DIFFERENT
            if target in FLOATS:
                replies.append(reply | {"title": f"{sample['name']} on {target}"})
            table.add_row(*row(sample, target, reply, told), end_section=target == FLOATS[-1])
        table.add_section()
    return agreed, min(replies, key=lambda reply: reply["windows"][0]["quality"]["score"])


def judge(reply: dict[str, Any], firsts: dict[str, dict[str, Any]]) -> str:
    """Return how a reply compares with the first of its arithmetic, or else the first of all.

    Args:
        reply: a target's reply.
        firsts: arithmetic → the first reply in it; the reply is added where it is the first.
    """
    arithmetic = reply["contract"]["arithmetic"]
    if arithmetic in firsts or not firsts:
        first = firsts.setdefault(arithmetic, reply)
        same = all(reply[part] == first[part] for part in IDENTICAL)
        return "identical" if same else DIFFERENT
    firsts[arithmetic] = reply
    kept = reply["quantisation"]["loss"]["predicted"]
    labels = {one["windows"][0]["label"] for one in firsts.values()}
    return f"same digit, {kept:.0%} of spikes" if len(labels) == 1 else DIFFERENT


def main() -> int:
    """Run the demonstration; return the exit code."""
    console = Console(width=120)
    try:
        with service() as address:
            samples = [s for s in call(f"{address}/v1/samples")["samples"] if s["model"] == MODEL]
            sensors = sorted(samples[0]["sensors"])
            columns = ["sample", "truth", "target", *sensors, "fused", "Q", "spikes", "run / ms",
                       "compared"]  # fmt: skip
            table = Table(*columns)
            agreed, reply = ask(address, samples[:SAMPLES], table)
        console.print(table)
        PICTURE.parent.mkdir(exist_ok=True)
        draw_answer(reply, PICTURE, reply["title"])
        console.print(f"Rasters and posteriors of the least sure answer: {PICTURE}")
    except (RuntimeError, urllib.error.URLError, IndexError, KeyError) as error:
        detail = error.read().decode() if isinstance(error, urllib.error.HTTPError) else error
        console.print(f"The demonstration failed: {detail}", style="red")
        return 1
    if not agreed:
        console.print("The targets gave different answers.", style="red")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
