"""Files that mean harm: each is refused by name, in a child that can do nothing else."""

import io
import os
import subprocess
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.hdf5_files import bare, changed, every_primitive, forking, written
from support.models import small_graph, small_manifest, write_model

from fusion.errors import InvalidModel
from fusion.graph_file import read_graph
from fusion.limits import ModelLimits
from fusion.model import load_model, parse_model
from fusion.reader import field_of, read_file


def refused(data, **limits):
    with pytest.raises(InvalidModel) as caught:
        read_graph(data, ModelLimits(**limits))
    return caught.value


def put(value=None, **options):
    """Return a change that gives the parameter cam_in.weight another value."""

    def change(node):
        del node["nodes/cam_in/weight"]
        if options:
            node["nodes/cam_in"].create_dataset("weight", **options)
        else:
            node["nodes/cam_in"]["weight"] = value

    return change


def shared_text(node):
    texts = node["nodes/cam_in"].create_dataset("text", (1,), h5py.string_dtype())
    texts[0] = "x" * 3_000_000
    node["nodes/cam_in"].create_dataset("texts", (4,), h5py.string_dtype())[:] = texts[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put(h5py.SoftLink("/node/nodes")), "is a link"),
        (put(h5py.ExternalLink("/etc/passwd", "/")), "is a link"),
        (put(shape=(10,), dtype="f8", external=[("/etc/passwd", 0, 80)]), "another file"),
        (put(shape=(2**30, 2**30), dtype="f8", chunks=(1, 1)), "at most"),
        (put(shape=(20_000, 20_000), dtype="f8", compression="gzip"), "to 32000"),
        (
            put(shape=(1,), dtype="f8", chunks=(400_000_000,), maxshape=(None,)),
            "to 32000",
        ),
        (put(shape=(2**62, 0), dtype=h5py.string_dtype(), maxshape=(None, None)), "has shape"),
        (put(np.zeros(3, [("a", "f4"), ("b", "i4")])), "type compound"),
        (put(shape=(3,), dtype=h5py.vlen_dtype("f8")), "type object"),
        (put(shape=(3,), dtype=h5py.ref_dtype), "type object"),
        (put(shape=(3,), dtype="V8"), "type"),
        (put(np.zeros(3, complex)), "type complex"),
        (put(np.zeros(3, np.longdouble)), "type float128"),
        (put(h5py.Empty("f8")), "empty dataset"),
        (put(np.dtype("f8")), "neither a group nor a dataset"),
        (put(np.array([b"\xff"])), "no UTF-8 text"),
    ],
)  # fmt: skip
def test_what_a_dataset_must_not_be(change, says):
    error = refused(changed(change))
    assert says in str(error)
    assert error.field == "nodes.cam_in.weight"


def test_virtual_datasets_are_not_followed(tmp_path):
    def change(node):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3,))
        node["nodes/cam_in"].create_virtual_dataset("extra", layout)

    error = refused(changed(change))
    assert (error.field, "another file" in error.problem) == ("nodes.cam_in.extra", True)


def test_texts_that_share_one_long_text_are_counted_each():
    error = refused(changed(shared_text), content_bytes=8_000_000)
    assert "at most 8000000" in str(error)
    assert error.field == "nodes.cam_in.texts"


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\x1b[31mred", b"a\nb", b"x" * 300])
def test_names_are_printable_text_of_bounded_length(name):
    error = refused(changed(lambda node: node["nodes"].create_group(name)))
    assert "name" in error.problem
    assert error.problem.isprintable()


def test_a_group_that_holds_itself_is_named():
    error = refused(changed(lambda node: node["nodes"].__setitem__("again", node)))
    assert (error.field, error.problem) == ("nodes.again", "is a group that holds itself")


def test_nesting_is_bounded():
    def change(node):
        for _ in range(40):
            node = node.create_group("n")

    assert "nested too deeply" in str(refused(bare(change)))


def test_the_number_of_objects_is_bounded():
    def change(node):
        for number in range(200):
            node.create_group(str(number))

    assert "more than 100 groups" in str(refused(bare(change), objects=100))


def test_the_numbers_of_nodes_and_edges_are_bounded():
    data = written(every_primitive())
    assert refused(data, nodes=22).field == "nodes"
    assert refused(data, edges=20).field == "edges"
    assert len(read_graph(data, ModelLimits(nodes=23, edges=21)).nodes) == 19


def test_attributes_cost_nothing():
    def change(node):
        for number in range(300):
            node["nodes/cam_in"].attrs[str(number)] = np.zeros(1000)

    assert "cam_in" in read_graph(changed(change)).nodes


ENDLESS = {"objects": 10**9, "depth": 10**4}


def test_a_file_that_computes_without_end_is_ended():
    error = refused(bare(forking), **ENDLESS, cpu_s=1)
    assert "1 s of computing" in error.problem
    assert error.field.startswith("nodes.a.")


def test_a_file_that_takes_too_long_is_ended():
    assert "more than 0.5 s to read" in refused(bare(forking), **ENDLESS, wall_s=0.5).problem


def test_memory_is_bounded_where_the_library_takes_it():
    """HDF5 unpacks a chunk before it looks at its length: the small chunk is half a gigabyte."""

    bomb = zlib.compress(bytes(2**29), 1)

    def change(node):
        made = node.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip")
        made.id.write_direct_chunk((0,), bomb)

    error = refused(bare(change), content_bytes=2**20)
    assert error.field == "x"
    assert "cannot be read" in error.problem or "memory" in error.problem


def test_the_child_can_open_nothing_and_leaves_no_trace(tmp_path):
    """The limits hold for whatever code runs in the child, not only for what is looked for."""
    told = subprocess.run(
        [sys.executable, "-c", CONFINED, str(tmp_path / "made")],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert told == ["open", "OSError", "socket", "OSError", "pipe", "OSError", "memory"]
    assert not (tmp_path / "made").exists()


CONFINED = """
import os, socket, sys
from fusion.limits import ModelLimits
from fusion.reader_child import confine
confine(ModelLimits(content_bytes=1), 1)
def tried(what, doing):
    try:
        doing()
    except OSError:
        print(what, "OSError")
tried("open", lambda: open(sys.argv[1], "w"))
tried("socket", lambda: socket.socket())
tried("pipe", lambda: os.pipe())
try:
    bytearray(2**29)
except MemoryError:
    print("memory")
"""


def test_the_child_sees_no_secrets(monkeypatch):
    from fusion import reader  # noqa: PLC0415

    monkeypatch.setenv("SNN_FUSION_REDIS_URL", "redis://user:secret@host")
    assert "secret" not in str(reader._environment())


def test_a_folder_of_models_is_no_place_to_import_from(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert read_graph(written(small_graph())).nodes


def children():
    """Return the processes that this one has started and not reaped."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            _, _, fields = stat.read_text().rpartition(")")
            if int(fields.split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def test_no_process_is_left():
    before = children()
    refused(b"junk")
    assert children() <= before


def test_a_file_larger_than_the_limit_is_not_read():
    assert "at most 10" in str(refused(b"x" * 11, file_bytes=10))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("node", "nodes", "lif", "tau"), "nodes.lif.tau"),
        (("node", "nodes", "outer", "nodes", "inner"), "nodes.outer.inner"),
        (("node", "nodes", "outer", "edges"), "nodes.outer.edges"),
        (("node", "edges"), "edges"),
        (("node", "nodes"), "nodes"),
        (("node",), "graph.nir"),
        ((), "graph.nir"),
    ],
)
def test_places_are_named_as_the_authors_do(path, field):
    assert field_of(path) == field


@pytest.mark.parametrize("in_child", [True, False])
def test_every_primitive_is_read(in_child):
    graph = read_graph(written(every_primitive()), in_child=in_child)
    assert set(graph.nodes) == set(every_primitive().nodes)
    assert graph.nodes["conv"].padding == "same"


def zipped(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return made.getvalue()


def test_a_model_is_made_of_the_bytes_of_a_zip_or_a_graph(tmp_path):
    folder = write_model(tmp_path / "m")
    files = {path.name.replace(".", "_"): path.read_bytes() for path in folder.iterdir()}
    assert parse_model(zipped(**files)).digest == load_model(folder).digest
    assert parse_model(files["graph_nir"]).manifest is None


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        (b"PK\x03\x04 cut", "the zip", "cannot be read"),
        (zipped(graph_nir=bytes(2**24)), "graph.nir", "too large"),
        (zipped(graph_nir=b"x", fusion_yaml=bytes(2**19)), "fusion.yaml", "too large"),
        (zipped(**{f"f{n}": b"" for n in range(30)}), "the zip", "holds 30 files"),
        (zipped(graph_nir=b"x", fusion_yaml=b"a: &a [1]\nb: *a"), "fusion.yaml", "alias"),
    ],
)
def test_zips_that_mean_harm(data, field, says):
    limits = ModelLimits(file_bytes=2**20, members=20)
    with pytest.raises(InvalidModel, match=says) as caught:
        parse_model(data, limits)
    assert caught.value.field == field


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_twice_in_a_zip_is_refused():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("graph.nir", b"x")
        for _ in range(2):
            archive.writestr("fusion.yaml", str(small_manifest()))
    with pytest.raises(InvalidModel, match="more than once") as caught:
        parse_model(made.getvalue())
    assert caught.value.field == "fusion.yaml"


def test_a_zip_that_is_damaged_anywhere_is_refused_or_the_same_model(tmp_path):
    folder = write_model(tmp_path / "m")
    whole = zipped(**{p.name.replace(".", "_"): p.read_bytes() for p in folder.iterdir()})
    rng = np.random.default_rng(5)
    for _ in range(200):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        try:
            files = read_file("zip", bytes(data), in_child=False)
        except InvalidModel:
            continue
        assert files["graph.nir"] == (folder / "graph.nir").read_bytes()
