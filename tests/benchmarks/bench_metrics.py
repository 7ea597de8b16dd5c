"""Six ranking measures of a hundred retrieved documents."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from pytest_rag import metrics
from pytest_rag.metrics import ranking
from pytest_rag.types import Case, Observation, Retrieved, Timing

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = ("nDCG@10", "AP", "RR", "P@5", "R@100", "Success@10")
_QUERIES = 25
_DEPTH = 100
_ROUNDS = 200


def _query(number: int) -> tuple[Case, Observation]:
    """Return a case with ten relevant documents and a run that finds about half of them."""
    rng = random.Random(number)
    names = [f"doc-{n}" for n in range(1000)]
    found = rng.sample(names, _DEPTH)
    relevant = {name: rng.randint(1, 3) for name in (*rng.sample(found, 5), *names[:5])}
    retrieved = tuple(
        Retrieved(id=name, node=f"{name}/0", score=1 - place / _DEPTH, text="")
        for place, name in enumerate(found)
    )
    return (
        Case(id=f"q{number}", query="?", relevant=relevant),
        Observation(
            query="?",
            answer=None,
            retrieved=retrieved,
            timing=Timing(latency_ms=1.0),
            documents=frozenset(names),
        ),
    )


def _microseconds(work: Callable[[], object]) -> float:
    """Return the time a query takes in the quickest round."""
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) / _QUERIES * 1e6)
    return min(times)


def test_six_ranking_metrics(row) -> None:
    """Scoring a run takes microseconds."""
    queries = [_query(number) for number in range(_QUERIES)]
    chosen = [(metrics.get(name), None) for name in _NAMES]
    bare = [([node.id for node in seen.retrieved], case.relevant) for case, seen in queries]
    pure = _microseconds(lambda: [ranking.compute(_NAMES, *each) for each in bare])
    whole = _microseconds(lambda: [metrics.score_all(chosen, *each) for each in queries])
    name = f"6 ranking metrics, {_DEPTH} documents"
    row(f"{name}: pure", f"{pure:.1f} µs", "≤ 40 µs", "ranking.compute")
    row(
        f"{name}: all",
        f"{whole:.1f} µs",
        "≤ 40 µs",
        "metrics.score_all, gold resolved",
    )
