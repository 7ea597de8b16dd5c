"""Arithmetic of time intervals ``(start, end)``, in any unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Interval", "length", "merge", "subtract"]

Interval = tuple[float, float]


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union as disjoint intervals in order."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def length(intervals: Iterable[Interval]) -> float:
    """Return the length of the union: overlaps count once."""
    return sum(end - start for start, end in merge(intervals))


def subtract(whole: Interval, parts: Iterable[Interval]) -> list[Interval]:
    """Return what is left of ``whole`` without ``parts``."""
    left: list[Interval] = []
    at, end = whole
    for start, stop in merge(parts):
        if at < min(start, end):
            left.append((at, min(start, end)))
        at = max(at, stop)
    if at < end:
        left.append((at, end))
    return left
