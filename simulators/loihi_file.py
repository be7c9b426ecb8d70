"""`loihi.npz`: a network of Loihi's integers as bytes, without pickle.

The archive holds `header.json`, everything but the arrays, and one `.npy` for every array:
`populations.0.bias_mant.npy`, `connections.2.weights.npy`, numbered as in the header. The same
network always gives the same bytes, so a model's digest covers it.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion.errors import InvalidModel
from simulators.loihi_connections import Connection, Conv, Dense, Sparse
from simulators.loihi_fields import fault
from simulators.loihi_network import (
    InputNode,
    LifPopulation,
    LoihiNetwork,
    OutputNode,
    PeriodicReset,
)

FORMAT, VERSION = "snn-fusion-loihi", 1
HEADER = "header.json"
MAX_BYTES = 2**30
"""Largest archive that is read, unpacked: a small file can unpack to a huge one."""

_CONNECTIONS: Mapping[str, type[Connection]] = MappingProxyType(
    {"dense": Dense, "sparse": Sparse, "conv": Conv}
)
_KINDS = {kind: name for name, kind in _CONNECTIONS.items()}
_PARTS = ("inputs", "populations", "connections", "outputs")


def save(network: LoihiNetwork) -> bytes:
    """Return a network as the bytes of a `loihi.npz`."""
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "dt_s": network.dt_s}
    arrays: dict[str, NDArray[Any]] = {}
    for part in _PARTS:
        header[part] = []
        for number, node in enumerate(getattr(network, part)):
            entry: dict[str, Any] = {"kind": _KINDS[type(node)]} if part == "connections" else {}
            for field in fields(node):
                value = getattr(node, field.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{part}.{number}.{field.name}.npy"] = value
                else:
                    entry[field.name] = _plain(value)
            header[part].append(entry)
    return _packed({HEADER: json.dumps(header).encode()}, arrays)


def load(data: bytes) -> LoihiNetwork:
    """Return the network in the bytes of a `loihi.npz`, which may come from anywhere.

    Raises:
        InvalidModel: naming the entry that is missing, unknown, damaged or out of range.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive)
    except InvalidModel:
        raise
    except Exception as error:  # zipfile and its decompressors raise errors of a dozen kinds
        raise fault("", f"is not a readable archive: {error}") from None
    header = _header(members.pop(HEADER, None))
    arrays = {name: _array(name, content) for name, content in members.items()}
    parts = {
        part: tuple(
            _node(part, number, entry, arrays)
            for number, entry in enumerate(_entries(header, part))
        )
        for part in _PARTS
    }
    if arrays:
        raise fault(next(iter(arrays)), "belongs to no entry of the header")
    return LoihiNetwork(dt_s=header["dt_s"], **parts)


def _plain(value: Any) -> Any:
    if isinstance(value, PeriodicReset):
        return {"interval": value.interval, "offset": value.offset}
    return value


def _packed(texts: Mapping[str, bytes], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in texts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name), stream.getvalue())
    return out.getvalue()


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    left = MAX_BYTES
    for info in archive.infolist():
        if info.filename in members:
            raise fault(info.filename, "occurs twice in the archive")
        with archive.open(info) as member:
            members[info.filename] = member.read(left + 1)
        left -= len(members[info.filename])
        if left < 0:
            raise fault("", f"unpacks to more than {MAX_BYTES} bytes")
    return members


def _header(content: bytes | None) -> dict[str, Any]:
    if content is None:
        raise fault(HEADER, "is missing")
    try:
        header = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise fault(HEADER, f"is not JSON: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise fault(f"{HEADER}.format", f"is not {FORMAT!r}")
    if header.get("version") != VERSION:
        raise fault(f"{HEADER}.version", f"is {header.get('version')!r}", f"version {VERSION}")
    known = {"format", "version", "dt_s", *_PARTS}
    for name in (*known, *header):
        if name not in header or name not in known:
            problem = "is missing" if name in known else "is no entry"
            raise fault(f"{HEADER}.{name}", problem, ", ".join(sorted(known)))
    return header


def _entries(header: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    entries = header[part]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise fault(f"{HEADER}.{part}", "is not a list of entries")
    return [dict(entry) for entry in entries]


def _array(name: str, content: bytes) -> NDArray[Any]:
    """Return the integers of a `.npy`; its header is checked before anything is allocated."""
    stream = io.BytesIO(content)
    npy: Any = np.lib.format
    try:
        major, _ = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, EOFError) as error:
        raise fault(name, f"is not a .npy array: {error}") from None
    if dtype.kind not in "iu":
        raise fault(name, f"holds {dtype}", "integers")
    body = content[stream.tell() :]
    # Python's integers: a product of extents in int64 could wrap to a size that fits.
    size = 1
    for extent in shape:
        size *= extent
    if min(shape, default=0) < 0 or size * dtype.itemsize != len(body):
        raise fault(name, f"holds {len(body)} bytes, which is not {list(shape)} of {dtype}")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")


def _node(part: str, number: int, entry: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """Return an entry of the header, with the arrays that belong to it, as its dataclass."""
    place = f"{part}[{number}]"
    kind: Any = {"inputs": InputNode, "populations": LifPopulation, "outputs": OutputNode}.get(part)
    if kind is None:
        given = entry.pop("kind", None)
        kind = _CONNECTIONS.get(given) if isinstance(given, str) else None
        if kind is None:
            raise fault(f"{place}.kind", f"is {given!r}", ", ".join(_CONNECTIONS))
    if isinstance(entry.get("reset"), dict):
        entry["reset"] = _made(f"{place}.reset", PeriodicReset, entry["reset"])
    prefix = f"{part}.{number}."
    for name in [name for name in arrays if name.startswith(prefix)]:
        field = name.removeprefix(prefix).removesuffix(".npy")
        if entry.get(field) is not None:
            raise fault(f"{place}.{field}", f"stands in {HEADER} and in {name}", "one of them")
        entry[field] = arrays.pop(name)
    return _made(place, kind, entry)


def _made(place: str, kind: Any, values: Mapping[str, Any]) -> Any:
    known = [field.name for field in fields(kind)]
    for name in (*known, *values):
        if name not in values and name != "delays":
            raise fault(f"{place}.{name}", "is missing", ", ".join(known))
        if name not in known:
            raise fault(f"{place}.{name}", "is no entry", ", ".join(known))
    return kind(**values)
