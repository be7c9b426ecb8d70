"""The files in which worker processes share their metrics, for prometheus_client.

prometheus_client maps sparse files into memory; a page of such a file that a full disk has no room
for ends the process that writes it. So every file is given its room before it is used.
"""

import logging
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""Variable under which prometheus_client finds the folder of these files."""
ROOM_BYTES = {
    "histogram": 4 * 2**20,
    "counter": 2**20,
    "gauge_livesum": 2**18,
    "gauge_livemax": 2**18,
    "gauge_livemin": 2**18,
    "gauge_mostrecent": 2**18,
}
"""Kind of a worker's file → its size; labels are bounded, so this is more than enough."""

log = logging.getLogger("snn_fusion.metrics")


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Give worker processes a folder for their metrics, empty now and gone at the end."""
    given = os.environ.get(MULTIPROCESS_DIR)
    if given is not None:
        for left_over in Path(given).glob("*.db"):
            left_over.unlink()
        yield
        return
    with tempfile.TemporaryDirectory(prefix="snn-fusion-metrics-") as folder:
        os.environ[MULTIPROCESS_DIR] = folder
        try:
            yield
        finally:
            del os.environ[MULTIPROCESS_DIR]


def make_room() -> None:
    """Give this worker's files their room, before any metric is made.

    Where there is none, the worker counts for itself alone, and says so in the log.
    """
    folder = os.environ.get(MULTIPROCESS_DIR)
    if folder is None:
        return
    paths = {Path(folder, f"{kind}_{os.getpid()}.db"): size for kind, size in ROOM_BYTES.items()}
    try:
        for path, size in paths.items():
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        log.error("no room for shared metrics, this worker's are not shared: %s", error)
        for path in paths:
            path.unlink(missing_ok=True)
        del os.environ[MULTIPROCESS_DIR]
        # It looked for the folder when it was imported, which the main module may have done.
        from prometheus_client import values  # noqa: PLC0415 (the supervisor does without it)

        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def retire(pid: int) -> None:
    """Keep what a dead worker counted, in as little room as that takes; its live gauges go."""
    folder = os.environ.get(MULTIPROCESS_DIR)
    for path in Path(folder).glob(f"*_{pid}.db") if folder else ():
        if path.name.startswith("gauge_live"):
            path.unlink()
            continue
        with path.open("rb+") as file:
            head = file.read(4)
            used = struct.unpack("i", head)[0] if len(head) == 4 else 0
            file.truncate(max(used, 8))
