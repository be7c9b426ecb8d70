"""The clients: the same calls, sent by httpx, with and without `await`."""

import asyncio
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar, Unpack

from snn_fusion.client import calls
from snn_fusion.client.answers import FuseAnswer
from snn_fusion.client.calls import Call, CheckChoices, CompareChoices, File, FuseChoices
from snn_fusion.client.catalogue import Alias, Model, ShippedSample, Target, Versions
from snn_fusion.client.checks import Check
from snn_fusion.client.comparisons import Comparison
from snn_fusion.client.errors import ConnectionFailed, DeadlinePassed
from snn_fusion.client.inputs import Recording
from snn_fusion.client.retries import Outcome, Reply, Retry, Send, Wait, exchange

try:
    import httpx
except ImportError as error:
    raise ImportError("the client needs httpx: pip install 'snn-fusion[client]'") from error

_T = TypeVar("_T")

TIMEOUT_S = 60.0
POLL_S = 0.1
UNSETTLED = ("known", "loading")
"""States of a model that may soon be ready."""
API_KEY = "SNN_FUSION_API_KEY"
"""Variable that holds the key of clients that are given none."""
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Client:
    """A client that waits for its answers; safe to call from several threads.

    Args:
        address: where the service listens, such as `http://127.0.0.1:8080`.
        timeout_s: seconds for a call with all its tries.
        retry: how often and how soon a call is tried again.
        api_key: sent with every request; by default what `SNN_FUSION_API_KEY` holds, if anything.
        headers: sent with every request.
        options: handed to `httpx.Client`: `verify`, `cert`, `transport` and others.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retry: Retry | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._timeout_s = timeout_s
        self._retry = retry or Retry()
        self._http = httpx.Client(base_url=address, headers=_headers(api_key, headers), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def fuse(self, sensors: Mapping[str, Recording], **choices: Unpack[FuseChoices]) -> FuseAnswer:
        """Return the fused answer to what some of a model's sensors recorded.

        Args:
            sensors: sensor → recording, of any subset of the model's sensors.
            choices: see `FuseChoices`.

        Raises:
            ValueError: if an array is not what it has to be.
            ClientError: if there is no answer.
        """
        return self._run(calls.fuse(sensors, choices))

    def compare(
        self,
        sensors: Mapping[str, Recording],
        targets: Sequence[str],
        **choices: Unpack[CompareChoices],
    ) -> Comparison:
        """Return where targets differ on one input; arguments and errors as of `fuse`."""
        return self._run(calls.compare(sensors, targets, choices))

    def check(self, **choices: Unpack[CheckChoices]) -> Check:
        """Return how a model fits targets, without running it; see `CheckChoices`."""
        return self._run(calls.check(choices))

    def targets(self) -> tuple[Target, ...]:
        """Return the targets: what they can do, whether they can be used now, their queues."""
        return self._run(calls.TARGETS).targets

    def models(self) -> tuple[Model, ...]:
        """Return the models: sensors, heads, labels and contract."""
        return self._run(calls.MODELS).models

    def model(self, reference: str) -> Model:
        """Return one model by `name`, `name:version`, `name@alias` or digest."""
        return self._run(calls.model(reference))

    def upload(self, model: File, manifest: File | None = None) -> Model:
        """Store a model, and return it as it was stored; it is compiled from now on.

        The same model again is the same version.

        Args:
            model: a zip of a model's folder or a `.nir` file: its path or its bytes.
            manifest: a `fusion.yaml` that belongs to it: its path or its bytes.

        Raises:
            OSError: if a file cannot be read.
            Conflict: if the version exists with other content.
            ClientError: if it was not stored.
        """
        return self._run(calls.upload(model, manifest))

    def wait_for_model(self, reference: str) -> Model:
        """Return a model once it is compiled for the default target, or that has failed.

        Raises:
            DeadlinePassed: if that takes longer than the client's `timeout_s`.
            ClientError: if there is no such model.
        """
        end = time.monotonic() + self._timeout_s
        while (found := self._run(calls.model(reference))).state in UNSETTLED:
            if time.monotonic() > end:
                raise DeadlinePassed(f"{reference!r} is still {found.state}")
            time.sleep(POLL_S)
        return found

    def versions(self, name: str) -> Versions:
        """Return all versions of a model, the oldest first, and its aliases."""
        return self._run(calls.versions(name))

    def download(self, name: str, version: str) -> bytes:
        """Return the files of one version as a zip."""
        return self._run(calls.download(name, version))

    def delete_model(self, name: str, version: str | None = None) -> tuple[str, ...]:
        """Delete a version, or a whole model without one; return what was deleted."""
        return self._run(calls.delete_model(name, version)).versions

    def set_alias(self, name: str, alias: str, version: str) -> Alias:
        """Let an alias lead to a version, wherever it led before."""
        return self._run(calls.set_alias(name, alias, version))

    def delete_alias(self, name: str, alias: str) -> Alias:
        """Delete an alias."""
        return self._run(calls.delete_alias(name, alias))

    def samples(self) -> tuple[ShippedSample, ...]:
        """Return the recordings that ship with the models."""
        return self._run(calls.SAMPLES).samples

    def _run(self, call: Call[_T]) -> _T:
        steps = exchange(self._retry, self._timeout_s, time.monotonic, random.random)
        try:
            step = next(steps)
            while True:
                step = steps.send(self._do(call, step))
        except StopIteration as stop:
            return call.answer(stop.value)

    def _do(self, call: Call[Any], step: Send | Wait) -> Outcome:
        if isinstance(step, Send):
            return self._send(call, step.timeout_s)
        time.sleep(step.seconds)
        return None

    def _send(self, call: Call[Any], timeout_s: float) -> Outcome:
        end = time.monotonic() + timeout_s
        try:
            with self._http.stream(**_request(call, timeout_s)) as reply:
                content = bytearray()
                for chunk in reply.iter_bytes():
                    content += chunk
                    if time.monotonic() > end:
                        return _too_late()
            return _reply(reply, bytes(content))
        except httpx.HTTPError as error:
            return _failure(error)


class AsyncClient:
    """A client whose answers are awaited; arguments as of `Client`, options for `httpx`'s."""

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = TIMEOUT_S,
        retry: Retry | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._timeout_s = timeout_s
        self._retry = retry or Retry()
        self._http = httpx.AsyncClient(
            base_url=address, headers=_headers(api_key, headers), **options
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def fuse(
        self, sensors: Mapping[str, Recording], **choices: Unpack[FuseChoices]
    ) -> FuseAnswer:
        """Return the fused answer to what some of a model's sensors recorded; as `Client.fuse`."""
        return await self._run(calls.fuse(sensors, choices))

    async def compare(
        self,
        sensors: Mapping[str, Recording],
        targets: Sequence[str],
        **choices: Unpack[CompareChoices],
    ) -> Comparison:
        """Return where targets differ on one input; as `Client.compare`."""
        return await self._run(calls.compare(sensors, targets, choices))

    async def check(self, **choices: Unpack[CheckChoices]) -> Check:
        """Return how a model fits targets, without running it; as `Client.check`."""
        return await self._run(calls.check(choices))

    async def targets(self) -> tuple[Target, ...]:
        """Return the targets; as `Client.targets`."""
        return (await self._run(calls.TARGETS)).targets

    async def models(self) -> tuple[Model, ...]:
        """Return the models; as `Client.models`."""
        return (await self._run(calls.MODELS)).models

    async def model(self, reference: str) -> Model:
        """Return one model by `name`, `name:version`, `name@alias` or digest."""
        return await self._run(calls.model(reference))

    async def upload(self, model: File, manifest: File | None = None) -> Model:
        """Store a model, and return it as it was stored; as `Client.upload`."""
        return await self._run(calls.upload(model, manifest))

    async def wait_for_model(self, reference: str) -> Model:
        """Return a model once it is compiled, or that has failed; as `Client.wait_for_model`."""
        end = time.monotonic() + self._timeout_s
        while (found := await self._run(calls.model(reference))).state in UNSETTLED:
            if time.monotonic() > end:
                raise DeadlinePassed(f"{reference!r} is still {found.state}")
            await asyncio.sleep(POLL_S)
        return found

    async def versions(self, name: str) -> Versions:
        """Return all versions of a model, the oldest first, and its aliases."""
        return await self._run(calls.versions(name))

    async def download(self, name: str, version: str) -> bytes:
        """Return the files of one version as a zip."""
        return await self._run(calls.download(name, version))

    async def delete_model(self, name: str, version: str | None = None) -> tuple[str, ...]:
        """Delete a version, or a whole model without one; return what was deleted."""
        return (await self._run(calls.delete_model(name, version))).versions

    async def set_alias(self, name: str, alias: str, version: str) -> Alias:
        """Let an alias lead to a version, wherever it led before."""
        return await self._run(calls.set_alias(name, alias, version))

    async def delete_alias(self, name: str, alias: str) -> Alias:
        """Delete an alias."""
        return await self._run(calls.delete_alias(name, alias))

    async def samples(self) -> tuple[ShippedSample, ...]:
        """Return the recordings that ship with the models; as `Client.samples`."""
        return (await self._run(calls.SAMPLES)).samples

    async def _run(self, call: Call[_T]) -> _T:
        steps = exchange(self._retry, self._timeout_s, time.monotonic, random.random)
        try:
            step = next(steps)
            while True:
                step = steps.send(await self._do(call, step))
        except StopIteration as stop:
            return call.answer(stop.value)

    async def _do(self, call: Call[Any], step: Send | Wait) -> Outcome:
        if isinstance(step, Send):
            return await self._send(call, step.timeout_s)
        await asyncio.sleep(step.seconds)
        return None

    async def _send(self, call: Call[Any], timeout_s: float) -> Outcome:
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._http.request(**_request(call, timeout_s))
            return _reply(reply, reply.content)
        except TimeoutError:
            return _too_late()
        except httpx.HTTPError as error:
            return _failure(error)


def _headers(api_key: str | None, headers: Mapping[str, str] | None) -> httpx.Headers:
    """Return the headers of every request; one that is given comes before the key's."""
    key = os.environ.get(API_KEY, "") if api_key is None else api_key
    carried = httpx.Headers({"Authorization": f"Bearer {key.strip()}"} if key.strip() else None)
    carried.update(headers)
    return carried


def _request(call: Call[Any], timeout_s: float) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "content": call.content,
        "headers": call.headers,
        "timeout": timeout_s,
    }


def _reply(reply: httpx.Response, content: bytes) -> Reply:
    return Reply(reply.status_code, dict(reply.headers), content)


def _failure(error: httpx.HTTPError) -> ConnectionFailed | DeadlinePassed:
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, _UNSENT):
        return ConnectionFailed(told, sent=False)
    if isinstance(error, httpx.TimeoutException):
        return _too_late()
    return ConnectionFailed(told, sent=True)


def _too_late() -> DeadlinePassed:
    return DeadlinePassed("no answer came in time")
