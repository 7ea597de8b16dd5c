"""What other processes do in the tests; apart, so that they import little else."""

from __future__ import annotations

import gc
import os
import random
import time
from pathlib import Path
from typing import Any

from counting_engine import CountingEngine

from pytest_rag import CachedQueryEngine


def answer_to(query: str) -> str:
    """Return an answer that cannot be mistaken for another, and is long enough to be torn."""
    return f"<{query}>" + query * 400 + f"</{query}>"


def ask_many(url: str, log: str, seed: int, times: int, keys: int) -> None:
    """Ask a few questions very often; write down each time the engine is asked."""

    def computed(query: str) -> str:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{query}\n".encode())
        os.close(descriptor)
        time.sleep(0.002)
        return answer_to(query)

    engine = CountingEngine(computed)
    queries = [f"question {n % keys}" for n in range(times)]
    random.Random(seed).shuffle(queries)
    with CachedQueryEngine(engine, url, fingerprint="1") as cached:
        for query in queries:
            if cached.query(query).response != answer_to(query):
                raise AssertionError(f"{query} was given another answer")


def ask_for_ever(url: str, started: str) -> None:
    """Begin to compute an answer, say so, and never end."""

    def computed(query: str) -> Any:
        Path(started).touch()
        time.sleep(600)

    with CachedQueryEngine(CountingEngine(computed), url, fingerprint="1", lease_s=1.0) as cached:
        cached.query("Who dies?")


def leave_streams_in_rings() -> None:
    """Let the cycle collector find streams that were left, at ever other moments."""
    cached = CachedQueryEngine(CountingEngine(streaming=True), fingerprint="1", ledger=False)
    for threshold in range(1, 700, 3):
        ring: list[Any] = [cached.query(f"Who leaves {threshold}?")]
        next(ring[0].response_gen)
        ring.append(ring)
        del ring
        gc.set_threshold(threshold)
        cached.query(f"Who asks {threshold}?").get_response()
