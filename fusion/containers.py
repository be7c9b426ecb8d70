"""Zip archives and HDF5 files taken apart into plain parts: the code that meets hostile bytes.

It runs in `fusion.reader_child`, a process with nothing to lose, and imports nothing of the project
but the errors and the limits. Bounds are checked before memory is taken; where a library
takes some by itself, the limits of the process end it.
"""

# Nothing can be imported once a file is read: the codecs of names in a zip and of bad text.
import encodings.ascii
import encodings.cp437  # noqa: F401
import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import h5py
import msgspec
import numpy as np

from fusion.errors import InvalidModel, in_words
from fusion.limits import ModelLimits

GRAPH = "graph.nir"
MANIFEST = "fusion.yaml"
ATTACHED = (".npz", ".json")
"""Suffixes of files beside the graph that belong to the model: what a kind of target needs beyond
the graph, a chip's integers for one."""
_TEXTS_AT_ONCE = 256
_READ_AT_ONCE = 2**20
_LONGEST = 2**31


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Here begins a file of a zip, or a group or dataset of an HDF5 file; its value follows.

    Attributes:
        path: names from the root on.
        group: whether it holds others rather than a value.
    """

    path: tuple[str, ...]
    group: bool = False


class Numbers(msgspec.Struct, tag=True, frozen=True):
    """The value of a numeric dataset, in C order and this machine's byte order."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class Texts(msgspec.Struct, tag=True, frozen=True):
    """The value of a text dataset, in C order."""

    shape: tuple[int, ...]
    values: list[str]


class Content(msgspec.Struct, tag=True, frozen=True):
    """The bytes of a file of a zip."""

    data: memoryview


class Refused(msgspec.Struct, tag=True, frozen=True):
    """The file cannot be read; `field` is None where that is the last thing that began."""

    field: str | None
    problem: str
    nearest: str | None = None


class Done(msgspec.Struct, tag=True, frozen=True):
    """Nothing follows."""


Part = Begin | Numbers | Texts | Content | Refused | Done


class Unreadable(Exception):
    """What began last cannot be read.

    Args:
        problem: what is wrong with it.
        nearest: what would work.
    """

    def __init__(self, problem: str, nearest: str | None = None) -> None:
        self.problem = problem
        self.nearest = nearest
        super().__init__(problem)


def parts(kind: str, data: bytes, limits: ModelLimits) -> Iterator[Part]:
    """Yield the parts of a file; the last one is `Done`, or `Refused` if it cannot be read.

    Args:
        kind: `hdf5` or `zip`.
        data: the file.
        limits: how much of it is read.
    """
    try:
        yield from _READERS[kind](data, limits)
        yield Done()
    except InvalidModel as error:
        yield Refused(error.field, error.problem, error.nearest)
    except Unreadable as error:
        yield Refused(None, error.problem, error.nearest)
    except MemoryError:
        problem = f"takes more than {limits.memory_bytes(len(data))} bytes of memory to read"
        yield Refused(None, problem)
    except Exception as error:  # the libraries raise whatever a damaged file leads them to
        yield Refused(None, f"cannot be read: {in_words(error)}")


def _hdf5(data: bytes, limits: ModelLimits) -> Iterator[Part]:
    yield Begin(())
    try:
        file = h5py.File(io.BytesIO(data), "r")
    except Exception as error:
        raise Unreadable(f"is not a readable NIR file: {in_words(error)}") from None
    with file:
        if "node" not in file:
            raise Unreadable("is not a readable NIR file: it has no group 'node'")
        yield from _Walk(limits).member(file, "node", ())


class _Walk:
    """A walk over an HDF5 file that keeps count of what it met."""

    def __init__(self, limits: ModelLimits) -> None:
        self._limits = limits
        self._objects = 0
        self._bytes = 0
        self._open: list[int] = []

    def member(self, group: Any, key: str, path: tuple[str, ...]) -> Iterator[Part]:
        """Yield the parts of one member of a group."""
        place = (*path, key)
        yield Begin(place)
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise Unreadable("is a link out of its place", "the data itself")
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield self._value(item)
            return
        if not isinstance(item, h5py.Group):
            raise Unreadable("is neither a group nor a dataset")
        yield Begin(place, group=True)
        self._enter(item)
        for name in item:
            yield from self.member(item, _name(name, self._limits.name_bytes), place)
        self._open.pop()

    def _enter(self, group: Any) -> None:
        address = h5py.h5o.get_info(group.id).addr
        if address in self._open:
            raise Unreadable("is a group that holds itself")
        self._open.append(address)
        if len(self._open) > self._limits.depth:
            raise Unreadable("is nested too deeply", f"at most {self._limits.depth} groups")
        self._objects += len(group)
        if self._objects > self._limits.objects:
            raise InvalidModel(
                GRAPH,
                f"holds more than {self._limits.objects} groups and datasets",
                "fewer nodes, each with more neurons",
            )

    def _value(self, item: Any) -> Part:
        if item.external or item.is_virtual:
            raise Unreadable("keeps its data in another file", "no such data")
        if item.shape is None:
            raise Unreadable("is an empty dataset", "numbers or a text")
        if max(item.shape, default=0) > _LONGEST:
            raise Unreadable(f"has shape {list(item.shape)}")
        count = math.prod(item.shape)
        self._count(count * max(8, item.dtype.itemsize))
        if item.chunks is not None:
            self._bounded(math.prod(item.chunks) * item.dtype.itemsize)
        if h5py.check_string_dtype(item.dtype) is not None:
            if count > self._limits.objects:
                raise Unreadable(f"holds {count} texts", f"at most {self._limits.objects}")
            return Texts(item.shape, list(self._texts(item, count)))
        if item.dtype.kind not in "biuf" or item.dtype.itemsize > 8:
            raise Unreadable(f"holds values of the type {_kind(item)}", "numbers or texts")
        value = np.ascontiguousarray(item[()], item.dtype.newbyteorder("="))
        return Numbers(value.dtype.str, item.shape, value.reshape(-1).view(np.uint8).data)

    def _texts(self, item: Any, count: int) -> Iterator[str]:
        """Yield texts in C order, few at once: many may share one long text in the file."""
        if not item.shape:
            yield self._text(item[()])
            return
        rows = max(1, _TEXTS_AT_ONCE * item.shape[0] // max(1, count))
        for start in range(0, item.shape[0] if count else 0, rows):
            for value in item[start : start + rows].reshape(-1).tolist():
                yield self._text(value)

    def _text(self, value: bytes) -> str:
        self._count(len(value))
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Unreadable(f"holds {value[:40]!r}, which is no UTF-8 text") from None

    def _count(self, size: int) -> None:
        self._bytes += size
        self._bounded(self._bytes)

    def _bounded(self, size: int) -> None:
        allowed = self._limits.content_bytes
        if size > allowed:
            raise Unreadable(f"brings the content to {size} bytes", f"at most {allowed}")


def _kind(item: Any) -> str:
    """Return the type of a dataset's values, which may be a long list of fields."""
    return item.dtype.name if item.dtype.names is None else "compound"


def _name(key: str | bytes, allowed: int) -> str:
    """Return a name that can be printed and encoded, which HDF5 does not ask for."""
    if isinstance(key, bytes) or not key.isprintable():
        raise Unreadable(f"holds the name {ascii(key)[:80]}", "printable UTF-8")
    if len(key.encode()) > allowed:
        raise Unreadable(f"holds a name of {len(key.encode())} bytes", f"at most {allowed}")
    return key


def _zip(data: bytes, limits: ModelLimits) -> Iterator[Part]:
    """Yield the model's files from the archive's root or from its only folder."""
    yield Begin(())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if len(names) > limits.members:
            raise Unreadable(f"holds {len(names)} files", f"at most {limits.members}")
        graphs = [name for name in names if name.rpartition("/")[2] == GRAPH]
        if len(graphs) != 1:
            raise Unreadable(f"holds {len(graphs)} files {GRAPH}", "exactly one")
        folder = graphs[0].removesuffix(GRAPH)
        left = limits.file_bytes
        seen: set[str] = set()
        for place in names:
            name = place.removeprefix(folder)
            if folder + name == place and belongs(name):
                yield Begin((_name(name, limits.name_bytes),))
                if name in seen:
                    raise Unreadable("is more than once in the zip", "once")
                seen.add(name)
                content = _inflated(archive, place, min(left, allowed_bytes(name, limits)))
                left -= len(content)
                yield Content(content)


def belongs(name: str) -> bool:
    """Return whether a file in a model's folder is a part of the model."""
    return "/" not in name and (name in (GRAPH, MANIFEST) or name.endswith(ATTACHED))


def allowed_bytes(name: str, limits: ModelLimits) -> int:
    """Return how large a file of a model may be."""
    return limits.manifest_bytes if name == MANIFEST else limits.file_bytes


def _inflated(archive: zipfile.ZipFile, place: str, allowed: int) -> memoryview:
    # Read in pieces, for what its header says of the size may be a lie.
    data = bytearray()
    with archive.open(place) as member:
        while piece := member.read(_READ_AT_ONCE):
            data += piece
            if len(data) > allowed:
                raise Unreadable("is too large", f"at most {allowed} bytes")
    return memoryview(data)


_READERS: Mapping[str, Callable[[bytes, ModelLimits], Iterator[Part]]] = MappingProxyType(
    {"hdf5": _hdf5, "zip": _zip}
)
