"""Deployments that own targets not served here: whether they answer, and the way to them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address

import aiohttp
import structlog
from yarl import URL

from api.errors import OwnerAway, QueueFull
from api.metrics import Metrics
from api.tracing import PARENTS
from backends.base import Target
from backends.errors import RunFailed

log = structlog.get_logger("snn_fusion")

CONNECT_S = 1.0
"""Seconds in which a deployment has to take a connection, and to say that it lives."""
PROBE_EVERY_S = 0.5
"""So often a deployment that is away is asked whether it is back."""
IDLE_S = 3.0
"""Idle connections are closed after so long: before the owner, which waits for 5 s, does it."""
PART_BYTES = 2**18
UNASKED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that the library would add by itself."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way to an owner; `path` is raw, with its query, `content` as it came in."""

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    content: bytes = b""

    def part_of(self, trace: Sequence[tuple[str, str]]) -> "Outgoing":
        """Return it as a part of a trace that headers tell, instead of the caller's."""
        others = [one for one in self.headers if one[0].lower().encode() not in PARENTS]
        return replace(self, headers=[*others, *trace])


class Owner:
    """One deployment, and what is known of its state.

    A deployment that took no connection, or ran a request into its deadline and then did not say
    that it lives, is away: requests for it are refused at once, and a watcher asks it from time to
    time until it lives again. So nobody's request finds that out.

    Args:
        url: where it is.
        targets: the targets that it owns.
        max_under_way: requests to it that may be under way.
        metrics: where its state is told.
    """

    def __init__(
        self, url: str, targets: Sequence[str], max_under_way: int, metrics: Metrics
    ) -> None:
        self.url = URL(url)
        self.targets = tuple(targets)
        self.away: str | None = None
        self.under_way = 0
        self._max_under_way = max_under_way
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._watching: asyncio.Task[None] | None = None
        self._tell()

    @property
    def name(self) -> str:
        """Return what callers may know of the address: host and port."""
        return f"{self.url.host}:{self.url.port}"

    def refuse_if_away(self, target: str) -> None:
        """Return if the deployment is not known to be away; raise `OwnerAway` if it is."""
        if self.away is not None:
            raise OwnerAway(target, self.away, PROBE_EVERY_S)

    async def ask(self, target: str, sent: Outgoing) -> aiohttp.ClientResponse:
        """Return the answer to a request as soon as it begins.

        A connection that cannot be made is tried once more, as nothing has begun then; nothing else
        is sent twice. Cancelling the call closes the connection, which cancels the request there.

        Raises:
            OwnerAway: if the deployment takes no connection.
            QueueFull: if as many requests are under way as may.
            RunFailed: if the connection broke before the answer: it may have run or not.
        """
        self.refuse_if_away(target)
        with self._counted(target):
            for again in (True, False):
                try:
                    return await self._sent(sent)
                except aiohttp.ConnectionTimeoutError as error:
                    raise self._lost(target, error) from None
                except aiohttp.ClientConnectorError as error:
                    if not again:
                        raise self._lost(target, error) from None
                except (aiohttp.ClientError, OSError) as error:
                    self.suspect()
                    raise broken(target, error) from None
            raise AssertionError("unreachable")

    def suspect(self) -> None:
        """Have the deployment asked whether it lives, and taken for away if it does not say so."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Close the connections."""
        if self._watching is not None:
            self._watching.cancel()
        if self._session is not None:
            await self._session.close()

    async def _sent(self, sent: Outgoing) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = _session()
        url = URL(f"{str(self.url).rstrip('/')}{sent.path}", encoded=True)
        length = len(sent.content)
        return await self._session.request(
            sent.method,
            url,
            data=sent.content if length <= PART_BYTES else _parts(sent.content),
            headers=[*sent.headers, ("Content-Length", str(length))] if length else sent.headers,
            skip_auto_headers=UNASKED,
            allow_redirects=False,
        )

    @contextmanager
    def _counted(self, target: str) -> Iterator[None]:
        if self.under_way >= self._max_under_way:
            raise QueueFull(target, self.under_way, 1.0)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    def _lost(self, target: str, error: Exception) -> OwnerAway:
        self._note(f"the deployment that owns it {_why(error)}, at {_address_class(self.url.host)}")
        self.suspect()
        assert self.away is not None
        return OwnerAway(target, self.away, PROBE_EVERY_S)

    async def _watch(self) -> None:
        """Ask until the deployment lives."""
        while not await self._lives():
            where = _address_class(self.url.host)
            self._note(self.away or f"the deployment that owns it does not answer, at {where}")
            await asyncio.sleep(PROBE_EVERY_S)
        self._note(None)
        self._watching = None

    async def _lives(self) -> bool:
        try:
            async with asyncio.timeout(CONNECT_S):
                answer = await self._sent(Outgoing("GET", "/healthz/live", ()))
                answer.close()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return True

    def _note(self, away: str | None) -> None:
        if away != self.away:
            self.away = away
            tell = log.info if away is None else log.warning
            tell("owner back" if away is None else "owner away", owner=self.name, reason=away)
            self._tell()

    def _tell(self) -> None:
        for target in self.targets:
            self._metrics.owner_up.labels(target).set(0 if self.away else 1)


class Owners:
    """The deployments that own targets not served here, by target.

    Args:
        addresses: target → URL of its owner.
        targets: the targets of these names, as the front knows them.
        model: the front's model of a request that names none; None leaves that to the owners.
        max_under_way: requests to one deployment that may be under way.
        metrics: where the state of the deployments is told.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        targets: Mapping[str, Target],
        model: str | None,
        max_under_way: int,
        metrics: Metrics,
    ) -> None:
        self.targets = {name: targets[name] for name in addresses}
        self.model = model
        by_url: dict[str, list[str]] = {}
        for name, url in addresses.items():
            by_url.setdefault(url, []).append(name)
        self.all = [Owner(url, names, max_under_way, metrics) for url, names in by_url.items()]
        self._by_target = {name: owner for owner in self.all for name in owner.targets}

    def of(self, target: str) -> Owner:
        """Return the deployment that owns a target of `targets`."""
        return self._by_target[target]

    def among(self, names: Iterable[str]) -> dict[Owner, list[str]]:
        """Return owner → its targets among these names."""
        found: dict[Owner, list[str]] = {}
        for name in names:
            if name in self._by_target:
                found.setdefault(self._by_target[name], []).append(name)
        return found

    async def close(self) -> None:
        """Close all connections."""
        for owner in self.all:
            await owner.close()


def broken(target: str, error: Exception) -> RunFailed:
    """Return what to tell of a connection to a target's owner that broke."""
    log.warning("connection to an owner broke", target=target, error=repr(error))
    return RunFailed(
        f"target {target!r}: the deployment that owns it broke the connection off before its "
        f"answer was whole"
    )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def _parts(content: bytes) -> AsyncIterator[memoryview]:
    for start in range(0, len(content), PART_BYTES):
        yield memoryview(content)[start : start + PART_BYTES]


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"takes no connection within {CONNECT_S:g} s"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "has a name that cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "does not prove its identity (TLS)"
    return "takes no connections"


def _address_class(host: str | None) -> str:
    """Return what kind of address a host is: enough to look for the fault, nothing to attack."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return "a host name"
    if address.is_loopback:
        return "a loopback address"
    return "a private address" if address.is_private else "a public address"
