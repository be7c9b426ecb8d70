"""The connection of one process, against a real server that is killed, stopped, refuses."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry
from support.redis_server import redis_server

from api.metrics import Metrics
from api.redis.link import LATE_IN_A_ROW, Link, RedisFailed


async def come_true(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def linked(url):
    registry = CollectorRegistry()
    link = Link(url, None, Metrics(registry))
    await link.open()
    try:
        yield link, registry.get_sample_value
    finally:
        await link.close()


def get(client):
    return client.get("name")


def test_what_is_written_is_read(server):
    async def main():
        async with linked(server.url) as (link, value):
            await come_true(lambda: link.up)
            assert value("snn_fusion_redis_up") == 1
            assert await link.ask(lambda client: client.set("name", "value"), 1.0)
            assert await link.ask(get, 1.0) == b"value"
            assert link.later(lambda client: client.set("name", "later"), 1.0)
            await come_true(lambda: server.client().get("name") == b"later")

    asyncio.run(main())


def test_a_server_that_is_killed_is_not_asked_and_found_again_when_back(server):
    async def main():
        async with linked(server.url) as (link, value):
            await come_true(lambda: link.up)
            server.kill()
            with pytest.raises(RedisFailed):
                await link.ask(get, 1.0)
            assert not link.up
            errors = value("snn_fusion_redis_errors_total", {"kind": "connection"})
            assert errors >= 1
            assert value("snn_fusion_redis_up") == 0
            with pytest.raises(RedisFailed):
                await link.ask(get, 1.0)
            assert not link.later(get, 1.0)
            server.start()
            await come_true(lambda: link.up)
            assert await link.ask(get, 1.0) is None

    asyncio.run(main())


def test_a_server_that_hangs_is_left_alone_after_a_few_late_answers(server):
    async def main():
        async with linked(server.url) as (link, value):
            await come_true(lambda: link.up)
            server.hang()
            for _ in range(LATE_IN_A_ROW):
                assert link.up or link.problem == "answers too late"
                with pytest.raises(RedisFailed, match="answers too late"):
                    await link.ask(get, 0.005)
            assert not link.up
            late = value("snn_fusion_redis_errors_total", {"kind": "late"})
            for _ in range(1000):
                with pytest.raises(RedisFailed):
                    await link.ask(get, 0.005)
            assert value("snn_fusion_redis_errors_total", {"kind": "late"}) <= late + 1
            server.go_on()
            await come_true(lambda: link.up)
            assert await link.ask(get, 1.0) is None

    asyncio.run(main())


def test_one_late_answer_in_between_does_not_cut_the_connection(server):
    async def main():
        async with linked(server.url) as (link, _):
            await come_true(lambda: link.up)
            for _ in range(2 * LATE_IN_A_ROW):
                with pytest.raises(RedisFailed):
                    await link.ask(lambda client: client.blpop("nothing", 5), 0.001)
                assert await link.ask(get, 1.0) is None
            assert link.up

    asyncio.run(main())


def test_an_error_of_one_command_is_counted_and_leaves_the_connection_up(server):
    async def main():
        async with linked(server.url) as (link, value):
            await come_true(lambda: link.up)
            await link.ask(lambda client: client.lpush("name", 1), 1.0)
            with pytest.raises(RedisFailed, match="WRONGTYPE"):
                await link.ask(get, 1.0)
            assert link.up
            assert value("snn_fusion_redis_errors_total", {"kind": "response"}) == 1

    asyncio.run(main())


def test_a_wrong_password_is_refused_and_told_without_it():
    async def main():
        with redis_server("--requirepass", "right") as server:
            async with linked(f"{server.url}?password=wrong") as (link, value):
                errors = {"kind": "refused"}
                await come_true(lambda: value("snn_fusion_redis_errors_total", errors))
                assert not link.up
                assert "wrong" not in link.problem.replace("WRONGPASS", "")
                with pytest.raises(RedisFailed):
                    await link.ask(get, 1.0)
                server.client(password="right").config_set("requirepass", "wrong")
                await come_true(lambda: link.up)

    asyncio.run(main())


def test_what_is_no_redis_is_told():
    async def main():
        async def greet(_, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        listener = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, linked(f"redis://127.0.0.1:{port}") as (link, _):
            await come_true(lambda: link.problem != "not connected yet")
            assert not link.up

    asyncio.run(main())
