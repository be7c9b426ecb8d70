"""The demonstration as people run it: a real service, real recordings, both engines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def demo(folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def of_the_demo(mark):
    """Return the processes whose environment carries a mark: what the demonstration started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_text(errors="replace"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.full
def test_both_engines_agree_on_recordings_posted_over_http(tmp_path):
    mark = f"DEMO_OF={tmp_path}"
    done = demo(tmp_path, DEMO_OF=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("identical") >= 8  # and more where Lava is installed
    assert done.stdout.count("brian2") == done.stdout.count("loihi-emulator") == 4
    assert done.stdout.count("same digit") == 4
    assert (tmp_path / "out" / "demo.png").stat().st_size > 10_000
    assert of_the_demo(mark) == []


def test_a_demonstration_without_models_fails_and_says_so(tmp_path):
    (tmp_path / "none").mkdir()
    done = demo(tmp_path, SNN_FUSION_MODELS_DIR=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "failed" in done.stdout
