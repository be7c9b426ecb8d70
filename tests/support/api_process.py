"""The server as a process of its own, for tests that stop, kill or freeze it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from support.api_server import free_port, until

START = """
import sys
from api.server import serve
from api.settings import load_settings
sys.exit(serve(load_settings()))
"""


@contextmanager
def process(
    shelf_dir: Path, temporary: Path | None = None, **settings: Any
) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    """Start a server; yields it with a client; kills it if the test left it running."""
    chosen = {
        "ENV": "production",
        "PORT": free_port(),
        "HOST": "127.0.0.1",
        "MODELS_DIR": shelf_dir,
        "LINGER_S": 0,
    }
    if "KEYS_FILE" not in settings:
        chosen["WITHOUT_KEYS"] = "true"
    chosen |= settings
    environment = {f"SNN_FUSION_{key}": str(value) for key, value in chosen.items()}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    started = subprocess.Popen(
        [sys.executable, "-c", START],
        env={**os.environ, **environment, "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{chosen['PORT']}", timeout=60) as client:
            yield started, client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def wait_until_ready(started: "subprocess.Popen[str]", client: httpx.Client) -> None:
    """Return once the readiness probe says so."""

    def ready() -> bool:
        assert started.poll() is None, started.communicate()[1]
        with suppress(httpx.TransportError):
            return client.get("/healthz/ready").status_code == 200
        return False

    until(ready)
