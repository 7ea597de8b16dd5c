"""Two runs of an evalset beside each other, as lines for a terminal and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.report.layout import LABEL, Line, count, duration, labelled, money, printable
from pytest_rag.report.regression import regression_lines
from pytest_rag.verdict import Held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.compare import Comparison
    from pytest_rag.report.layout import Style
    from pytest_rag.report.summary import EvalSetSummary

    Sides = tuple[EvalSetSummary, EvalSetSummary]

__all__ = ["side_lines", "side_of"]

_COLUMN = 16


def side_lines(
    sides: Sides, comparison: Comparison, *, width: int = 80, verbose: bool = False, gated: bool
) -> Iterator[Line]:
    """Yield the verdicts on quality, then time, tokens and cost of both runs.

    Args:
        sides: The evalset before and now.
        comparison: What was decided of it.
        width: Columns of the terminal.
        verbose: Whether every case that moved is shown.
        gated: Whether any metric has a ``max_drop``; without one nothing is decided.
    """
    base, head = sides
    style: Style = "bold" if not gated else "bad" if comparison.bad else "good"
    counts = f"{count(base.cases, 'case')} in A, {head.cases:,} in B"
    yield Line(printable(f"{head.name} · {counts}"), style)
    if not gated:
        text = "nothing is gated: no limit has a max_drop. For information, with max_drop 0:"
        yield from labelled("gate", text, width, "bold")
    held = Held(evalset=head.name, comparison=comparison)
    for line in regression_lines(held, width=width, verbose=verbose):
        yield Line(printable(line.text), line.style)
    yield Line(f"  {'':<{LABEL}}{'A':>{_COLUMN}}{'B':>{_COLUMN}}", "dim")
    for label, was, now in _rows(base, head):
        yield Line(f"  {label:<{LABEL}}{was:>{_COLUMN}}{now:>{_COLUMN}}")


def _rows(base: EvalSetSummary, head: EvalSetSummary) -> Iterator[tuple[str, str, str]]:
    was, now = side_of(base), side_of(head)
    for key, label in (("latency_p50_ms", "latency p50"), ("latency_p95_ms", "latency p95")):
        yield label, _told(was[key], duration), _told(now[key], duration)
    for key, label in (("input_tokens", "tokens in"), ("output_tokens", "tokens out")):
        yield label, _told(was[key], "{:,}".format), _told(now[key], "{:,}".format)
    yield "cost", _told(was["cost_usd"], money), _told(now["cost_usd"], money)


def _told(value: Any, write: Any) -> str:
    return "unknown" if value is None else str(write(value))


def side_of(each: EvalSetSummary) -> dict[str, Any]:
    """Return what one run used, as plain JSON; None where it is not known."""
    latency = next((row for row in each.times if row.name == "latency"), None)
    return {
        "cases": each.cases,
        "runs": each.runs,
        "outcomes": dict(each.outcomes),
        "latency_p50_ms": None if latency is None else round(latency.p50, 3),
        "latency_p95_ms": None if latency is None else round(latency.p95, 3),
        "input_tokens": each.usage.input_tokens,
        "output_tokens": each.usage.output_tokens,
        "cost_usd": each.usage.cost_usd,
    }
