"""Counts of several processes, which are several `Counters` here, over a real server."""

import asyncio
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from api.metrics import Metrics
from api.redis.counters import Counters
from api.redis.link import Link


class Clock:
    def __init__(self, now=1_000_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@asynccontextmanager
async def counting(url, clock, processes=2):
    links = [Link(url, None, Metrics(CollectorRegistry())) for _ in range(processes)]
    for link in links:
        await link.open()
    try:
        await up(links)
        yield [Counters(link, clock) for link in links], links
    finally:
        for link in links:
            await link.close()


async def up(links, wanted=True):
    async with asyncio.timeout(30):
        while any(link.up is not wanted for link in links):
            await asyncio.sleep(0.01)


def test_each_knows_of_the_others_after_a_flush(server):
    async def main():
        async with counting(server.url, Clock(), 3) as ((one, two, three), _):
            one.add("key", 3)
            two.add("key")
            assert (one.own("key"), one.read_others("key")) == (3, 0)
            three.read_others("key")
            for each in (one, two, three, one):
                await each.flush()
            assert [each.read_others("key") for each in (one, two, three)] == [1, 3, 4]
            assert [each.own("key") for each in (one, two, three)] == [3, 1, 0]

    asyncio.run(main())


def test_a_repeated_flush_counts_nothing_twice_and_a_redis_without_data_is_told_again(server):
    async def main():
        async with counting(server.url, Clock()) as ((one, two), _):
            one.add("key", 5)
            for _ in range(3):
                await one.flush()
            two.add("key", 0)
            await two.flush()
            assert two.read_others("key") == 5
            server.client().flushall()
            await one.flush()
            await two.flush()
            assert two.read_others("key") == 5

    asyncio.run(main())


def test_keys_and_windows_are_apart_and_old_ones_end(server):
    async def main():
        clock = Clock()
        async with counting(server.url, clock) as ((one, two), _):
            one.add("key", 2, 10)
            one.add("other", 4, 10)
            one.add("key", 8, 60)
            await one.flush()
            two.read_others("key", 10)
            await two.flush()
            assert two.read_others("key", 10) == 2
            assert two.read_others("key", 60) == 0, "not asked for yet"
            for name in server.client().scan_iter():
                assert 0 < server.client().ttl(name) <= 180
            clock.now += 10
            assert (one.own("key", 10), two.read_others("key", 10)) == (0, 0)

    asyncio.run(main())


def test_the_sliding_count_takes_the_window_before_as_evenly_spread(server):
    async def main():
        clock = Clock(1_000_000_000.0)
        async with counting(server.url, clock) as ((one, two), _):
            one.add("key", 6, 10)
            two.add("key", 4, 10)
            for each in (one, two, one):
                await each.flush()
            clock.now += 12.5
            one.add("key", 1, 10)
            await one.flush()
            assert one.sliding("key", 10) == 1 + 0.75 * 10

    asyncio.run(main())


def test_without_redis_each_counts_alone_and_later_all_is_told(server):
    async def main():
        async with counting(server.url, Clock()) as ((one, two), links):
            server.kill()
            one.add("key", 7)
            await one.flush()
            await up(links, False)
            one.add("key", 1)
            await one.flush()
            assert one.own("key") == 8
            two.read_others("key")
            server.start()
            await up(links)
            await one.flush()
            await two.flush()
            assert two.read_others("key") == 8

    asyncio.run(main())


def test_without_a_link_it_only_counts():
    alone = Counters(None, Clock())
    alone.add("key", 2)
    asyncio.run(alone.flush())
    assert (alone.own("key"), alone.read_others("key"), alone.sliding("key")) == (2, 0, 2)
