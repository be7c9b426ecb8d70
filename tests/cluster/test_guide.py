"""The guide's commands, in their order, as they stand there but for names of images and files."""

import re
import subprocess

import pytest
from support.chart import ROOT

BLOCKS = re.findall(
    r"^```sh\n(.*?)^```$", (ROOT / "docs/deploy.md").read_text(), re.DOTALL | re.MULTILINE
)
LINES = [line for block in BLOCKS for line in block.splitlines()]
TRIED = [
    line
    for line in LINES
    if line.startswith(("k8s/scripts/", "kubectl", "helm")) and "port-forward" not in line
]
NEEDS_MORE = ("kubectl top",)
"""What not every cluster has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module", autouse=True)
def as_before(cluster):
    yield
    cluster.kubectl("delete", "horizontalpodautoscalers", "--all", check=False)
    cluster.deploy()


@pytest.mark.parametrize("number", range(len(TRIED)))
def test_it_works(cluster, folder, number):
    line = TRIED[number]
    if line.startswith(NEEDS_MORE):
        pytest.skip("needs more than a cluster")
    if "deploy.sh" in line:  # what scaling.sh made would undo what it says of replicas
        cluster.kubectl("delete", "horizontalpodautoscalers", "--all")
    done = cluster.run("bash", "-euo", "pipefail", "-c", adapted(line, cluster, folder), cwd=ROOT)
    assert done.stdout or "set image" in line  # silent where it is that image already
    for deployment in cluster.get("deployments"):
        cluster.rolled_out(f"deployment/{deployment['metadata']['name']}")


def adapted(line, cluster, folder):
    """Return a command with this cluster's images, its values, and files out of the way."""
    line = line.partition("  # ")[0]
    line = line.replace("-n snn-fusion", f"-n {cluster.namespace}")
    line = line.replace("saved.tar.gz", str(folder / "saved.tar.gz"))
    line = re.sub(r"(your-registry\.example/)?snn-fusion:\w+", cluster.image, line)
    if line.startswith("k8s/scripts/deploy.sh"):
        images = f"--image {cluster.image} --loihi-image {cluster.loihi_image}"
        values = f"--targets {','.join(cluster.targets)} {' '.join(cluster.values)}"
        line = line.replace("deploy.sh", f"deploy.sh {images} {values}")
    return line


def test_the_front_can_be_reached_from_here(cluster):
    """The command that forwards, then the one that asks."""
    forward, ask = [line for line in LINES if "port-forward" in line or line.startswith("curl")]
    environment = cluster.environment() | {"KEY": cluster.key()}
    command = forward.partition("  # ")[0].replace("-n snn-fusion", f"-n {cluster.namespace}")
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"], env=environment, stdout=subprocess.PIPE
    ) as forwarding:
        try:
            assert b"Forwarding" in forwarding.stdout.readline()
            text = ask.partition("  # ")[0]
            done = subprocess.run(
                ["bash", "-c", text], env=environment, capture_output=True, check=True
            )
            assert b'"loihi-emulator"' in done.stdout
        finally:
            forwarding.terminate()
