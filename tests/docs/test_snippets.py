"""Every snippet of the README and of the pages under `docs/` runs against a real service."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.api_server import running

from api.settings import PREFIX, Settings, load_settings
from fusion.manifest import parse_manifest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # What the pages upload is nobody else's to see.
        patch.setenv("SNN_FUSION_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("SNN_FUSION_HW_CONFIGS", str(uncompiled(tmp_path_factory.mktemp("targets"))))
        with running(load_settings()) as server:
            server.wait_until_ready()
            yield str(server.client.base_url).rstrip("/").removeprefix("http://")


def uncompiled(folder):
    """Write the target `brian2` without compiled code, which takes minutes to make."""
    text = (ROOT / "hw_configs/brian2.yaml").read_text()
    assert "codegen: auto" in text
    (folder / "brian2.yaml").write_text(text.replace("codegen: auto", "codegen: numpy"))
    return folder


def blocks(page):
    return FENCED.findall(page.read_text())


def runnable(page):
    return any(kind in ("python", "bash") for kind, _ in blocks(page))


@pytest.mark.parametrize(
    "page", [p for p in PAGES if runnable(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_snippets_run(page, address, tmp_path):
    """Blocks of a page share one folder, and Python blocks one namespace."""
    if shutil.which("curl") is None and "curl " in page.read_text():
        pytest.skip("the page calls curl, which is not on this machine")
    told, ran = [], 0

    def run_python():
        nonlocal ran
        if len(told) > ran:
            ran = len(told)
            run([sys.executable, "-c", "\n".join(told)], tmp_path)

    for kind, written in blocks(page):
        text = written.replace("127.0.0.1:8080", address).replace(".venv/bin/", "")
        if kind == "python":
            told.append(text)
        elif kind == "bash":
            run_python()
            output = run(["bash", "-euo", "pipefail", "-c", text], tmp_path)
            assert output.strip() or ">" in text
        elif kind == "yaml":
            parse_manifest(text.encode())
            (tmp_path / "fusion.yaml").write_text(text)
    run_python()


def run(command, folder):
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_make_targets_that_the_pages_name_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        named = re.findall(r"\bmake ([a-z0-9-]+)", " ".join(t for _, t in blocks(page)))
        assert set(named) <= targets


def test_every_setting_is_documented():
    page = (ROOT / "docs/reference/settings.md").read_text()
    for name in Settings.model_fields:
        assert f"`{PREFIX}{name.upper()}`" in page
