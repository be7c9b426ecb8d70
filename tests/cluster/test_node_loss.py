"""A node that is lost: what runs on it moves, a board's pod waits, and nobody else notices.

`CLUSTER_NODE_DOWN` and `CLUSTER_NODE_UP` are commands that take a node's name, such as
`docker pause` and `docker unpause` for a cluster made by kind.
"""

import os
import shlex
from pathlib import Path

import pytest
import yaml
from support.boards import Boards, bound, ready, words
from support.cluster import wait

VALUES = Path(__file__).with_name("board.yaml")
CONFIG = yaml.safe_load(VALUES.read_text())["hwConfigs"]["lab-board"]
MASTERS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
GIVEN_UP_S = 600
"""A node is given up 40 s after its last sign, its pods 300 s later, unless the cluster says
otherwise; and then they start elsewhere."""


def power(cluster, way, node):
    cluster.run(*shlex.split(os.environ[f"CLUSTER_NODE_{way}"]), node)


@pytest.fixture(scope="module")
def node(cluster):
    """Return a node that can be lost: neither Redis nor the control plane is on it."""
    if "CLUSTER_NODE_DOWN" not in os.environ:
        pytest.skip("CLUSTER_NODE_DOWN and CLUSTER_NODE_UP say how a node is lost")
    redis = cluster.get("pod", f"{cluster.release}-redis-0")["spec"]["nodeName"]
    for found in cluster.get("nodes"):
        name, labels = found["metadata"]["name"], found["metadata"]["labels"]
        if name != redis and not any(master in labels for master in MASTERS):
            return name
    pytest.skip("no second node")


@pytest.fixture(scope="module")
def others(cluster, node):
    return [n["metadata"]["name"] for n in cluster.get("nodes") if n["metadata"]["name"] != node]


@pytest.fixture(scope="module")
def lost(cluster, node, others):
    """Lose the node on which a board's pod and a simulator's run.

    Yields what callers got from then on, by target.
    """
    boards = Boards.of(cluster, CONFIG)
    front = f"deployment/{cluster.release}-api"
    cluster.kubectl("cordon", node)
    cluster.upgrade("podAnnotations.moved=here", file=VALUES)
    cluster.rolled_out(front)
    cluster.kubectl("cordon", *others)
    cluster.kubectl("uncordon", node)
    try:
        cluster.kubectl("delete", "pod", "-l", "snn-fusion/target=brian2")
        boards.mark(node)
        cluster.rolled_out(f"deployment/{cluster.release}-brian2")
        boards.give(node)
        cluster.rolled_out(f"deployment/{cluster.release}-lab-board")
    finally:
        cluster.kubectl("uncordon", *others)
    for target in ("brian2", "lab-board"):
        assert bound(cluster.pods(target)) == [node]
        wait(lambda target=target: cluster.ask(target)["failed"] == {})
    try:
        with cluster.asking(60) as cpu, cluster.asking(60, "lab-board") as board:
            power(cluster, "DOWN", node)
        yield {"cpu": cpu, "lab-board": board}
    finally:
        power(cluster, "UP", node)
        wait(lambda: is_ready(cluster, node) == "True")
        boards.take(node)
        cluster.upgrade("targets.lab-board=null", "hwConfigs=null", "podAnnotations=null")
        cluster.rolled_out(front)


def is_ready(cluster, node):
    conditions = cluster.get("node", node)["status"]["conditions"]
    return next(c["status"] for c in conditions if c["type"] == "Ready")


def test_other_targets_are_answered_all_the_while(lost):
    assert lost["cpu"]["asked"] > 50
    assert lost["cpu"]["failed"] == {}


def test_requests_for_the_board_are_refused_at_once(cluster, lost):
    """But one, if it was on its way; it ends at its deadline."""
    failed = {503: 0, 502: 0, 504: 0}
    for why, times in lost["lab-board"]["failed"].items():
        failed[int(why.partition(":")[0])] += times
    assert failed[503] > 50
    assert failed[502] + failed[504] <= 1
    assert set(cluster.ask("lab-board")["failed"].values()) == {1}


def test_the_cluster_notices(cluster, node, lost):
    wait(lambda: is_ready(cluster, node) == "Unknown")


def test_a_simulator_starts_elsewhere(cluster, others, lost):
    def elsewhere():
        pods = cluster.pods("brian2")
        return pods and set(bound(pods)) <= set(others) and ready(pods)

    wait(elsewhere, GIVEN_UP_S)
    wait(lambda: cluster.ask("brian2")["failed"] == {})


def test_a_board_s_pod_waits_and_says_for_what(cluster, node, lost):
    def waits():
        pods = cluster.pods("lab-board")
        return pods and not bound(pods) and words(pods)

    assert "unreachable" in wait(waits, GIVEN_UP_S)
    said = cluster.script("health_check", check=False).stderr
    assert "lab-board" in said
    assert "finds no node" in said
    assert f"its node {node} does not answer" in said


def test_the_board_is_back_with_its_node(cluster, node, lost):
    power(cluster, "UP", node)
    wait(lambda: bound(cluster.pods("lab-board")) == [node])
    wait(lambda: cluster.ask("lab-board")["failed"] == {}, 300)
