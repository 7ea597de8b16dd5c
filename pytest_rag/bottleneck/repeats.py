"""Questions that repeat one another: what a cache of answers would save."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING

from pytest_rag.bottleneck.model import Finding, Saves
from pytest_rag.bottleneck.runs import number
from pytest_rag.metrics.text import content_words, normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.bottleneck.runs import Seen

__all__ = ["ALIKE", "repeat_findings", "repeats"]

ALIKE = 0.8
"""The share of their words that two questions have in common to be near-repeats (Jaccard)."""

_NAMED = 3


def repeats(queries: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return which questions repeat one before them, and which nearly do, by name.

    Args:
        queries: Questions by name, in the order they were asked. Case, punctuation and articles
            do not count.
    """
    exact: list[str] = []
    fresh: dict[str, frozenset[str]] = {}
    asked: set[str] = set()
    for name, query in queries.items():
        text = normalise(query)
        if text in asked:
            exact.append(name)
        else:
            asked.add(text)
            fresh[name] = frozenset(content_words(query))
    return exact, list(_near(fresh))


def _near(sets: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Yield the names whose words are nearly those of one before.

    Two sets that share so much share one of the rarest words of each (prefix filtering, Chaudhuri
    et al. 2006), so that only those with such a word are compared.
    """
    often = Counter(word for words in sets.values() for word in words)
    holders: dict[str, list[frozenset[str]]] = {}
    for name, words in sets.items():
        rarest = sorted(words, key=lambda word: (often[word], word))
        prefix = rarest[: len(words) - ceil(ALIKE * len(words)) + 1]
        others = (other for word in prefix for other in holders.get(word, ()))
        if any(len(words & other) >= ALIKE * len(words | other) for other in others):
            yield name
        for word in prefix:
            holders.setdefault(word, []).append(words)


def repeat_findings(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Yield what a cache of answers would save; runs of the same case are not counted."""
    first: dict[str, Seen] = {}
    for each in seen:
        first.setdefault(each.result.case, each)
    exact, near = repeats({case: each.result.query for case, each in first.items()})
    again = [first[case] for case in (*exact, *near)]
    if not again:
        return
    costs = [number(each.result.cost_usd) for each in again]
    known = [cost for cost in costs if cost is not None]
    saved = sum(each.latency for each in again) / len(first)
    yield Finding(
        kind="repeats",
        what=f"{len(exact)} of {len(first)} questions repeat one before them, {len(near)} nearly",
        knob="CachedQueryEngine(engine, cache=…) for repeats, semantic=… for near-repeats"
        if near
        else "CachedQueryEngine(engine, cache=…)",
        assumes="an answer from the cache takes no time, the questions are asked with the same "
        "filters, and those to come repeat as often as these",
        size_ms=saved,
        share=saved * len(first) / sum(each.latency for each in first.values())
        if any(each.latency for each in first.values())
        else None,
        saves=Saves(ms=saved, usd=sum(known) / len(first) or None),
        cases=tuple(each.result.case for each in again[:_NAMED]),
        estimated=bool(near),
    )
