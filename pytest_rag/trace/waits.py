"""When calls of models waited for a slot, a limit or a back-off, which is no service time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_rag.trace.intervals import Interval, merge, subtract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Waits", "without"]


class _Within(Protocol):
    def within(self, other: object) -> bool: ...


class Waits:
    """The waits of one run, each with the span in which it was made."""

    def __init__(self) -> None:
        self._all: list[tuple[_Within | None, Interval]] = []

    def add(self, span: _Within | None, interval: Interval) -> None:
        """Take in a wait."""
        self._all.append((span, interval))

    def inside(self, span: object) -> list[Interval]:
        """Return the waits that were made in a span."""
        return [wait for at, wait in self._all if at is not None and at.within(span)]

    def unserved(self, served: Iterable[Interval]) -> list[Interval]:
        """Return, disjoint and in order, when calls waited while no other was being served."""
        busy = list(served)
        waits = merge(wait for _, wait in self._all)
        return [part for wait in waits for part in subtract(wait, busy)]


def without(
    stages: Mapping[str, Iterable[Interval]], held: Iterable[Interval]
) -> dict[str, list[Interval]]:
    """Return the intervals of stages without the time in which calls waited."""
    gone = list(held)
    return {
        stage: [part for each in intervals for part in subtract(each, gone)]
        for stage, intervals in stages.items()
    }
