"""What a run would do: cases, runs, and what is known of calls and cost from an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.report.layout import count, money, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_rag.records import Result, Run
    from pytest_rag.types import EvalSet

__all__ = ["plan_lines"]


def plan_lines(
    evalsets: Iterable[EvalSet], previous: Run | None, *, option: str = "--out"
) -> Iterator[str]:
    """Yield a line an evalset, and one for all where there are several.

    Args:
        evalsets: With the cases that would be run, each with its number of repeats.
        previous: An earlier run; its mean for a run of the same evalset is the estimate.
        option: What names an earlier run's record on the command line.
    """
    yield from map(printable, _lines(list(evalsets), previous, option))


def _lines(evalsets: Sequence[EvalSet], previous: Run | None, option: str) -> Iterator[str]:
    for evalset in evalsets:
        known = _estimate(evalset, _runs(evalset), previous, option)
        yield f"{evalset.name}: {_size(evalset)}; {known}"
    if len(evalsets) > 1:
        cases = sum(len(evalset.cases) for evalset in evalsets)
        runs = sum(_runs(evalset) for evalset in evalsets)
        yield f"together: {count(cases, 'case')}, {count(runs, 'run')}"


def _runs(evalset: EvalSet) -> int:
    return sum(case.repeat for case in evalset.cases)


def _size(evalset: EvalSet) -> str:
    cases, runs = len(evalset.cases), _runs(evalset)
    repeats = {case.repeat for case in evalset.cases}
    if len(repeats) == 1:
        return f"{count(cases, 'case')} x {repeats.pop()} = {count(runs, 'run')}"
    return f"{count(cases, 'case')}, {count(runs, 'run')}"


def _estimate(evalset: EvalSet, runs: int, previous: Run | None, option: str) -> str:
    if previous is None:
        return f"calls and cost: unknown (no earlier record; give {option} of one)"
    seen = [r for r in previous.results if r.evalset == evalset.name and r.latency_ms is not None]
    if not seen:
        return "calls and cost: unknown (the earlier record has no run of it)"
    calls = runs * sum(len(result.calls) for result in seen) / len(seen)
    return f"about {count(round(calls), 'call')}, {_cost(runs, seen)}"


def _cost(runs: int, seen: list[Result]) -> str:
    costs = [result.cost_usd for result in seen if result.cost_usd is not None]
    if not costs:
        return "cost unknown"
    text = money(runs * sum(costs) / len(costs))
    if len(costs) < len(seen):
        return f"{text} (the cost of {len(costs)} of {len(seen)} earlier runs is known)"
    return text
