"""The commands of docs/deploy.md name what exists; the scripts among them run dry."""

import os
import re
import shlex
import subprocess

import pytest
from support.chart import ROOT, named, rendered, tool

GUIDE = (ROOT / "docs/deploy.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
COMMANDS = [line.split("  # ")[0] for block in BLOCKS for line in block.splitlines()]
SCRIPTS = [line for line in COMMANDS if line.startswith("k8s/scripts/") and ".tar.gz" not in line]


def test_the_guide_has_commands():
    assert len(COMMANDS) > 20
    assert len(SCRIPTS) > 8


@pytest.mark.parametrize("command", sorted(set(SCRIPTS)))
def test_scripts_run_dry(command):
    tool("helm")
    path = f"{ROOT / '.venv-k8s/bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*shlex.split(command), "--dry-run"],
        cwd=ROOT,
        env=os.environ | {"PATH": path, "KUBECONFIG": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_names_are_those_of_the_chart():
    manifests = rendered()
    (container,) = named(manifests, "Deployment", "snn-fusion-api")["spec"]["template"]["spec"][
        "containers"
    ]
    assert "deployment/snn-fusion-api snn-fusion-api=" in GUIDE
    assert container["name"] == "snn-fusion-api"
    for kind, name in re.findall(r"\b(deployment|service|secret)[/ ](snn-fusion[a-z-]*)", GUIDE):
        assert named(manifests, kind.capitalize(), name)
    assert all("-n snn-fusion" in line for line in COMMANDS if line.startswith(("kubectl", "helm")))


def test_the_guide_s_files_exist():
    for path in re.findall(r"(?<![-.])\bk8s/[a-z_/.-]+[a-z]", GUIDE):
        assert (ROOT / path).exists() or path.endswith("/dashboards"), path


def test_figures_are_those_of_the_chart():
    manifests = rendered()
    scaler = named(manifests, "HorizontalPodAutoscaler", "snn-fusion-api")["spec"]
    assert f"{scaler['minReplicas']} to {scaler['maxReplicas']} pods at 70 %" in GUIDE
    pod = named(manifests, "Deployment", "snn-fusion-api")["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "1000m", "memory": "2Gi"},
    }
    assert "goes on serving for 5 s" in GUIDE
    assert pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
