"""`snn-fusion warm`: machine code before the first start, in the cache or beside the code."""

import numba
import pytest
from numba.core.types import int64
from typer.testing import CliRunner

from api import warm_command
from api.cli import app
from fusion import machine_code
from simulators import compiled_loading


def triple(x):
    return 3 * x


def warm(*arguments):
    return CliRunner().invoke(app, ["warm", *arguments])


@pytest.fixture(autouse=True)
def one_small_kernel(monkeypatch, tmp_path):
    kernels = [(numba.njit(triple), [int64(int64)])]
    monkeypatch.setattr(compiled_loading, "kernels", lambda: iter(kernels))
    monkeypatch.setattr(compiled_loading, "_loaded", False)
    monkeypatch.setattr(machine_code, "_code", None)
    monkeypatch.setattr(compiled_loading, "BESIDE_CODE", tmp_path / "machine_code")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_users_cache_is_filled(tmp_path):
    assert warm().output == "compiled code is ready\n"
    (folder,) = (tmp_path / "cache/snn-fusion/compiled").glob("[!.]*")
    assert compiled_loading.intact(folder)


def test_an_installation_is_filled(tmp_path):
    done = warm("--with-code")
    folder = tmp_path / "machine_code" / compiled_loading.kernels_key()
    assert done.output == f"kept in {folder}\n"
    assert compiled_loading.intact(folder)
    assert not (tmp_path / "cache").exists()


def test_an_installation_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compiled_loading, "BESIDE_CODE", tmp_path / "file/machine_code")
    done = warm("--with-code")
    assert done.exit_code == 3
    assert "Not a directory" in done.output


def test_without_numba(monkeypatch):
    monkeypatch.setattr(warm_command, "why_numba_fails", lambda: "Numba cannot be imported: no")
    done = warm()
    assert done.exit_code == 3
    assert "Numba cannot be imported: no" in done.output
