"""A live cluster that has the chart installed, driven by kubectl, helm and the shipped scripts."""

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from support.chart import CHART, ROOT

CLIENT = ROOT / "tests/cluster/client.py"


def wait(condition: Callable[[], Any], seconds: float = 180, every: float = 1.0) -> Any:
    """Return what the condition does once that is true; fail if it does not come true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(every)
    return found


class Cluster:
    """One release in a namespace of its own.

    The environment says which images and further values: CLUSTER_IMAGE, CLUSTER_LOIHI_IMAGE,
    CLUSTER_VALUES (files, comma-separated).
    """

    namespace = "snn-fusion-test"
    release = "snn-fusion"

    def __init__(self) -> None:
        self.image = os.environ.get("CLUSTER_IMAGE", "snn-fusion:latest")
        self.loihi_image = os.environ.get("CLUSTER_LOIHI_IMAGE", "snn-fusion-loihi:latest")
        files = [str(CHART / "values-lab.yaml"), *os.environ.get("CLUSTER_VALUES", "").split(",")]
        self.values = [part for file in files if file for part in ("--values", file)]
        self.targets = ["brian2", "loihi-lava"]

    def environment(self) -> dict[str, str]:
        """Return the environment of commands: the tools come first on the path."""
        path = f"{ROOT / '.venv-k8s/bin'}{os.pathsep}{os.environ['PATH']}"
        names = {"SNN_FUSION_NAMESPACE": self.namespace, "SNN_FUSION_RELEASE": self.release}
        return os.environ | names | {"PATH": path}

    def run(self, *command: Any, check: bool = True, **options: Any) -> Any:
        """Run a command."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def script(self, name: str, *arguments: Any, check: bool = True) -> Any:
        """Run a script of k8s/scripts."""
        return self.run(ROOT / f"k8s/scripts/{name}.sh", *arguments, check=check)

    def kubectl(self, *arguments: Any, check: bool = True, **options: Any) -> Any:
        """Run kubectl in the namespace."""
        return self.run("kubectl", "-n", self.namespace, *arguments, check=check, **options)

    def helm(self, *arguments: Any) -> Any:
        """Run helm in the namespace."""
        return self.run("helm", *arguments, "-n", self.namespace)

    def get(self, *arguments: str) -> Any:
        """Return an object, or a list's items."""
        found = json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)
        return found.get("items", found)

    def deploy(self, *options: str) -> None:
        """Install or change the release, and wait for all its deployments but those of boards."""
        self.script(
            "deploy", "--image", self.image, "--loihi-image", self.loihi_image,
            "--targets", ",".join(self.targets), *self.values, *options,
        )  # fmt: skip
        for name in self.targets:
            self.rolled_out(f"deployment/{self.release}-{name}")
        self.rolled_out(f"statefulset/{self.release}-redis")

    def rolled_out(self, what: str) -> None:
        """Wait until an object has what it should."""
        self.kubectl("rollout", "status", what, "--timeout=600s")

    def upgrade(self, *values: str, file: Path | None = None) -> None:
        """Change values, and leave all others as they are."""
        settings = [part for value in values for part in ("--set", value)]
        files = ("--values", file) if file else ()
        self.helm("upgrade", self.release, CHART, "--reuse-values", *files, *settings)

    def key(self) -> str:
        """Return the key for everything."""
        secret = self.get("secret", f"{self.release}-keys")
        return base64.b64decode(secret["data"]["first-key"]).decode()

    def pods(self, target: str) -> list[Any]:
        """Return the pods of a target that are not about to end."""
        found = self.get("pods", "-l", f"snn-fusion/target={target}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def node(self) -> str:
        """Return the name of a node that takes pods."""
        nodes = self.get("nodes")
        return next(
            node["metadata"]["name"] for node in nodes if not node["spec"].get("unschedulable")
        )

    @contextmanager
    def asking(self, seconds: float, target: str = "cpu") -> Iterator[Any]:
        """Ask from a pod meanwhile; yields an object that has the outcome in the end."""
        name = f"client-{time.monotonic_ns()}"
        url = f"http://{self.release}-api:8080"
        arguments = [url, self.key(), target, str(seconds)]
        self.kubectl("create", "-f", "-", input=json.dumps(self._pod(name, arguments)))
        outcome: dict[str, Any] = {}
        try:
            wait(lambda: self._phase(name) in ("Running", "Succeeded", "Failed"))
            yield outcome
            wait(lambda: self._phase(name) in ("Succeeded", "Failed"), seconds + 400)
            outcome.update(json.loads(self.kubectl("logs", name).stdout))
        finally:
            self.kubectl("delete", "pod", name, "--wait=false", check=False)

    def ask(self, target: str, seconds: float = 0) -> Any:
        """Ask once, or for some seconds, and return the outcome."""
        with self.asking(seconds, target) as outcome:
            pass
        return outcome

    def ask_owner(self, target: str) -> Any:
        """Ask a target's own Service once, from the front: nobody else may reach it."""
        url = f"http://{self.release}-{target}:8080"
        client = ("python", "-c", Path(CLIENT).read_text(), url, self.key(), target, 0)
        return json.loads(
            self.kubectl("exec", f"deployment/{self.release}-api", "--", *client).stdout
        )

    @contextmanager
    def caller(self) -> Iterator[httpx.Client]:
        """Forward the front to here; yields a client that has the key for everything."""
        command = ["kubectl", "-n", self.namespace, "port-forward", f"service/{self.release}-api"]
        with subprocess.Popen(
            [*command, ":8080"], env=self.environment(), stdout=subprocess.PIPE, text=True
        ) as forwarding:
            try:
                assert forwarding.stdout is not None
                (port,) = re.findall(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())
                headers = {"Authorization": f"Bearer {self.key()}"}
                base = f"http://127.0.0.1:{port}"
                with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
                    yield client
            finally:
                forwarding.terminate()

    def _phase(self, pod: str) -> str:
        return str(self.get("pod", pod)["status"]["phase"])

    def _pod(self, name: str, arguments: Sequence[str]) -> Any:
        front = self.get("deployment", f"{self.release}-api")["spec"]["template"]["spec"]
        container = front["containers"][0]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"snn-fusion/client": "true"}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": front["securityContext"],
                "hostAliases": front.get("hostAliases", []),
                "containers": [
                    {
                        "name": "client",
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["python", "-c", Path(CLIENT).read_text(), *arguments],
                        "securityContext": container["securityContext"],
                    }
                ],
            },
        }

    def remove(self) -> None:
        """Remove the release and its namespace."""
        self.run("helm", "uninstall", self.release, "-n", self.namespace, check=False)
        self.run("kubectl", "delete", "namespace", self.namespace, "--timeout=600s", check=False)
