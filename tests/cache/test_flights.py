"""Of many who ask at the same time one asks the engine, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from counting_engine import CountingEngine, mark

from pytest_rag import CachedQueryEngine
from pytest_rag.cache.memory import MemoryCache

QUERY = "How many days carry over?"


def test_threads_ask_once(cache):
    """Thirty-two threads and one question; those who waited have responses of their own."""
    engine = CountingEngine("Five.", wait_s=0.2)
    cached = CachedQueryEngine(engine, cache)
    with ThreadPoolExecutor(32) as pool:
        responses = list(pool.map(cached.query, [QUERY] * 32))
    assert len(engine.asked) == 1
    assert {response.response for response in responses} == {"Five."}
    assert len({id(response) for response in responses}) == 32
    use = cached.stats()
    assert (use.misses, use.shared + use.hits) == (1, 31)


def test_tasks_ask_once(cache):
    """The same on one event loop, which goes on meanwhile."""
    engine = CountingEngine("Five.", wait_s=0.2)
    cached = CachedQueryEngine(engine, cache)

    async def go():
        ticks = 0
        asked = asyncio.gather(*(cached.aquery(QUERY) for _ in range(32)))
        while not asked.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks, await asked

    ticks, responses = asyncio.run(go())
    assert ticks > 3
    assert len(engine.asked) == 1
    assert {response.response for response in responses} == {"Five."}


def test_engines_over_one_cache_ask_once(cache):
    """Wrappers that know nothing of each other share through leases."""
    engine = CountingEngine("Five.", wait_s=0.1)
    several = [CachedQueryEngine(engine, cache, fingerprint="1") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda cached: cached.query(QUERY), several))
    assert len(engine.asked) == 1


def test_an_error_is_everybodys_who_waited():
    """A provider that is down is not asked again by each of them."""
    engine = CountingEngine(ConnectionError("away"), wait_s=0.2)
    cached = CachedQueryEngine(engine)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cached.query, QUERY) for _ in range(8)]
        raised = [future.exception() for future in asked]
    assert {type(error) for error in raised} == {ConnectionError}
    assert len(engine.asked) == 1


def test_a_task_that_is_cancelled_leaves_the_question_to_others():
    """Another one who waited asks the engine."""
    engine = CountingEngine("Five.", wait_s=0.2)
    cached = CachedQueryEngine(engine)

    async def go():
        first = asyncio.create_task(cached.aquery(QUERY))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(cached.aquery(QUERY))
        third = asyncio.create_task(cached.aquery(QUERY))
        await asyncio.sleep(0.05)
        first.cancel()
        return await asyncio.gather(second, third)

    responses = asyncio.run(go())
    assert [response.response for response in responses] == ["Five.", "Five."]
    assert len(engine.asked) == 1


def test_one_who_waits_may_be_cancelled():
    """The one who asks goes on."""
    engine = CountingEngine("Five.", wait_s=0.2)
    cached = CachedQueryEngine(engine)

    async def go():
        first = asyncio.create_task(cached.aquery(QUERY))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(cached.aquery(QUERY))
        await asyncio.sleep(0.05)
        second.cancel()
        return await first

    assert asyncio.run(go()).response == "Five."
    assert mark(cached.query(QUERY))["cache"] == "hit"


@pytest.mark.parametrize("inner_query", ["Another?", QUERY], ids=["another", "the same"])
def test_an_engine_may_ask_a_cached_engine(cache, inner_query):
    """Over the same cache, from every thread at once, and even the very same question."""
    inner = CachedQueryEngine(CountingEngine("Five.", wait_s=0.02), cache, namespace="x")
    outer_engine = CountingEngine(lambda _: f"Inner: {inner.query(inner_query).response}")
    outer = CachedQueryEngine(outer_engine, cache, namespace="x", fingerprint="outer")
    again = CachedQueryEngine(outer, cache, namespace="x", fingerprint="outer")
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(again.query, [QUERY] * 8))
    assert {response.response for response in responses} == {"Inner: Five."}


def test_two_that_wait_for_each_other_go_on():
    """Each asks what the other is computing: after the lease's time both ask live."""
    meet = threading.Barrier(2)
    caches = MemoryCache()
    engines = {}

    def answer(query: str) -> str:
        if query in ("left", "right") and threading.current_thread().name == query:
            meet.wait(10)
            other = {"left": "right", "right": "left"}[query]
            threading.current_thread().name = "nested"
            return f"{query} with {engines['cached'].query(other).response}"
        return f"{query} alone"

    engines["cached"] = CachedQueryEngine(
        CountingEngine(answer), caches, fingerprint="1", lease_s=0.2
    )
    said = {}
    threads = [
        threading.Thread(
            name=n, target=lambda n=n: said.update({n: engines["cached"].query(n).response})
        )
        for n in ("left", "right")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert said.keys() == {"left", "right"}


def test_a_synchronous_call_on_the_loop_does_not_wait_for_it():
    """What a task computes is asked again by code that blocks the loop."""
    engine = CountingEngine("Five.", wait_s=0.1)
    cached = CachedQueryEngine(engine)

    async def go():
        task = asyncio.create_task(cached.aquery(QUERY))
        await asyncio.sleep(0.02)
        now = cached.query(QUERY)
        return now, await task

    responses = asyncio.run(asyncio.wait_for(go(), 10))
    assert [response.response for response in responses] == ["Five.", "Five."]


def test_a_stream_that_nobody_reads_holds_nobody_up():
    """The same thread goes on at once, another one after the lease's time."""
    engine = CountingEngine("Five days.", streaming=True)
    cached = CachedQueryEngine(engine, lease_s=0.2)
    unread = cached.query(QUERY)
    began = time.monotonic()
    assert cached.query(QUERY).get_response().response == "Five days. "
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: cached.query(QUERY).get_response().response)
        assert other.result(10) == "Five days. "
    assert time.monotonic() - began < 10
    assert unread.get_response().response == "Five days. "


def test_those_who_wait_for_a_stream_have_its_answer():
    """When its reader has come to the end."""
    engine = CountingEngine("Five whole days.", streaming=True)
    cached = CachedQueryEngine(engine)
    reading = cached.query(QUERY)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(cached.query, QUERY) for _ in range(4)]
        for _ in reading.response_gen:
            time.sleep(0.02)
        said = [future.result(10).get_response().response for future in waiting]
    assert said == ["Five whole days. "] * 4
    assert len(engine.asked) == 1
