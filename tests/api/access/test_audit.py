import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.access.audit import Audit


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def test_a_line_tells_when_and_what_and_leaves_out_what_is_not_known(path):
    audit = Audit(path)
    audit.write("hardware", key="k", target="board", digest=None, status=200)
    audit.close()
    (line,) = lines(path)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "logger": "snn_fusion.audit",
        "event": "hardware",
        "key": "k",
        "target": "board",
        "status": 200,
    }
    assert path.stat().st_mode & 0o007 == 0


def test_lines_of_several_writers_do_not_mix(path):
    audits = [Audit(path) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for number in range(400):
            pool.submit(audits[number % 4].write, "change", number=number, filler="x" * 500)
    assert sorted(line["number"] for line in lines(path)) == list(range(400))


@pytest.mark.parametrize("how", ["rename", "remove", "copy and truncate"])
def test_rotation_loses_nothing(path, how):
    audit = Audit(path)
    audit.write("one")
    aside = path.with_suffix(".1")
    if how == "rename":
        path.rename(aside)
    elif how == "remove":
        aside.write_bytes(path.read_bytes())
        path.unlink()
    else:
        aside.write_bytes(path.read_bytes())
        os.truncate(path, 0)
    audit.write("two")
    assert [line["event"] for line in lines(aside)] == ["one"]
    assert [line["event"] for line in lines(path)] == ["two"]


def test_rotation_while_many_write_loses_nothing(path):
    audit = Audit(path)
    ended = threading.Event()
    old = []

    def rotate():
        while not ended.wait(0.001):
            old.append(path.with_name(f"old{len(old)}"))
            path.rename(old[-1])
            while not path.exists() and not ended.is_set():
                pass

    thread = threading.Thread(target=rotate)
    thread.start()
    for number in range(3000):
        audit.write("change", number=number)
    ended.set()
    thread.join()
    kept = [line["number"] for one in (*old, path) if one.exists() for line in lines(one)]
    assert kept == list(range(3000))


def test_without_a_file_lines_go_to_standard_error(capfd):
    Audit(None).write("hardware", target="board")
    assert json.loads(capfd.readouterr().err)["target"] == "board"


def test_a_full_disk_loses_no_line_and_is_counted_and_told(tmp_path, capfd):
    full = tmp_path / "audit.jsonl"
    full.symlink_to("/dev/full")
    failed = []
    audit = Audit(full, lambda: failed.append(1))
    audit.write("hardware", target="board")
    written = capfd.readouterr()
    assert failed == [1]
    assert json.loads(written.err.splitlines()[0])["target"] == "board"
    assert "audit log cannot be written" in written.err + written.out


def test_a_line_that_a_full_disk_cuts_off_is_ended_before_the_next(path, monkeypatch, capfd):
    audit = Audit(path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:20]))
    audit.write("change", number=1)
    monkeypatch.setattr(os, "write", write)
    audit.write("change", number=2)
    torn, whole = path.read_text().splitlines()
    assert len(torn) == 20
    assert json.loads(whole)["number"] == 2
    assert json.loads(capfd.readouterr().err.splitlines()[0])["number"] == 1


def test_a_folder_that_comes_back_is_used_again(path, capfd):
    audit = Audit(path)
    path.unlink()
    path.mkdir()
    audit.write("change", number=1)
    assert '"number":1' in capfd.readouterr().err
    path.rmdir()
    audit.write("change", number=2)
    assert [line["number"] for line in lines(path)] == [2]


def test_a_place_that_cannot_be_written_stops_the_start(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Audit(tmp_path / "none" / "audit.jsonl")
