"""The summary as lines for a terminal."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING

from pytest_rag.checks import bounds, number
from pytest_rag.gate import NEEDS_BASELINE
from pytest_rag.report.layout import (
    LABEL,
    Line,
    Style,
    block,
    count,
    duration,
    labelled,
    money,
    printable,
)
from pytest_rag.report.regression import regression_lines
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.gate import GateResult
    from pytest_rag.report.summary import EvalSetSummary, Summary, TimeRow, Usage
    from pytest_rag.report.troubles import Advice, Trouble
    from pytest_rag.types import Outcome

__all__ = ["lines"]

_TROUBLES = 10
_IDS = 3


def lines(
    summary: Summary,
    *,
    verbose: bool = False,
    width: int = 80,
    record: str | None = None,
    again: str = "pytest --lf",
) -> Iterator[Line]:
    """Yield the lines of a summary.

    Args:
        summary: Of the run.
        verbose: Whether every case that did not pass, every metric and every stage is shown.
        width: Columns of the terminal.
        record: Path of the run record, where one was written.
        again: What to type to run the cases again that did not pass.
    """
    for text, style in _lines(summary, verbose=verbose, width=width, record=record, again=again):
        yield Line(printable(text), style)


def _lines(
    summary: Summary, *, verbose: bool, width: int, record: str | None, again: str
) -> Iterator[Line]:
    for each in summary.evalsets:
        yield from _evalset(each, verbose=verbose, width=width)
    if not summary.measured:
        yield Line(f"nothing was measured: {_outcomes(summary.outcomes) or 'no case ran'}", "bad")
    if any(summary.outcomes[outcome] for outcome in ("failed", "error")):
        yield Line(f"to run them again: {again}", "bold")
    if record is not None:
        yield Line(f"record: {record}", "dim")


def _evalset(each: EvalSetSummary, *, verbose: bool, width: int) -> Iterator[Line]:
    repeats = f", {count(each.runs, 'run')}" if each.runs != each.cases else ""
    outcomes = _outcomes(each.outcomes) or "none ran"
    yield Line(f"{each.name} · {count(each.cases, 'case')}{repeats}: {outcomes}", _style(each))
    yield from _metrics(each, verbose=verbose)
    yield from block("latency", _times(each.times), width)
    if verbose:
        yield from block("own time", _own_times(each.times), width)
    yield from block("cost", _usage(each), width)
    yield from _gates(_undecided(each), width)
    yield from _advice(each.advice, width)
    yield from regression_lines(each.held, width=width, verbose=verbose)
    yield from _troubles(each.troubles, verbose=verbose, width=width)


def _style(each: EvalSetSummary) -> Style:
    """Return good, bad, or neither where all that ran passed and some were not run."""
    if not each.outcomes["passed"] or each.held.bad:
        return "bad"
    if each.outcomes["failed"] or each.outcomes["error"]:
        return "bad"
    return "" if each.outcomes["not_run"] else "good"


def _outcomes(counts: Mapping[Outcome, int]) -> str:
    words = {"passed": "passed", "failed": "failed", "not_run": "not run"}
    told = {o: words.get(o) or ("error" if counts[o] == 1 else "errors") for o in OUTCOMES}
    return ", ".join(f"{counts[o]:,} {told[o]}" for o in OUTCOMES if counts[o])


def _metrics(each: EvalSetSummary, *, verbose: bool) -> Iterator[Line]:
    rows = [row for row in each.metrics if row.mean is not None]
    wide = max([LABEL - 2, *(len(row.name) for row in rows)])
    if rows:
        yield Line(f"  {'':<{wide}}    mean   95% interval    cases", "dim")
    for row in rows:
        between = "" if row.low is None else f"[{row.low:.3f}, {row.high:.3f}]"
        yield Line(f"  {row.name:<{wide}}  {row.mean:>6.3f}   {between:<14}  {row.n:>5,}")
        mean = each.held.corrected.get(row.name)
        if mean is not None:
            between = f"[{mean.low:.3f}, {mean.high:.3f}]"
            told = f"by {count(mean.n, 'label')}"
            yield Line(f"  {'  people':<{wide}}  {mean.mean:>6.3f}   {between:<14}  {told}")
    for row in each.metrics if verbose else ():
        if row.mean is None:
            yield Line(f"  {row.name:<{wide}}    none   {row.reason or 'no value'}", "dim")


def _times(rows: Sequence[TimeRow]) -> Iterator[str]:
    for row in rows:
        if row.name == "latency":
            yield f"p50 {duration(row.p50)}, p95 {duration(row.p95)}"
        else:
            yield f"{row.name} {_pair(duration(row.p50), duration(row.p95))}"


def _pair(low: str, high: str) -> str:
    """Write two durations, their unit once where it is the same."""
    figure, unit = low.split()
    return f"{figure if high.endswith(f' {unit}') else low} / {high}"


def _own_times(rows: Sequence[TimeRow]) -> Iterator[str]:
    for row in rows:
        if row.self_share is not None:
            cpu = "" if row.cpu_share is None else f" ({row.cpu_share:.0%} of it CPU)"
            yield f"{row.name} {row.self_share:.0%}{cpu}"


def _usage(each: EvalSetSummary) -> Iterator[str]:
    used: Usage = each.usage
    if not each.times and not used.origins:
        return
    guess = " (estimated)" if used.estimated_usd else ""
    if used.cost_usd is not None:
        yield f"{money(used.cost_usd)}{guess}"
    else:
        known = f"{money(used.known_usd)}{guess} and " if used.known_usd else ""
        yield f"{known}unknown for {count(used.unknown_runs, 'run')}: {used.reason}"
    sides = (used.input_tokens, used.output_tokens)
    read, written = ("unknown" if n is None else f"{n:,}" for n in sides)
    counted = " (estimated)" if used.estimated else ""
    told = f"tokens {read} in, {written} out{counted}"
    yield "tokens unknown" if sides == (None, None) else told
    if used.judge_calls:
        price = "unknown" if used.judge_usd is None else money(used.judge_usd)
        yield f"judges {price} ({count(used.judge_calls, 'call')})"
    if set(used.origins) - {"live"}:
        yield "calls: " + ", ".join(f"{n:,} {name}" for name, n in sorted(used.origins.items()))


# --- limits of the set ------------------------------------------------------------------------


def _undecided(each: EvalSetSummary) -> Sequence[GateResult]:
    """Return limits that the comparison with the baseline, if there is one, says nothing of."""
    compared = each.held.comparison is not None or each.held.pending is not None
    return [gate for gate in each.gates if not (compared and gate.reason == NEEDS_BASELINE)]


def _gates(gates: Sequence[GateResult], width: int) -> Iterator[Line]:
    """Yield a line for each verdict; limits that cannot be judged are told once a reason."""
    told: list[tuple[str, Style]] = []
    waiting: dict[str, list[str]] = {}
    for gate in gates:
        if gate.passed is None:
            waiting.setdefault(gate.reason or "", []).append(gate.name)
        else:
            told.append(_told(gate))
    told += [(f"not judged: {', '.join(n)}: {why}", "dim") for why, n in waiting.items()]
    for place, (text, style) in enumerate(told):
        yield from labelled("gate" if place == 0 else "", text, width, style)


def _told(gate: GateResult) -> tuple[str, Style]:
    if gate.passed:
        bound = bounds(gate.limit.min, gate.limit.max)
        text = f"{gate.name} {number(gate.value or 0.0)}, limit {bound}"
        return (f"passed: {text}", "good") if gate.advisory is None else (f"advisory: {text}", "")
    if gate.advisory is not None:
        return f"advisory, missed: {gate.name} {gate.reason}", "bold"
    return f"FAILED: {gate.name} {gate.reason}", "bad"


def _advice(advice: Sequence[Advice], width: int) -> Iterator[Line]:
    """Yield what was judged and decides nothing, with what to type where that helps."""
    for each in advice:
        missed = f"; its check was missed by {_named(each.missed)}" if each.missed else ""
        broken = f" ({each.broken})" if each.broken else ""
        text = f"{each.metric} decides nothing{missed}{broken}: {each.reason}"
        yield from labelled("advisory", text, width, "bold" if each.missed else "dim")


# --- what did not pass ------------------------------------------------------------------------


def _troubles(troubles: Sequence[Trouble], *, verbose: bool, width: int) -> Iterator[Line]:
    """Yield failed cases and errors, a line each group, and every reason why some were not run."""
    labels = {"failed": "failed", "error": "error", "not_run": "not run"}
    shown = [t for t in troubles if t.outcome != "not_run"]
    limit = None if verbose else _TROUBLES
    last = ""
    for each in [*shown[:limit], *(t for t in troubles if t.outcome == "not_run")]:
        label = labels[each.outcome]
        style: Style = "dim" if each.outcome == "not_run" else "bad"
        text = f"{_who(each, verbose=verbose)}: {'; '.join(each.reasons) or 'no reason known'}"
        if each.outcome == "failed" and not verbose:
            text = shorten(text, max(width - 2 - LABEL, 40), placeholder=" …")
        yield from labelled(label if label != last else "", text, width, style)
        last = label
    more = sum(len(each.cases) for each in shown[_TROUBLES:])
    if more and not verbose:
        yield from labelled("", f"and {count(more, 'more case')}", width, "dim")


def _who(each: Trouble, *, verbose: bool) -> str:
    return ", ".join(each.cases) if verbose else _named(each.cases)


def _named(cases: Sequence[str]) -> str:
    """Name cases: few by their ids, many by their number and the first ids."""
    if len(cases) <= _IDS:
        return ", ".join(cases)
    return f"{count(len(cases), 'case')} ({', '.join(cases[:_IDS])}, …)"
