"""A store that processes share, are killed on, and fill: real processes, real file systems."""

import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.stored import aged, made, upload

from fusion.errors import StoreFull
from fusion.objects import FolderObjects
from fusion.store import ModelStore

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from fusion.errors import Conflict, StoreFull
from fusion.model import parse_model
from fusion.objects import FolderObjects
from fusion.store import ModelStore

store = ModelStore(FolderObjects(Path(sys.argv[1])))
models = [parse_model(Path(name).read_bytes()) for name in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
for model in models:
    try:
        version, new = store.add(model)
        print("new" if new else "same", version.digest, flush=True)
    except Conflict:
        print("conflict", model.digest, flush=True)
    except StoreFull:
        print("full", model.digest, flush=True)
"""


@contextmanager
def writer(store, *files, code=WRITER, **options):
    """A process that is about to store the models of these files."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(store), *map(str, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )
    try:
        assert started.stdout.readline() == "ready\n"
        yield started
    finally:
        started.kill()
        started.communicate()


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture
def uploads(tmp_path):
    """Three models that claim one version, and one of another."""
    paths = []
    for seed, version in ((0, "1"), (1, "1"), (2, "1"), (0, "2")):
        paths.append(tmp_path / f"{seed}{version}.zip")
        paths[-1].write_bytes(upload(version=version, seed=seed))
    return paths


def test_processes_that_store_at_once_agree_on_what_each_version_is(tmp_path, uploads):
    one, two, three, other = uploads
    root = tmp_path / "store"
    with (
        writer(root, one, other) as a,
        writer(root, two, other) as b,
        writer(root, three, one) as c,
    ):
        for process in (a, b, c):
            go(process)
        told = [line.split() for p in (a, b, c) for line in p.communicate()[0].splitlines()]
    index = ModelStore(FolderObjects(root)).index()
    stored = {one.label: one.digest for one in index.versions["small"]}
    assert set(stored) == {"1", "2"}
    assert not index.problems
    # Each new version was new to exactly one, and whoever was refused had other content.
    assert sorted(digest for how, digest in told if how == "new") == sorted(stored.values())
    for how, digest in told:
        assert (digest in stored.values()) == (how != "conflict")
    for version in index.versions["small"]:
        assert ModelStore(FolderObjects(root)).read(version).digest == version.digest


KILLED = """
import os, signal, sys
from pathlib import Path
from fusion.model import parse_model
from fusion.objects import FolderObjects
from fusion.store import ModelStore

model = parse_model(Path(sys.argv[2]).read_bytes())
print("ready", flush=True)
STEPS = ("open", "os.link", "os.rename", "os.mkdir", "os.remove", "os.scandir")

def store_and_die(root, die_at):
    seen = 0
    def count(event, _):
        nonlocal seen
        if event not in STEPS:
            return
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
    store = ModelStore(FolderObjects(Path(root)))
    sys.addaudithook(count)
    store.add(model)
    os._exit(0)

for line in sys.stdin:
    root, die_at = line.split()
    child = os.fork()
    if not child:
        store_and_die(root, int(die_at))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_process_killed_at_any_moment_leaves_nothing_half_visible(tmp_path, uploads):
    """Killed before its n-th step on the file system, for every n until it gets to the end."""
    found = []
    with writer(tmp_path, uploads[0], code=KILLED) as process:
        for die_at in range(1, 100):
            root = tmp_path / f"store{die_at}"
            store = ModelStore(FolderObjects(root))
            before, _ = store.add(made(version="0"))
            process.stdin.write(f"{root} {die_at}\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            found.append(check_after_a_kill(store, before))
            if code == 0:
                break
            assert code == -signal.SIGKILL
    assert code == 0
    assert found[-1]  # who was told that it is stored finds it
    assert found == sorted(found)
    assert not found[0]
    assert len(found) > 8


def check_after_a_kill(store, before):
    """Return whether the version is there, whole in any case."""
    index = ModelStore(store.objects).index()
    assert not index.problems
    assert index.find("small", "0") == before
    found = index.find("small", "1")
    if found:
        assert store.read(found).digest == found.digest
    aged(store.objects._root)
    store.sweep()
    assert not store.objects.listing(".parts")
    assert len(store.objects.listing("files")) == (2 if found else 1)
    return bool(found)


def limit_files():
    """In a child: no file may be larger than a model's zip."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_file_that_may_not_grow_is_told_and_nothing_is_left(tmp_path, uploads):
    # The reader's child forbids itself to write at all, so this limit is only the store's.
    root = tmp_path / "store"
    with writer(root, uploads[0], preexec_fn=limit_files) as process:
        go(process)
        assert process.communicate()[0].startswith("full")
    assert not [path for path in root.rglob("*") if path.is_file()]


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_leaves_nothing_and_hurts_no_other_model(tmp_path):
    with small_disk(tmp_path / "disk", 128 * 1024) as root:
        store = ModelStore(FolderObjects(root))
        kept = []
        with suppress(StoreFull):
            for number in range(100):
                kept.append(store.add(made(version=str(number)))[0])
        assert 0 < len(kept) < 100
        with pytest.raises(StoreFull, match="No space left"):
            store.add(made(version="more"))
        assert not store.objects.listing(".parts")
        again = ModelStore(FolderObjects(root))
        index = again.index()
        assert index.versions["small"] == tuple(kept)
        assert not index.problems
        assert all(again.read(version).digest == version.digest for version in kept)
        again.remove("small", "0")
        aged(root)
        again.sweep()
        assert store.add(made(version="0", seed=1))[1]


def test_a_sweep_beside_writers_takes_no_file_that_a_record_names(tmp_path, uploads):
    """Every file is old all the time, so that only the order of steps protects it."""
    root = tmp_path / "store"
    store = ModelStore(FolderObjects(root))
    again_and_again = WRITER.replace("for model in models:", "for model in models * 200:")
    with writer(root, uploads[0], code=again_and_again) as process:
        go(process)
        while process.poll() is None and (version := store.index().find("small", "1")) is None:
            time.sleep(0.001)
        for _ in range(20):
            store.sweep(older_s=-3600)
            assert version.file_key in store.objects.listing("files")
        process.kill()
    assert store.read(version).digest == version.digest
