"""Processes share a cache: each answer is computed once, and nobody depends on anybody."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections import Counter

import pytest
from counting_engine import CountingEngine, mark
from processes import answer_to, ask_for_ever, ask_many, leave_streams_in_rings

from pytest_rag import CachedQueryEngine
from pytest_rag.cache import open_cache
from pytest_rag.cache.outage import CacheWarning

PROCESSES, TIMES, KEYS = 8, 1000, 40


@pytest.fixture(scope="session")
def apart():
    """Processes that share no memory; LlamaIndex is imported once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest_rag.pipelines.cached"])
    return context


@pytest.fixture(params=["sqlite", "redis"])
def url(request, tmp_path):
    """The address of a cache that processes can share."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'shared.sqlite3'}"
    return request.getfixturevalue("redis_url")


def test_eight_processes_compute_each_answer_once(apart, url, tmp_path):
    """Of 8,000 questions 40 reach an engine; no count is lost and no answer is torn."""
    log = tmp_path / "computed"
    crowd = [
        apart.Process(target=ask_many, args=(url, str(log), seed, TIMES, KEYS))
        for seed in range(PROCESSES)
    ]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(120)
    assert [process.exitcode for process in crowd] == [0] * PROCESSES
    computed = Counter(log.read_text().splitlines())
    assert computed == {f"question {n}": 1 for n in range(KEYS)}
    cache = open_cache(url)
    found = cache.stats()
    assert (found.entries, found.leases) == (KEYS, 0)
    assert found.totals["misses"] == found.totals["stored"] == KEYS
    assert found.totals["hits"] == PROCESSES * TIMES - KEYS
    assert "corrupt" not in found.totals
    cache.close()


def test_a_stream_that_the_cycle_collector_ends_holds_nobody_up(apart):
    """It may do so in the middle of anything, on the thread that is in it."""
    process = apart.Process(target=leave_streams_in_rings)
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 0


def test_the_death_of_a_holder_holds_nobody_up(apart, url, tmp_path):
    """It is killed while it computes; when its lease is over the next one does."""
    started = tmp_path / "started"
    holder = apart.Process(target=ask_for_ever, args=(url, str(started)))
    holder.start()
    while not started.exists():
        assert holder.is_alive()
        time.sleep(0.01)
    engine = CountingEngine("We do.")
    with CachedQueryEngine(engine, url, fingerprint="1", lease_s=1.0) as cached:
        cache = open_cache(url)
        assert cache.stats().leases == 1
        time.sleep(1.2)
        assert cache.stats().leases == 1  # as long as the holder lives, it holds
        cache.close()
        holder.kill()
        holder.join(10)
        response = cached.query("Who dies?")
        assert (response.response, mark(response)) == ("We do.", {})
        assert mark(cached.query("Who dies?"))["cache"] == "hit"


def test_redis_may_go_away(own_server):
    """Questions are answered live after one warning, and from the cache when it is back."""
    engine = CountingEngine(answer_to)
    with CachedQueryEngine(engine, own_server.url, fingerprint="1") as cached:
        for _ in range(3):
            cached.query("a")
        assert len(engine.asked) == 1
        own_server.stop()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            answers = [cached.query("a").response for _ in range(20)]
            assert answers == [answer_to("a")] * 20
        assert len(engine.asked) == 21
        assert (cached.stats().stored, cached.stats().not_stored) == (1, 20)
        (warning,) = [w for w in said if w.category is CacheWarning]
        assert f"127.0.0.1:{own_server.port}" in str(warning.message)
        assert "s3same" not in str(warning.message)
        own_server.start()
        end = time.monotonic() + 20
        while mark(cached.query("a")).get("cache") != "hit":
            assert time.monotonic() < end
            time.sleep(0.1)
