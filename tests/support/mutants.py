"""`.nir` files damaged on purpose, by bytes and by structure; a seed and a number give one."""

import io
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from support.hdf5_files import every_primitive, written
from support.models import small_graph

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "nir"

Rng = np.random.Generator


@cache
def originals() -> Mapping[str, bytes]:
    """Return the files to damage: made here, shipped, and of other exporters where there are."""
    one = np.ones(1)
    loop = nir.NIRGraph(
        {
            "in": nir.Input(np.array([1])),
            "n": nir.IF(r=one, v_threshold=one, v_reset=one * 0),
            "back": nir.Linear(np.ones((1, 1))),
            "out": nir.Output(np.array([1])),
        },
        [("in", "n"), ("n", "back"), ("back", "n"), ("n", "out")],
        type_check=False,
    )
    found = {
        "every": written(every_primitive()),
        "small": written(small_graph()),
        "loop": written(loop),
        "shipped": (ROOT / "examples/av_digits/graph.nir").read_bytes(),
    }
    return found | {path.stem: path.read_bytes() for path in sorted(SHARED.glob("*.nir"))}


def mutant(seed: int, number: int) -> tuple[str, bytes]:
    """Return what was done to which file, and the damaged file."""
    rng = np.random.default_rng([seed, number])
    names = sorted(originals())
    # The shipped file is large and so slow to read.
    odds = np.array([0.2 if name == "shipped" else 1.0 for name in names])
    name = str(rng.choice(names, p=odds / odds.sum()))
    data = originals()[name]
    done = [name]
    kinds = [BYTES if rng.random() < 0.4 else STRUCTURE for _ in range(rng.integers(1, 4))]
    chosen = [ways[rng.integers(len(ways))] for ways in kinds]
    # HDF5 may hang on a file whose bytes are damaged, so these come last.
    for way in sorted(chosen, key=BYTES.__contains__):
        try:
            data = way(rng, data)
        except Exception as error:  # the file is too damaged for a further change
            done.append(f"({type(error).__name__})")
            continue
        done.append(way.__name__.strip("_"))
    return " ".join(done), data


def _flipped(rng: Rng, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.integers(1, 17)):
        made[rng.integers(len(made))] ^= 1 << rng.integers(8)
    return bytes(made)


def _overwritten(rng: Rng, data: bytes) -> bytes:
    """Write numbers that lengths, counts and addresses are damaged by most."""
    made = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        width = int(rng.choice([1, 2, 4, 8]))
        value = int(rng.choice([0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1) - 2**0]))
        at = int(rng.integers(max(1, len(made) - width)))
        filler = b"\xff" * width if rng.random() < 0.4 else value.to_bytes(width, "little")
        made[at : at + width] = filler
    return bytes(made)


def _cut(rng: Rng, data: bytes) -> bytes:
    return data[: rng.integers(len(data))]


def _spliced(rng: Rng, data: bytes) -> bytes:
    names = sorted(originals())
    other = originals()[names[rng.integers(len(names))]]
    length = int(rng.integers(1, 2048))
    start, at = int(rng.integers(len(other))), int(rng.integers(len(data)))
    piece = other[start : start + length]
    return data[:at] + piece + data[at + len(piece) * int(rng.integers(2)) :]


BYTES = (_flipped, _overwritten, _cut, _spliced)


def _changed(data: bytes, change: Callable[[Any], None]) -> bytes:
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as content:
        change(content)
    return file.getvalue()


def _everything(content: Any) -> list[Any]:
    found: list[Any] = []
    content["node"].visititems(lambda _, item: found.append(item))
    return found


def _dataset(rng: Rng, content: Any) -> Any:
    sets = [item for item in _everything(content) if isinstance(item, h5py.Dataset)]
    return sets[rng.integers(len(sets))]


def _group(rng: Rng, content: Any) -> Any:
    groups = [item for item in _everything(content) if isinstance(item, h5py.Group)]
    return [*groups, content["node"]][rng.integers(len(groups) + 1)]


def _put(item: Any, value: Any = None, **options: Any) -> None:
    group, name = item.parent, item.name.rpartition("/")[2]
    del group[name]
    if options:
        group.create_dataset(name, **options)
    else:
        group[name] = value


def _values(rng: Rng, shape: tuple[int, ...]) -> Any:
    """Return numbers, or what is none, of a shape."""
    full = np.full(shape, 1.0)
    kinds = [
        full * np.nan, full * np.inf, -full, full * 0, full * 1e308, full * 5e-324, full * 1e12,
        full.astype(">f4"), full.astype("f2"), full.astype("i1"), full.astype("u8") * 2**63,
        full.astype("?"), full.astype(complex), full.astype("S3"), full.astype(np.longdouble),
        np.full(shape, "x", h5py.string_dtype()), np.zeros(shape, [("a", "f4"), ("b", "S2")]),
        full.astype("i8") * -(2**62), np.zeros(shape, "V5"),
    ]  # fmt: skip
    return kinds[rng.integers(len(kinds))]


def _revalued(rng: Rng, data: bytes) -> bytes:
    def change(content: Any) -> None:
        item = _dataset(rng, content)
        _put(item, _values(rng, item.shape or ()))

    return _changed(data, change)


def _reshaped(rng: Rng, data: bytes) -> bytes:
    shapes = [(), (0,), (1,), (3,), (2, 0), (1, 1), (2, 2), (1, 1, 1), (2, 1, 3, 3), (1,) * 9]

    def change(content: Any) -> None:
        _put(_dataset(rng, content), _values(rng, shapes[rng.integers(len(shapes))]))

    return _changed(data, change)


def _renumbered(rng: Rng, data: bytes) -> bytes:
    """Give a parameter of whole numbers, a shape or a stride, others."""
    extremes = [-(2**63), -1, 0, 1, 2, 7, 10**4, 10**6, 10**9, 2**31, 2**40, 2**62, 2**63 - 1]

    def change(content: Any) -> None:
        whole = [
            item
            for item in _everything(content)
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "iu"
        ]
        item = whole[rng.integers(len(whole))]
        size = int(np.prod(item.shape or ()))
        shape = item.shape if rng.random() < 0.7 else (int(rng.integers(1, 5)),)
        size = int(np.prod(shape))
        drawn = [extremes[n] for n in rng.integers(len(extremes), size=size)]
        _put(item, np.array(drawn, np.int64).reshape(shape))

    return _changed(data, change)


def _enlarged(rng: Rng, data: bytes) -> bytes:
    """Declare a dataset that takes no place in the file and much in memory."""
    shapes = [(10**5,), (10**6,), (10**9,), (2**40,), (4096, 4096), (2**20, 2**20), (2**62, 2, 0)]
    chosen = shapes[rng.integers(len(shapes))]
    kinds = ["f8", "f4", "i1", "S100000", h5py.string_dtype()]
    kind = kinds[rng.integers(len(kinds))]
    options = {"compression": "gzip"} if rng.random() < 0.5 else {}
    chunks = tuple(max(1, min(extent, 64)) for extent in chosen)
    filling = {"fillvalue": 1} if kind in ("f8", "f4", "i1") and rng.random() < 0.5 else {}

    def change(content: Any) -> None:
        item = _dataset(rng, content)
        _put(item, shape=chosen, dtype=kind, chunks=chunks, maxshape=(None,) * len(chosen),
             **options, **filling)  # fmt: skip

    return _changed(data, change)


def _retyped(rng: Rng, data: bytes) -> bytes:
    kinds = [*nir.__all__, "Perceptron", "", "NIRGraph", "x" * 300]

    def change(content: Any) -> None:
        types = [item for item in _everything(content) if item.name.endswith("/type")]
        chosen = kinds[rng.integers(len(kinds))]
        _put(types[rng.integers(len(types))], chosen)

    return _changed(data, change)


def _taken_out(rng: Rng, data: bytes) -> bytes:
    def change(content: Any) -> None:
        found = _everything(content)
        item = found[rng.integers(len(found))]
        del item.parent[item.name.rpartition("/")[2]]

    return _changed(data, change)


def _linked(rng: Rng, data: bytes) -> bytes:
    def change(content: Any) -> None:
        links = [
            h5py.SoftLink("/node"), h5py.SoftLink("/nowhere"), _group(rng, content),
            h5py.ExternalLink("/etc/passwd", "/"), content["node"], content["/"],
            _dataset(rng, content), np.dtype("f8"),
        ]  # fmt: skip
        group = _group(rng, content)
        name = str(rng.choice(["again", "weight", "nodes", "edges", "type", "tau"]))
        if name in group:
            del group[name]
        group[name] = links[rng.integers(len(links))]

    return _changed(data, change)


def _led_outside(rng: Rng, data: bytes) -> bytes:
    def change(content: Any) -> None:
        item = _dataset(rng, content)
        if rng.random() < 0.5:
            _put(item, shape=(6,), dtype="f8", external=[("/etc/passwd", 0, 48)])
            return
        layout = h5py.VirtualLayout((6,), "f8")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (6,))
        group, name = item.parent, item.name.rpartition("/")[2]
        del group[name]
        group.create_virtual_dataset(name, layout)

    return _changed(data, change)


def _rewired(rng: Rng, data: bytes) -> bytes:
    """Add, double, turn round and misname edges."""

    def change(content: Any) -> None:
        graphs = [item.parent for item in _everything(content) if item.name.endswith("/edges")]
        graph = graphs[rng.integers(len(graphs))]
        edges = [tuple(edge) for edge in graph["edges"][()].tolist()]
        names = [*(name.encode() for name in graph["nodes"]), b"nowhere", b"", b"inner.in"]
        for _ in range(rng.integers(1, 5)):
            pair = names[rng.integers(len(names))], names[rng.integers(len(names))]
            edges.append(edges[rng.integers(len(edges))] if rng.random() < 0.3 else pair)
        if rng.random() < 0.3:
            edges = [(target, source) for source, target in edges]
        if rng.random() < 0.2:
            del edges[rng.integers(len(edges))]
        _put(graph["edges"], np.array(edges, h5py.string_dtype()))

    return _changed(data, change)


def _renamed(rng: Rng, data: bytes) -> bytes:
    names = [b"\xff\xfe", b"\x1b[31m", b"a.b", b"x" * 300, b"[/red]", "Å".encode(), b"%s", b" "]

    def change(content: Any) -> None:
        found = _everything(content)
        item = found[rng.integers(len(found))]
        new = names[rng.integers(len(names))]
        if rng.random() < 0.5:
            new = names[2] if item.name.count("/") > 3 else new
        item.parent.id.move(item.name.rpartition("/")[2].encode(), new)

    return _changed(data, change)


def _annotated(rng: Rng, data: bytes) -> bytes:
    def change(content: Any) -> None:
        group = _group(rng, content)
        for number in range(rng.integers(1, 200)):
            group.attrs[f"a{number}"] = np.zeros(int(rng.integers(1, 500)))
        meta = group.require_group("metadata")
        meta["x"] = _values(rng, (2,))

    return _changed(data, change)


def _nested(rng: Rng, data: bytes) -> bytes:
    def change(content: Any) -> None:
        group = _group(rng, content)
        for _ in range(rng.integers(1, 60)):
            group = group.create_group(str(rng.choice(["nodes", "a"])))
            if rng.random() < 0.5:
                group["type"] = "NIRGraph"

    return _changed(data, change)


def _wrapped(rng: Rng, data: bytes) -> bytes:
    """Put the whole graph, or a node of it, into a subgraph."""

    def change(content: Any) -> None:
        nodes = list(content["node/nodes"])
        name = nodes[rng.integers(len(nodes))]
        inside = content.create_group("made")
        inside["type"] = "NIRGraph"
        content["node"].copy("edges", inside)
        content["node"].copy("nodes", inside)
        del content[f"node/nodes/{name}"]
        content.move("made", f"node/nodes/{name}")

    return _changed(data, change)


def _bomb(rng: Rng, data: bytes) -> bytes:
    """Put a chunk into a dataset that unpacks to more than it says."""

    def change(content: Any) -> None:
        group = _group(rng, content)
        name = str(rng.choice(["weight", "x"]))
        if name in group:
            del group[name]
        made = group.create_dataset(name, (64,), "f8", chunks=(64,), compression="gzip")
        made.id.write_direct_chunk((0,), zlib.compress(bytes(int(rng.integers(2**12, 2**24))), 1))

    return _changed(data, change)


STRUCTURE = (
    _revalued, _revalued, _reshaped, _renumbered, _renumbered, _enlarged, _retyped, _taken_out,
    _linked, _led_outside, _rewired, _renamed, _annotated, _nested, _wrapped, _bomb,
)  # fmt: skip
