"""Compiled code is kept between starts, and nothing that happens to the folder stops a start."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.types import int64
from support.small_graphs import chain, contract, filled

from fusion import machine_code
from simulators import compiled_loading
from simulators.cache_folder import private_folder
from simulators.compiled import CompiledEngine
from simulators.compiled_loading import intact, keep_beside_code, kernels_key, load_kernels
from simulators.plan import make_plan


def triple(x):
    return 3 * x


class Process:
    """A process that has loaded nothing yet, with one small kernel."""

    def __init__(self, monkeypatch):
        self.kernel = numba.njit(triple)
        kernels = [(self.kernel, [int64(int64)])]
        monkeypatch.setattr(compiled_loading, "kernels", lambda: iter(kernels))
        monkeypatch.setattr(compiled_loading, "_loaded", False)
        monkeypatch.setattr(machine_code, "_code", None)

    def load(self, folder):
        load_kernels(folder)
        assert self.kernel(14) == 42
        with pytest.raises(TypeError):
            self.kernel("text")
        return sum(self.kernel.stats.cache_hits.values())


@pytest.fixture
def loaded(monkeypatch):
    """Load in a new process, as far as the loader can tell; return how much came from files."""
    return lambda folder: Process(monkeypatch).load(folder)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "compiled" / kernels_key()).rglob("*") if path.is_file()]


def test_a_later_start_loads_what_an_earlier_one_compiled(loaded, tmp_path):
    assert [loaded(tmp_path) for _ in range(3)] == [0, 1, 1]
    assert [path.name for path in (tmp_path / "compiled").glob(".*")] == [".lock"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "removed", "added", "no sums"])
def test_a_damaged_file_is_made_anew(loaded, tmp_path, damage):
    loaded(tmp_path)
    data = next(path for path in files(tmp_path) if path.suffix == ".nbc")
    code = data.read_bytes()
    if damage == "cut":
        data.write_bytes(code[: len(code) // 2])
    elif damage == "flipped":
        middle = len(code) // 2
        data.write_bytes(code[:middle] + bytes([code[middle] ^ 1]) + code[middle + 1 :])
    elif damage == "emptied":
        for path in files(tmp_path):
            path.write_bytes(b"")
    elif damage == "removed":
        data.unlink()
    elif damage == "added":
        data.with_suffix(".more").write_text("")
    else:
        next(path for path in files(tmp_path) if path.suffix == ".json").unlink()
    assert not intact(tmp_path / "compiled" / kernels_key())
    assert [loaded(tmp_path), loaded(tmp_path)] == [0, 1]


def test_what_decides_the_code_names_the_folder(loaded, tmp_path, monkeypatch):
    loaded(tmp_path)
    before = kernels_key()
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    assert kernels_key() != before
    assert loaded(tmp_path) == 0


def test_neither_times_nor_places_of_sources_name_the_folder(tmp_path, monkeypatch):
    before = kernels_key()
    here = Path(compiled_loading.__file__).parent
    for path in here.glob("compiled_*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        os.utime(tmp_path / path.name, (1, 1))
    monkeypatch.setattr(compiled_loading, "__file__", str(tmp_path / "compiled_loading.py"))
    assert kernels_key() == before
    with (tmp_path / "compiled_rows.py").open("a") as file:
        file.write("#")
    assert kernels_key() != before


def test_a_copy_of_the_sources_elsewhere_loads_what_was_compiled(tmp_path):
    code = """
import sys, numba
from pathlib import Path
from numba.core.types import int64
from simulators import compiled_loading
from triple import triple
kernel = numba.njit(triple)
compiled_loading.kernels = lambda: iter([(kernel, [int64(int64)])])
compiled_loading.load_kernels(Path(sys.argv[1]))
print(kernel(14), sum(kernel.stats.cache_hits.values()))
"""
    said = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        source = tmp_path / place / "triple.py"
        source.write_text("def triple(x):\n    return 3 * x\n")
        os.utime(source, (len(said), len(said)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(source.parent)])}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env=environment, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        said.append(done.stdout.strip())
    assert said == ["42 0", "42 1"]


def test_what_ships_beside_the_code_is_loaded_without_a_place_to_write(
    loaded, tmp_path, monkeypatch
):
    monkeypatch.setattr(compiled_loading, "BESIDE_CODE", tmp_path / "machine_code")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Process(monkeypatch)
    folder = keep_beside_code()
    assert intact(folder)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in folder.iterdir())
    assert keep_beside_code() == folder
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert loaded(blocked) == 1
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(compiled_loading, "BESIDE_CODE", blocked / "machine_code")
    with pytest.raises(OSError, match="file"):
        keep_beside_code()


def test_old_sets_and_broken_off_ones_are_removed(loaded, tmp_path):
    base = tmp_path / "compiled"
    for name in (*"abcdefghijklmnopqrst", ".broken"):
        (base / name).mkdir(parents=True)
        os.utime(base / name, (0, 0))
    loaded(tmp_path)
    assert len([path for path in base.iterdir() if path.is_dir()]) == 16
    assert not (base / ".broken").exists()
    assert loaded(tmp_path) == 1


def test_a_folder_that_cannot_be_written_is_no_obstacle(loaded, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert loaded(blocked) == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [loaded(blocked), loaded(None)] == [0, 1]


def test_a_full_disk_is_no_obstacle(loaded, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(compiled_loading.Path, "write_text", full)
        assert loaded(tmp_path) == 0
    with monkeypatch.context() as patched:
        patched.setattr("numba.core.caching.IndexDataCacheFile._open_for_write", full)
        assert loaded(tmp_path) == 0
    assert [loaded(tmp_path), loaded(tmp_path)] == [0, 1]


def test_code_in_somebody_elses_folder_is_not_loaded(tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert private_folder(theirs, "compiled") == theirs / "compiled"
    monkeypatch.setattr(os, "getuid", lambda: theirs.stat().st_uid + 1)
    assert private_folder(theirs, "compiled") is None


def test_processes_that_start_together_compile_once(tmp_path):
    code = f"""
import numba
from pathlib import Path
from numba.core.types import int64
from simulators import compiled_loading
from slow import triple
kernel = numba.njit(triple)
compiled_loading.kernels = lambda: iter([(kernel, [int64(int64)])])
compiled_loading.load_kernels(Path({str(tmp_path)!r}))
print(kernel(14), sum(kernel.stats.cache_hits.values()))
"""
    (tmp_path / "slow.py").write_text("def triple(x):\n    return 3 * x\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in running)
    assert said == ["42 0", "42 1", "42 1"]


def test_nothing_is_compiled_once_the_kernels_are_loaded():
    compilations = []
    load_kernels()
    for arithmetic in ("float32", "float64"):
        plan = make_plan(
            chain(filled("LIF", tau=0.01, r=1.0, v_leak=0.0, v_threshold=0.1, v_reset=0.0)),
            contract(arithmetic=arithmetic),
        )
        with numba.core.event.install_recorder("numba:compile") as recorder:
            for kind in (bool, np.uint8, np.int64, np.float16, np.float32, np.float64):
                raster = np.ones((2, 3, 1), kind)
                CompiledEngine(plan).run({"in": raster}, record=["all"])
                frozen = raster[:, :2]
                frozen.flags.writeable = False
                CompiledEngine(plan).run({"in": frozen})
        compilations += recorder.buffer
    assert compilations == []


def test_threads_load_once(loaded, tmp_path, monkeypatch):
    process = Process(monkeypatch)
    threads = [threading.Thread(target=load_kernels, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.kernel(14) == 42
    assert sum(process.kernel.stats.cache_misses.values()) == 1
