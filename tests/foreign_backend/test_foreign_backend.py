"""A backend package from outside is installed, found through its entry point, and proves itself."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import write_model

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip installed the package, and the environment that sees it."""
    folder = tmp_path_factory.mktemp("foreign")
    # Building writes beside the sources; what others compile meanwhile comes and goes.
    shutil.copytree(HERE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--target", str(folder / "site"), str(folder / "source")),
        ],
        os.environ,
    )
    return os.environ | {
        "PYTHONPATH": str(folder / "site"),
        "SNN_FUSION_HW_CONFIGS": str(HERE / "targets"),
    }


def run(command, environment, cwd=ROOT):
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_found_through_its_entry_point(installed, tmp_path):
    rows = json.loads(run([sys.executable, "-m", "api.cli", "targets", "--json"], installed))
    assert rows["targets"]["slowpoke"]["available"]


def test_it_passes_the_shipped_tests(installed):
    told = run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         str(HERE / "contract_of_slowpoke.py")],
        installed,
    )  # fmt: skip
    passed = int(re.search(r"(\d+) passed", told)[1])
    assert passed >= 8, told


def test_it_runs_a_model_by_name_of_its_target(installed, tmp_path):
    write_model(tmp_path / "small")
    told = subprocess.run(
        [sys.executable, "-m", "api.cli", "check", str(tmp_path / "small"), "--targets",
         "slowpoke", "--json"],
        env=installed, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (report,) = json.loads(told.stdout)["targets"]
    assert {violation["used"] for violation in report["violations"]} == {"Flatten"}


def test_it_imports_the_facade_only():
    text = (HERE / "slowpoke" / "__init__.py").read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported == {"time", "numpy", "snn_fusion"}
