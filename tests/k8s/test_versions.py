"""What the chart renders is valid on every version of Kubernetes from 1.20 to 1.37."""

import json
import os
import subprocess

import pytest
from support.chart import EVERYTHING, ROOT, named, rendered, tool

OLDER = [f"1.{minor}.0" for minor in range(20, 25)]
NEWER = [f"1.{minor}.0" for minor in range(25, 38)]
SETS = {"defaults": (), "everything": EVERYTHING}


@pytest.mark.parametrize("options", SETS.values(), ids=SETS)
@pytest.mark.parametrize(("versions", "older"), [(OLDER, True), (NEWER, False)])
def test_every_manifest_is_valid(versions, older, options, tmp_path):
    python = tool("python")
    manifests = {version: rendered(*options, version=version) for version in versions}
    (tmp_path / "manifests.json").write_text(json.dumps(manifests))
    path = {"PYTHONPATH": str(ROOT / ".venv-k8s/older")} if older else {}
    script = ROOT / "tests/k8s/validate_manifests.py"
    done = subprocess.run(
        [python, script, tmp_path / "manifests.json"],
        env=os.environ | path,
        capture_output=True,
        text=True,
        check=True,
    )
    count = sum(map(len, manifests.values()))
    assert count > 15 * len(versions)
    assert done.stdout.splitlines() == [f"{count} checked"]


@pytest.mark.parametrize(
    ("version", "scaler", "budget"),
    [
        ("1.20.2", "autoscaling/v1", "policy/v1beta1"),
        ("1.22.0", "autoscaling/v1", "policy/v1"),
        ("1.23.0-gke.4", "autoscaling/v2", "policy/v1"),
        ("1.37.0", "autoscaling/v2", "policy/v1"),
    ],
)
def test_api_versions_follow_the_cluster(version, scaler, budget):
    manifests = rendered(version=version)
    assert named(manifests, "HorizontalPodAutoscaler", "snn-fusion-api")["apiVersion"] == scaler
    assert named(manifests, "PodDisruptionBudget", "snn-fusion-api")["apiVersion"] == budget
