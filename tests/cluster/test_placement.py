"""A board's pod runs where a free board is, and nowhere else."""

import re

import pytest
import yaml
from support.boards import Boards, bound, words
from support.chart import ROOT
from support.cluster import wait

CONFIG = yaml.safe_load((ROOT / "hw_configs/loihi2-chip.yaml").read_text())
RESOURCE = CONFIG["node_resource"]


@pytest.fixture(scope="module")
def boards(cluster):
    return Boards.of(cluster, CONFIG)


@pytest.fixture(scope="module")
def chip(cluster, boards):
    """Install the target of a board; no node has one yet."""
    cluster.upgrade("targets.loihi2-chip.boards=1")
    yield cluster
    cluster.upgrade("targets.loihi2-chip=null")
    boards.take(cluster.node())


def test_it_waits_for_a_node_and_says_so(chip):
    # Newer schedulers name the affinity, older ones the selector.
    wait(lambda: re.search("node affinity|node selector", words(chip.pods("loihi2-chip"))))
    assert bound(chip.pods("loihi2-chip")) == []
    said = chip.script("health_check", check=False).stderr
    assert "finds no node" in said
    assert "docs/lab-operator.md" in said


def test_it_waits_for_a_free_board_on_a_labelled_node(chip, boards):
    boards.mark(chip.node())
    wait(lambda: f"Insufficient {RESOURCE}" in words(chip.pods("loihi2-chip")))
    assert bound(chip.pods("loihi2-chip")) == []


def test_it_runs_there_soon_after_the_board(chip, boards):
    node = chip.node()
    boards.give(node)
    wait(lambda: bound(chip.pods("loihi2-chip")) == [node], 60)


def test_two_never_share_a_board(chip):
    refused = chip.script("scaling", "scale", 2, "--target", "loihi2-chip", check=False)
    assert refused.returncode == 2
    assert "offers 1" in refused.stderr
    deployment = f"deployment/{chip.release}-loihi2-chip"
    chip.kubectl("scale", deployment, "--replicas=2")
    wait(lambda: f"Insufficient {RESOURCE}" in words(chip.pods("loihi2-chip")))
    assert len(chip.pods("loihi2-chip")) == 2
    assert len(bound(chip.pods("loihi2-chip"))) == 1
    chip.kubectl("scale", deployment, "--replicas=1")


def test_a_new_version_takes_the_board_of_the_old_one(chip):
    chip.upgrade("targets.loihi2-chip.boards=1", "podAnnotations.placed=again")

    def placed():
        pods = [p for p in chip.pods("loihi2-chip") if p["metadata"]["annotations"].get("placed")]
        return bound(pods)

    assert len(wait(placed, 500)) == 1
