"""The files of worker processes' metrics: their room, and what is left of the dead."""

import os
import subprocess
import sys

import pytest

from api.metrics_files import MULTIPROCESS_DIR, ROOM_BYTES, make_room, retire, shared_metrics

COUNT = """
import os, resource, sys
from api.metrics_files import make_room, MULTIPROCESS_DIR
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
make_room()
from prometheus_client import CollectorRegistry
from api.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.observe_request("/v1/fuse", "POST", 200, 0.001)
metrics.pending.labels("cpu").set(3)
print(os.getpid(), MULTIPROCESS_DIR in os.environ)
print(metrics.exposition().decode())
"""
COUNTED = 'snn_fusion_requests_total{method="POST",route="/v1/fuse",status="200"}'


def count(folder, *room):
    """Count a request in a process of its own; gives pid, whether it shared, and metrics."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *map(str, room)],
        env={**os.environ, MULTIPROCESS_DIR: str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, _, text = done.stdout.partition("\n")
    pid, shares = first.split()
    return int(pid), shares == "True", text


def test_counts_of_the_dead_stay_and_their_live_gauges_go(tmp_path, monkeypatch):
    monkeypatch.setenv(MULTIPROCESS_DIR, str(tmp_path))
    pid, shares, text = count(tmp_path)
    assert shares
    assert f"{COUNTED} 1.0" in text
    assert 'snn_fusion_pending_requests{target="cpu"} 3.0' in text
    files = list(tmp_path.glob(f"*_{pid}.db"))
    assert {path.name.removesuffix(f"_{pid}.db"): path.stat().st_size for path in files} == (
        ROOM_BYTES
    )
    retire(pid)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 64 * 2**10
    _, _, text = count(tmp_path)
    assert f"{COUNTED} 2.0" in text
    assert 'snn_fusion_pending_requests{target="cpu"} 3.0' in text


@pytest.mark.parametrize("room", [0, 2**20, 2**21])
def test_without_room_a_worker_counts_for_itself_alone(tmp_path, room):
    """A disk that has no room and a limit of a file's size fail alike."""
    count(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    _, shares, text = count(tmp_path, room)
    assert not shares
    assert f"{COUNTED} 1.0" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_one_process_alone_has_no_files(tmp_path, monkeypatch):
    monkeypatch.delenv(MULTIPROCESS_DIR, raising=False)
    monkeypatch.chdir(tmp_path)
    make_room()
    retire(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_given_and_taken_away(tmp_path, monkeypatch):
    monkeypatch.delenv(MULTIPROCESS_DIR, raising=False)
    with shared_metrics():
        folder = os.environ[MULTIPROCESS_DIR]
        assert os.listdir(folder) == []  # noqa: PTH208
    assert MULTIPROCESS_DIR not in os.environ
    assert not os.path.exists(folder)  # noqa: PTH110
    monkeypatch.setenv(MULTIPROCESS_DIR, str(tmp_path))
    (tmp_path / "counter_1.db").touch()
    with shared_metrics():
        assert list(tmp_path.iterdir()) == []
    assert tmp_path.exists()
