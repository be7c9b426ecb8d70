"""The Dockerfile, and what is sent to its build."""

import re
import subprocess
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.chart import CHART, ROOT, tool

DOCKERFILE = (ROOT / "k8s/Dockerfile").read_text()
USER = re.compile(r"^USER (\d+):\1$", re.MULTILINE)


def test_hadolint_finds_nothing():
    done = subprocess.run(
        [tool("hadolint"), ROOT / "k8s/Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_image_s_user_is_the_chart_s():
    (user,) = USER.findall(DOCKERFILE)
    assert f"runAsUser: {user}" in (CHART / "templates/_pod.tpl").read_text()


def test_the_stage_that_is_built_by_default_is_the_service():
    stages = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert stages[-1] == "service"
    assert "loihi" in stages


def test_only_what_is_named_is_sent_to_the_build():
    """Environments, caches and secrets beside the sources never get into a layer."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    for line in lines:
        if line.startswith("!"):
            assert (ROOT / line[1:]).exists(), line


def test_every_library_has_one_version():
    lines = (ROOT / "k8s/requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert len(pinned) > 40
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^=\s]+", line) for line in pinned)


def test_the_images_hold_what_the_project_needs():
    """k8s/tools/pin.py is to be run again when pyproject.toml changes."""
    lines = (ROOT / "k8s/requirements.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    pinned = {canonicalize_name(name): version for name, version in pairs}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    image = {"python_version": "3.12", "python_full_version": "3.12.0", "sys_platform": "linux"}
    needed = [Requirement(line) for line in project["dependencies"]]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate(image)]
    assert len(needed) > 10
    for one in needed:
        assert pinned[canonicalize_name(one.name)] in one.specifier, one
