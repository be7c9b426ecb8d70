"""Models to store: tiny ones of any name and version, made in memory."""

import io
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from support.hdf5_files import written
from support.models import small_graph, small_manifest

from fusion.model import GRAPH, MANIFEST, FusionModel, model_from
from fusion.store import SWEEP_AGE_S


@cache
def graph_bytes(seed: int = 0) -> bytes:
    """Return a small graph's file."""
    return written(small_graph(hidden=4, seed=seed))


def files(
    name: str = "small", version: str = "1", seed: int = 0, **changes: Any
) -> dict[str, bytes]:
    """Return a model's files; another seed gives other weights."""
    manifest = small_manifest() | {"name": name, "version": version} | changes
    return {GRAPH: graph_bytes(seed), MANIFEST: yaml.safe_dump(manifest).encode()}


@cache
def made(name: str = "small", version: str = "1", seed: int = 0) -> FusionModel:
    """Return a model."""
    return model_from(files(name, version, seed))


def zipped(content: dict[str, bytes]) -> bytes:
    """Return files as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return out.getvalue()


def upload(name: str = "small", version: str = "1", seed: int = 0, **changes: Any) -> bytes:
    """Return a model as the zip that a caller uploads."""
    return zipped(files(name, version, seed, **changes))


def aged(root: Path) -> None:
    """Let all that a folder holds look older than what a sweep leaves alone."""
    for path in root.rglob("*"):
        if path.is_file():
            seconds = path.stat().st_mtime - 2 * SWEEP_AGE_S
            os.utime(path, (seconds, seconds))
