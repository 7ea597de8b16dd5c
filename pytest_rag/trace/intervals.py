"""Arithmetic of time intervals ``(start, end)``, in any unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Interval", "length", "merge", "replaced", "subtract"]

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


def replaced(whole: Iterable[Interval], calls: Iterable[tuple[Interval, float]]) -> float:
    """Return the length of a union in which each call's own time gives way to a recorded one.

    Calls whose intervals overlap ran at the same time: the longest of them counts. A call that
    ends outside the union is no part of it.

    Args:
        whole: Intervals.
        calls: Of each call the interval measured here, and how long it took when it was live.
    """
    union = merge(whole)
    inside = sorted((i, r) for i, r in calls if any(a <= i[0] and i[1] <= b for a, b in union))
    own = sum(b - a for each in union for a, b in subtract(each, [i for i, _ in inside]))
    longest: list[float] = []
    until = float("-inf")
    for (start, end), recorded in inside:
        if start <= until:
            longest[-1] = max(longest[-1], recorded)
        else:
            longest.append(recorded)
        until = max(until, end)
    return own + sum(longest)
