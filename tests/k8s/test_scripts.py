"""The scripts explain themselves, refuse nonsense, and with --dry-run change nothing.

What they do to a cluster is tried in tests/cluster.
"""

import os
import subprocess
import tarfile

import pytest
from support.chart import ROOT, tool

SCRIPTS = ROOT / "k8s/scripts"
NAMES = ("deploy", "health_check", "scaling", "backup", "restore")


def script(name, *arguments, folder=None, **environment):
    """Run a script, with no cluster to reach, and return what it did."""
    path = f"{ROOT / '.venv-k8s/bin'}{os.pathsep}{os.environ['PATH']}"
    nowhere = {"KUBECONFIG": "/nonexistent", "PATH": path}
    tool("helm")
    return subprocess.run(
        [SCRIPTS / f"{name}.sh", *map(str, arguments)],
        cwd=folder,
        env=os.environ | nowhere | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def saved(tmp_path):
    """Return a file as backup.sh makes it."""
    folder = tmp_path / "backup"
    (folder / "secrets").mkdir(parents=True)
    (folder / "about").write_text("namespace=lab\nrelease=mine\n")
    (folder / "values.yaml").write_text("front: {replicas: 2}\n")
    (folder / "redis.aof").write_text("*1\r\n$4\r\nPING\r\n")
    with tarfile.open(tmp_path / "saved.tar.gz", "w:gz") as archive:
        archive.add(folder, "backup")
    return tmp_path / "saved.tar.gz"


def test_shellcheck_finds_nothing():
    done = subprocess.run(
        [tool("shellcheck"), "-x", "-S", "style", *sorted(SCRIPTS.glob("*.sh"))],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_help(name):
    done = script(name, "--help")
    assert done.returncode == 0
    assert f"usage: {name}.sh" in done.stdout
    for option in ("--namespace", "--release", "--dry-run"):
        assert option in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused(name):
    done = script(name, "--nonsense")
    assert done.returncode == 2
    assert "unknown option --nonsense" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("deploy",), ("health_check",), ("scaling", "status"), ("backup",)]
)
def test_without_a_cluster_it_says_so(arguments, tmp_path):
    done = script(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "the cluster cannot be reached" in done.stderr
    assert "what to do: point KUBECONFIG at it" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["health_check", "backup"])
def test_a_dry_run_of_what_needs_no_argument(name, tmp_path):
    done = script(name, "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert list(tmp_path.iterdir()) == []


def test_deploy_shows_what_it_would_do():
    done = script("deploy", "--dry-run", "-n", "lab", "--targets", "brian2,loihi-lava",
                  "--image", "registry.example:5000/snn-fusion:v2.0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kubectl label --overwrite namespace lab pod-security" in done.stdout
    assert "image.repository=registry.example:5000/snn-fusion,image.tag=v2.0" in done.stdout
    assert "--set targets.brian2.boards=1 --set targets.loihi-lava.boards=1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--targets", "brain2"], "there is no target brain2"),
        (["--set", "front.replicas=0"], "/front/replicas"),
        (["--image", "registry.example:5000/snn-fusion"], "names no tag"),
        (["--image"], "--image wants a value"),
    ],
)
def test_deploy_refuses_before_it_changes_anything(arguments, says):
    done = script("deploy", "--dry-run", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "what to do: " in done.stderr
    assert "+ " not in done.stdout


def test_scaling_by_hand_and_by_cpu():
    done = script("scaling", "scale", 5, "--dry-run")
    assert "kubectl --namespace snn-fusion scale deployment/snn-fusion-api --replicas=5" in (
        done.stdout
    )
    done = script("scaling", "scale", 2, "--target", "brian2", "--dry-run")
    assert "deployment/snn-fusion-brian2 --replicas=2" in done.stdout
    assert script("scaling", "hpa", 3, 10, 70, "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scale", "many"], "N: many is not a whole number"),
        (["scale"], "usage: scaling.sh"),
        (["hpa", 3, 2, 70], "MIN 3 is more than MAX 2"),
        (["hpa", 3, 10, 700], "CPU: 700 is not a whole number from 1 to 100"),
        (["up"], "usage: scaling.sh"),
    ],
)
def test_scaling_refuses_nonsense(arguments, says):
    done = script("scaling", *arguments, "--dry-run")
    assert done.returncode == 2
    assert says in done.stderr


def test_restore_shows_what_it_would_do(saved):
    done = script("restore", "--dry-run", "--redis", saved)
    assert done.returncode == 0, done.stderr
    assert "kubectl --namespace lab rollout status statefulset/mine-redis" in done.stdout
    assert "FLUSHALL" in done.stdout
    assert "helm" not in done.stdout
    done = script("restore", "--dry-run", "-n", "other", saved)
    assert "helm upgrade --install mine" in done.stdout
    assert "--namespace other" in done.stdout


def test_restore_refuses_what_is_no_backup(tmp_path):
    (tmp_path / "x.tar.gz").write_text("no")
    assert "is not what backup.sh makes" in script("restore", tmp_path / "x.tar.gz").stderr
    assert "cannot be read" in script("restore", tmp_path / "y.tar.gz").stderr
