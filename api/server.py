"""The server: a supervisor, and one or several worker processes on one listening socket."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from api.access.demand import demand_keys
from api.logs import configure_logging
from api.metrics_files import shared_metrics
from api.redis.embedded import shared_redis
from api.settings import Settings
from api.supervisor import Supervisor


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; running requests then finish, within `shutdown_s`.

    Returns:
        0 if it ended because it was told to; else the exit code of a worker that could not start,
        and the log says why.

    Raises:
        InvalidSettings: if callers have to be asked for keys, and there are none.
        OSError: if the address cannot be bound.
    """
    configure_logging(settings)
    demand_keys(settings)
    _allow_files()
    with ExitStack() as stack:
        listener = stack.enter_context(_listening(settings.host, settings.port))
        if settings.workers > 1:
            stack.enter_context(shared_metrics())
        shared = stack.enter_context(shared_redis(settings))
        return Supervisor(shared, listener).run()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048) as listener:
        yield listener


def _allow_files() -> None:
    """Have as many open files as this process may; every connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
