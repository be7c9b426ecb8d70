"""The server: uvicorn with one or several worker processes."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import uvicorn
from uvicorn.supervisors import Multiprocess

from api.app import serve_app
from api.logs import configure_logging
from api.metrics import MULTIPROCESS_DIR
from api.settings import Settings
from api.targets import check_names, make_registry
from fusion.shelf import Shelf


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; running requests then finish, within `shutdown_s`.

    Raises:
        InvalidSettings: if the settings name a target or model that does not exist.
        InvalidTarget: if a target's file is wrong.
        OSError: if the address cannot be bound.
    """
    configure_logging(settings)
    check_names(
        settings, make_registry(settings), Shelf(settings.models_dir, settings.model_limits)
    )
    config = make_config(settings)
    with _listening(settings.host, settings.port) as listener:
        if settings.workers == 1:
            uvicorn.Server(config).run([listener])
            return
        with _shared_metrics():
            Multiprocess(config, [listener]).run()


def make_config(settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration; logging is ours, the access log the middleware's."""
    return uvicorn.Config(
        partial(serve_app, settings),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_s,
        timeout_worker_healthcheck=30,  # a loaded machine is no reason to kill a worker
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048) as listener:
        yield listener


@contextmanager
def _shared_metrics() -> Iterator[None]:
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
