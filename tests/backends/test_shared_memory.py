"""Segments of killed children are removed, those of living ones are not."""

import subprocess
import sys
from pathlib import Path

import pytest

from backends import shared_memory
from backends.shared_memory import Segments, sweep


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "FOLDER", tmp_path)
    return tmp_path


def child_of(segments):
    """Start a process that holds the lock as a child does, until its input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=[segments.lock],
    )
    segments.handed_over()
    return process


def test_a_sweep_leaves_a_living_childs_segments_and_removes_a_dead_ones(folder):
    segments = Segments()
    (folder / f"{segments.prefix}1234").touch()
    (folder / "psm_another").touch()
    with child_of(segments) as child:
        sweep()
        assert (folder / f"{segments.prefix}1234").exists()
        child.kill()
        child.wait()
    sweep()
    assert [path.name for path in folder.iterdir()] == ["psm_another"]


def test_removing_takes_only_the_childs_own(folder):
    one, other = Segments(), Segments()
    for segments in (one, other):
        (folder / f"{segments.prefix}1").touch()
        segments.handed_over()
    one.remove()
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{other.prefix}{name}" for name in ("1", "lock")
    )


def test_without_such_a_folder_nothing_is_locked(folder, monkeypatch):
    monkeypatch.setattr(shared_memory, "FOLDER", folder / "missing")
    segments = Segments()
    assert segments.lock is None
    segments.handed_over()
    segments.remove()
    sweep()


def test_the_lock_is_not_kept_open(folder):
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        Segments().handed_over()
    sweep()
    assert len(list(Path("/dev/fd").iterdir())) == before
