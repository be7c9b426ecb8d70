"""The examples of the page on platforms run: on the platform, then here, then compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-platforms/bin/python"
PAGE = (ROOT / "docs/reference/platforms.md").read_text()
FENCED = re.compile(r"^```(py_platform|sh|py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTIONS = {
    part.splitlines()[0]: FENCED.findall(part) for part in re.split(r"^## ", PAGE, flags=re.M)
}

pytestmark = pytest.mark.full


def test_every_section_has_its_examples_whole():
    kinds = {name: [kind for kind, _ in blocks] for name, blocks in SECTIONS.items() if blocks}
    assert set(kinds) == {"snnTorch", "Norse", "sinabs", "SpikingJelly", "Nengo"}
    assert all(found == ["py_platform", "sh", "py"] for found in kinds.values())


@pytest.mark.parametrize("section", [name for name, blocks in SECTIONS.items() if blocks])
def test_the_example_gives_the_platforms_spikes(section, tmp_path):
    if not (PYTHON.parents[1] / ".installed").exists():
        pytest.skip("no environment .venv-platforms: `make platforms` makes it and needs a network")
    here = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    commands = {
        "py_platform": [PYTHON, "-c"],
        "sh": ["bash", "-euo", "pipefail", "-c"],
        "py": [sys.executable, "-c"],
    }
    for kind, text in SECTIONS[section]:
        done = subprocess.run(
            [*commands[kind], text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{kind}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
