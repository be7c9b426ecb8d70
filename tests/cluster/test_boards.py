"""Boards whose pods really run: soon after the label, one pod a board, and no other's requests."""

from pathlib import Path

import pytest
import yaml
from support.boards import Boards, bound, ready, words
from support.cluster import wait

VALUES = Path(__file__).with_name("board.yaml")
CONFIG = yaml.safe_load(VALUES.read_text())["hwConfigs"]["lab-board"]
SOON_S = 60


@pytest.fixture(scope="module")
def boards(cluster):
    """Install a target that any node can run, and give one node its board, but no label."""
    found = Boards.of(cluster, CONFIG)
    cluster.upgrade(file=VALUES)
    cluster.rolled_out(f"deployment/{cluster.release}-api")
    found.give(cluster.node())
    yield found
    cluster.upgrade("targets.lab-board=null", "hwConfigs=null")
    found.take(cluster.node())
    cluster.rolled_out(f"deployment/{cluster.release}-api")


def test_without_a_label_requests_are_refused_at_once(cluster, boards):
    wait(lambda: words(cluster.pods("lab-board")))
    assert bound(cluster.pods("lab-board")) == []
    outcome = cluster.ask("lab-board", seconds=5)
    assert outcome["asked"] > 10
    assert {why.partition(":")[0] for why in outcome["failed"]} == {"503"}
    assert sum(outcome["failed"].values()) == outcome["asked"]


def test_it_runs_soon_after_the_label_and_answers(cluster, boards):
    boards.mark(cluster.node())
    wait(lambda: bound(cluster.pods("lab-board")) == [cluster.node()], 10)
    wait(lambda: ready(cluster.pods("lab-board")), SOON_S)
    wait(lambda: cluster.ask("lab-board")["failed"] == {}, SOON_S)


def test_two_never_share_a_board(cluster, boards):
    deployment = f"deployment/{cluster.release}-lab-board"
    cluster.kubectl("scale", deployment, "--replicas=2")
    try:
        wait(lambda: f"Insufficient {boards.resource}" in words(cluster.pods("lab-board")))
        assert len(bound(cluster.pods("lab-board"))) == 1
        boards.give(cluster.node(), 2)
        wait(lambda: len(ready(cluster.pods("lab-board"))) == 2, SOON_S)
    finally:
        cluster.kubectl("scale", deployment, "--replicas=1")
        boards.give(cluster.node(), 1)


def test_a_pod_that_ends_gives_its_board_to_the_next(cluster, boards):
    (old,) = wait(lambda: one(ready(cluster.pods("lab-board"))))
    cluster.kubectl("delete", "pod", old, "--wait=false")
    wait(lambda: set(ready(cluster.pods("lab-board"))) - {old}, 2 * SOON_S)
    wait(lambda: cluster.ask("lab-board")["failed"] == {}, SOON_S)


def one(found):
    return found if len(found) == 1 else None
