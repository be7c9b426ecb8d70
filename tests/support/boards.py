"""Boards that nodes of a live cluster are said to have, and pods that want them."""

import json
from dataclasses import dataclass
from typing import Any

from support.cluster import Cluster

COUNTS = ("capacity", "allocatable")
"""A kubelet makes the second of the first; nodes that only seem to be there have none."""


@dataclass(frozen=True)
class Boards:
    """Label, taint and count of one target's boards, as its file in `hw_configs` has them."""

    cluster: Cluster
    label: str
    resource: str
    taint: str

    @classmethod
    def of(cls, cluster: Cluster, config: Any) -> "Boards":
        """Return those of a target's file."""
        taint = config["taint"]
        words = f"{taint['key']}={taint.get('value', '')}:{taint.get('effect', 'NoSchedule')}"
        return cls(cluster, config["node_label"], config["node_resource"], words)

    def mark(self, node: str) -> None:
        """Label a node."""
        self.cluster.kubectl("label", "--overwrite", "node", node, self.label)

    def give(self, node: str, count: int = 1) -> None:
        """Taint a node, and say how many boards it has."""
        self.cluster.kubectl("taint", "--overwrite", "node", node, self.taint)
        self._patch(node, "add", str(count))

    def take(self, node: str) -> None:
        """Undo all that."""
        label, taint = self.label.partition("=")[0], self.taint.partition("=")[0]
        self.cluster.kubectl("label", "node", node, f"{label}-", check=False)
        self.cluster.kubectl("taint", "node", node, f"{taint}-", check=False)
        self._patch(node, "remove")

    def _patch(self, node: str, operation: str, value: str | None = None) -> None:
        name = self.resource.replace("/", "~1")
        for count in COUNTS:
            change = {"op": operation, "path": f"/status/{count}/{name}"}
            change |= {"value": value} if value else {}
            command = ("patch", "node", node, "--subresource=status", "--type=json")
            self.cluster.kubectl(*command, "-p", json.dumps([change]), check=False)


def bound(pods: list[Any]) -> list[str]:
    """Return the nodes of those pods that have one."""
    return [pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]]


def words(pods: list[Any]) -> str:
    """Return what the scheduler and the kubelets say of pods."""
    return " ".join(
        condition.get("message", "")
        for pod in pods
        for condition in pod["status"].get("conditions", ())
    )


def ready(pods: list[Any]) -> list[str]:
    """Return the names of those pods that are ready."""
    return [
        pod["metadata"]["name"]
        for pod in pods
        for condition in pod["status"].get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
