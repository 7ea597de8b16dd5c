"""What a run would do: cases, runs, and what is known of calls and cost from an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_rag.costs.money import to_usd
from pytest_rag.report.layout import count, money, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_rag.costs.ledger import CaseCosts, Ledger
    from pytest_rag.records import Result, Run
    from pytest_rag.types import EvalSet

__all__ = ["plan_lines"]


def plan_lines(
    evalsets: Iterable[EvalSet],
    previous: Run | None,
    *,
    option: str = "--out",
    ledger: Ledger | None = None,
) -> Iterator[str]:
    """Yield a line an evalset, and one for all where there are several.

    Args:
        evalsets: With the cases that would be run, each with its number of repeats.
        previous: An earlier run; its mean for a run of the same evalset is the estimate.
        option: What names an earlier run's record on the command line.
        ledger: Gives the estimate where there is no record of an earlier run.
    """
    earlier = _Earlier(previous, option, ledger)
    yield from map(printable, _lines(list(evalsets), earlier))


class _Earlier(NamedTuple):
    run: Run | None
    option: str
    ledger: Ledger | None


def _lines(evalsets: Sequence[EvalSet], earlier: _Earlier) -> Iterator[str]:
    for evalset in evalsets:
        known = _estimate(evalset, _runs(evalset), earlier)
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


def _estimate(evalset: EvalSet, runs: int, earlier: _Earlier) -> str:
    results = () if earlier.run is None else earlier.run.results
    seen = [r for r in results if r.evalset == evalset.name and r.latency_ms is not None]
    if seen:
        calls = runs * sum(len(result.calls) for result in seen) / len(seen)
        return f"about {count(round(calls), 'call')}, {_cost(runs, seen)}"
    ledger = earlier.ledger
    costs = None if ledger is None else ledger.cases_of(evalset.name)
    if costs is not None and costs.runs:
        return _by_ledger(runs, costs)
    if earlier.run is not None:
        return "calls and cost: unknown (the earlier record has no run of it)"
    return f"calls and cost: unknown (no earlier record; give {earlier.option} of one)"


def _by_ledger(runs: int, costs: CaseCosts) -> str:
    """Return an estimate by the ledger, which has paid calls and the cases that made some."""
    calls = round(runs * costs.calls / costs.runs)
    usd = money(to_usd(runs * costs.mean_nano))
    known = f"{count(costs.runs, 'earlier run')} of its cases"
    if costs.unknown:
        known += f"; of {costs.unknown:,} more the cost is unknown"
    return f"about {count(calls, 'paid call')}, {usd} (by the ledger: {known})"


def _cost(runs: int, seen: list[Result]) -> str:
    costs = [result.cost_usd for result in seen if result.cost_usd is not None]
    if not costs:
        return "cost unknown"
    text = money(runs * sum(costs) / len(costs))
    if len(costs) < len(seen):
        return f"{text} (the cost of {len(costs)} of {len(seen)} earlier runs is known)"
    return text
