"""A board's pod runs where a free board is, and nowhere else."""

import json
import re

import pytest
from support.cluster import wait

from backends.registry import Registry

TARGET = Registry().targets["loihi2-chip"]
COUNTS = ("capacity", "allocatable")
"""A kubelet makes the second of the first; nodes that only seem to be there have none."""


@pytest.fixture(scope="module")
def chip(cluster):
    """Install the target of a board; no node has one yet."""
    cluster.upgrade("targets.loihi2-chip.boards=1")
    yield cluster
    cluster.upgrade("targets.loihi2-chip=null")
    node = cluster.node()
    key = TARGET.node_label.partition("=")[0]
    cluster.kubectl("label", "node", node, f"{key}-", check=False)
    cluster.kubectl("taint", "node", node, f"{TARGET.taint.key}-", check=False)
    patch(cluster, node, "remove")


def patch(chip, node, operation, value=None):
    name = TARGET.node_resource.replace("/", "~1")
    for count in COUNTS:
        change = {"op": operation, "path": f"/status/{count}/{name}"}
        change |= {"value": value} if value else {}
        command = ("patch", "node", node, "--subresource=status", "--type=json")
        chip.kubectl(*command, "-p", json.dumps([change]), check=False)


def bound(pods):
    return [pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]]


def words(pods):
    return " ".join(
        condition.get("message", "")
        for pod in pods
        for condition in pod["status"].get("conditions", ())
    )


def test_it_waits_for_a_node_and_says_so(chip):
    # Newer schedulers name the affinity, older ones the selector.
    wait(lambda: re.search("node affinity|node selector", words(chip.pods("loihi2-chip"))))
    assert bound(chip.pods("loihi2-chip")) == []
    said = chip.script("health_check", check=False).stderr
    assert "finds no node" in said
    assert "docs/lab-operator.md" in said


def test_it_waits_for_a_free_board_on_a_labelled_node(chip):
    node = chip.node()
    chip.kubectl("label", "--overwrite", "node", node, TARGET.node_label)
    wait(lambda: f"Insufficient {TARGET.node_resource}" in words(chip.pods("loihi2-chip")))
    assert bound(chip.pods("loihi2-chip")) == []


def test_it_runs_there_soon_after_the_board(chip):
    node = chip.node()
    taint = f"{TARGET.taint.key}={TARGET.taint.value}:{TARGET.taint.effect}"
    chip.kubectl("taint", "--overwrite", "node", node, taint)
    patch(chip, node, "add", "1")
    wait(lambda: bound(chip.pods("loihi2-chip")) == [node], 60)


def test_two_never_share_a_board(chip):
    refused = chip.script("scaling", "scale", 2, "--target", "loihi2-chip", check=False)
    assert refused.returncode == 2
    assert "offers 1" in refused.stderr
    deployment = f"deployment/{chip.release}-loihi2-chip"
    chip.kubectl("scale", deployment, "--replicas=2")
    wait(lambda: f"Insufficient {TARGET.node_resource}" in words(chip.pods("loihi2-chip")))
    assert len(chip.pods("loihi2-chip")) == 2
    assert len(bound(chip.pods("loihi2-chip"))) == 1
    chip.kubectl("scale", deployment, "--replicas=1")


def test_a_new_version_takes_the_board_of_the_old_one(chip):
    chip.upgrade("targets.loihi2-chip.boards=1", "podAnnotations.placed=again")

    def placed():
        pods = [p for p in chip.pods("loihi2-chip") if p["metadata"]["annotations"].get("placed")]
        return bound(pods)

    assert len(wait(placed, 500)) == 1
