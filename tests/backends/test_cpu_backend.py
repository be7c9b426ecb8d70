"""The target `cpu`: its options, and what becomes of it where Numba does not work."""

from dataclasses import replace

import pytest
from support.models import small_graph

from backends import cpu_backend
from backends.cpu_backend import CpuBackend, why_numba_fails
from backends.errors import InvalidTarget, TargetUnavailable
from backends.registry import Registry
from fusion.contract import make_contract
from fusion.model import bare_model


def backend(**options):
    return CpuBackend(replace(Registry().targets["cpu"], options=options))


def test_options_are_checked_by_name():
    with pytest.raises(InvalidTarget, match=r"cpu\.yaml\.options\.cache: is unknown"):
        backend(cache="/tmp")
    with pytest.raises(InvalidTarget, match=r"cpu\.yaml\.options\.cache_dir: is 3, no path"):
        backend(cache_dir=3)
    for threads in (0, 65, "2", True):
        with pytest.raises(InvalidTarget, match=rf"threads: is {threads!r}, not 1 to 64"):
            backend(threads=threads)
    backend(cache_dir="/tmp", threads=1)


def test_numba_works_here():
    assert why_numba_fails() is None
    backend().available()


def test_without_numba_it_says_why_and_what_to_do(monkeypatch):
    def failing(name):
        raise ImportError(f"{name} needs NumPy 2.3 or less")

    why_numba_fails.cache_clear()
    monkeypatch.setattr(cpu_backend, "import_module", failing)
    try:
        for use in (CpuBackend.available, CpuBackend.warm_up):
            with pytest.raises(TargetUnavailable, match="numba needs NumPy") as caught:
                use(backend())
            assert "pip install numba" in caught.value.hint
        model, contract = bare_model(small_graph()), make_contract("nir", 1e-3)
        with pytest.raises(TargetUnavailable):
            backend().compile(model, contract)
    finally:
        monkeypatch.undo()
        why_numba_fails.cache_clear()
