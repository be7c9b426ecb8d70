"""`loihi.npz`: bytes that come back as they were, and files that nobody should trust."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from support.loihi import every_kind

from fusion.errors import InvalidModel
from simulators.loihi_file import HEADER, load, save

Members = dict[str, bytes]


def members_of(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def with_header(change: Callable[[dict[str, Any]], object]) -> bytes:
    members = members_of(save(every_kind()))
    header = json.loads(members[HEADER])
    change(header)
    return packed(members | {HEADER: json.dumps(header).encode()})


def with_array(name: str, content: bytes) -> bytes:
    return packed(members_of(save(every_kind())) | {name: content})


def test_a_network_comes_back_as_it_was() -> None:
    network = every_kind()
    back = load(save(network))
    assert back.dt_s == network.dt_s
    for part in ("inputs", "populations", "connections", "outputs"):
        for one, other in zip(getattr(network, part), getattr(back, part), strict=True):
            assert type(one) is type(other)
            for field in fields(one):
                np.testing.assert_equal(getattr(other, field.name), getattr(one, field.name))


def test_the_same_network_gives_the_same_bytes() -> None:
    assert save(every_kind()) == save(every_kind())
    assert save(load(save(every_kind()))) == save(every_kind())


def test_plain_numpy_reads_it_without_pickle() -> None:
    with np.load(io.BytesIO(save(every_kind())), allow_pickle=False) as archive:
        assert json.loads(archive[HEADER])["version"] == 1
        assert archive["connections.0.weights"].dtype == np.int32


def test_compressed_archives_and_other_integer_types_are_read() -> None:
    members = members_of(save(every_kind()))
    name = "populations.0.bias_mant.npy"
    wide = np.load(io.BytesIO(members[name])).astype(">i8")
    back = load(packed(members | {name: npy(wide)}, zipfile.ZIP_DEFLATED))
    np.testing.assert_array_equal(back.populations[0].bias_mant, wide)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "not a readable archive"),
        (b"PK\x03\x04 nothing", "not a readable archive"),
        (save(every_kind())[:-40], "not a readable archive"),
        (packed({}), "header.json: is missing"),
        (packed({HEADER: b"\xff{"}), "header.json: is not JSON"),
        (packed({HEADER: b"[" * 100_000}), "header.json: is not JSON"),
        (packed({HEADER: b"[]"}), "header.json.format"),
        (with_header(lambda h: h.update(version=2)), "header.json.version: is 2"),
        (with_header(lambda h: h.pop("outputs")), "header.json.outputs: is missing"),
        (with_header(lambda h: h.update(more=1)), "header.json.more: is no entry"),
        (with_header(lambda h: h.update(inputs={})), "header.json.inputs"),
        (with_header(lambda h: h.update(dt_s=float("nan"))), "dt_s: is nan"),
        (with_header(lambda h: h.update(dt_s=True)), "dt_s: is True"),
        (with_header(lambda h: h.update(inputs=[])), "inputs: is empty"),
        (with_header(lambda h: h["inputs"].append(h["inputs"][0])), "occurs 2 times"),
        (with_header(lambda h: h["inputs"][0].update(name="")), "is not a name"),
        (with_header(lambda h: h["inputs"][0].update(shape=[0])), "shape: is 0"),
        (with_header(lambda h: h["inputs"][0].update(shape=[2**20, 2**20])), "too many"),
        (with_header(lambda h: h["inputs"][0].update(shape=7)), "shape: is 7"),
        (with_array("populations.0.vth.npy", npy(np.full(4, 2**17))), "vth: reaches from 131072"),
        (with_array("populations.0.du.npy", npy(np.full(4, 4096))), "du: reaches from 4096"),
        (with_array("populations.0.dv.npy", npy(np.ones(4))), "dv.npy: holds float64"),
        (with_header(lambda h: h["populations"][0].pop("name")), r"populations\[0\].name"),
        (with_header(lambda h: h["populations"][0].update(tau=1)), r"populations\[0\].tau"),
        (with_header(lambda h: h["populations"][0].update(reset={})), "reset.interval"),
        (with_header(lambda h: h["populations"][0].update(reset=3)), "reset: is 3"),
        (with_header(lambda h: h["populations"][0].update(bias_mant=[[1], 2])), "bias_mant"),
        (with_header(lambda h: h["connections"][0].update(kind="pickle")), "kind: is 'pickle'"),
        (with_header(lambda h: h["connections"][0].update(kind=[])), "kind"),
        (with_header(lambda h: h["connections"][0].update(source="gone")), "'gone' is unknown"),
        (with_header(lambda h: h["connections"][0].update(source=[1])), "source"),
        (with_header(lambda h: h["connections"][0].update(weight_exp=8)), "weight_exp: is 8"),
        (with_header(lambda h: h["connections"][0].update(sign_mode="no")), "sign_mode: is 'no'"),
        (with_header(lambda h: h["connections"][0].update(sign_mode=[])), "sign_mode"),
        (with_header(lambda h: h["outputs"][0].update(source="gone")), "'gone' is unknown"),
        (with_header(lambda h: h["outputs"][0].update(scale="1")), "scale: is '1'"),
        (with_header(lambda h: h["outputs"][0].update(reads="u")), "reads: is 'u'"),
        (with_array("more.npy", npy(np.zeros(1, np.int8))), "more.npy: belongs to no entry"),
        (with_array("connections.0.weights.npy", b"text"), "is not a .npy array"),
        (with_array("connections.0.weights.npy", npy(np.zeros((2, 2)))), "float64"),
        (with_array("connections.0.weights.npy", npy(np.zeros(6, np.int32))), "weights: has shape"),
        (with_array("populations.0.v.npy", npy(np.full(4, 2**24))), "v: reaches from"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(data: bytes, named: str) -> None:
    with pytest.raises(InvalidModel, match=named) as caught:
        load(data)
    assert caught.value.field.startswith("loihi.npz")


def test_pickled_objects_are_refused_unread() -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InvalidModel, match="holds object"):
        load(with_array("connections.0.weights.npy", pickled.getvalue()))


@pytest.mark.parametrize("shape", [(2**40, 2**40), (2**62, 4), (-1, 6)])
def test_claims_of_size_are_checked_before_memory_is_taken(shape: tuple[int, int]) -> None:
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(InvalidModel, match="weights"):
        load(with_array("connections.0.weights.npy", content))


def test_archives_that_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.loihi_file.MAX_BYTES", 10_000)
    with pytest.raises(InvalidModel, match="unpacks to more than"):
        load(packed({HEADER: b" " * 20_000}, zipfile.ZIP_DEFLATED))


def test_a_member_given_twice_is_refused() -> None:
    out = io.BytesIO(save(every_kind()))
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(HEADER, b"{}")
    with pytest.raises(InvalidModel, match="occurs twice"):
        load(out.getvalue())
