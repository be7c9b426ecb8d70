"""The chart as Helm renders it, and the tools of `make k8s-tools`."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "k8s/chart"
TOOLS = ROOT / ".venv-k8s/bin"


def tool(name):
    """Return the path of a tool; skip the test where it is not to be had."""
    path = TOOLS / name
    if not path.exists():
        pytest.skip(f"{name} is not there: make k8s-tools")
    return str(path)


def helm(*arguments):
    """Run helm and return what it did, without raising."""
    return subprocess.run(
        [tool("helm"), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@cache
def rendered(*options, version="1.37.0", release="snn-fusion"):
    """Return the manifests of the chart under options such as `--set a=b`."""
    done = helm("template", release, CHART, "-n", "snn-fusion", "--kube-version", version, *options)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def refused(*options):
    """Return why Helm refuses to render the chart under options."""
    done = helm("template", "snn-fusion", CHART, "-n", "snn-fusion", *options)
    assert done.returncode != 0, done.stdout
    return done.stderr


def named(manifests, kind, name):
    """Return the one manifest of a kind and name."""
    (found,) = (m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def setting(values):
    """Return options that set values, `a.b=c` each."""
    return tuple(part for value in values for part in ("--set", value))


def pods(manifests):
    """Return name → pod specification of everything that runs."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            found[manifest["metadata"]["name"]] = manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            found[manifest["metadata"]["name"]] = manifest["spec"]["template"]["spec"]
    return found


def environment(pod):
    """Return name → value of the variables that the first container is given directly."""
    return {entry["name"]: entry.get("value") for entry in pod["containers"][0].get("env", ())}


EVERYTHING = setting(
    [
        "targets.brian2.autoscaling.enabled=true",
        "targets.loihi-lava.replicas=2",
        "targets.loihi2-chip.boards=2",
        "targets.loihi2-chip.egress[0].ports[0].port=7000",
        "ingress.enabled=true",
        "models.claim.enabled=true",
        "monitoring.operator=true",
        "nodeFeatures.enabled=true",
        "operators[0].kind=Group",
        "operators[0].name=lab",
        "hwConfigs.mine.name=mine",
        "hwConfigs.mine.backend=numpy",
        "hwConfigs.mine.capabilities.hardware=false",
        "imagePullSecrets[0]=registry",
    ]
)
"""Options that turn everything on."""
