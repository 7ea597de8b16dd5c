"""Where time and money went, as lines for a terminal and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.report.layout import Line, block, count, duration, labelled, money, printable
from pytest_rag.report.markdown import code, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_rag.bottleneck import Bottlenecks, CaseRow, Finding, StageRow

__all__ = ["bottleneck_lines", "bottleneck_markdown"]

_SHOWN = 6
_CELL = 400
_COLUMN = 9
_LEAST_MS = 0.01  # below it a difference of two clocks is noise, and as text wider than a column
_STAGES = ("mean", "p50", "p95", "p99", "cpu", "waiting")


def bottleneck_lines(
    found: Iterable[Bottlenecks], *, width: int = 80, verbose: bool = False
) -> Iterator[Line]:
    """Yield what to change first, then where the time went, then what the figures rest on.

    Args:
        found: Of a run.
        width: Columns of the terminal.
        verbose: Whether all findings are shown.
    """
    for each in found:
        for text, style in _lines(each, width, verbose=verbose):
            yield Line(printable(text), style)


def _lines(each: Bottlenecks, width: int, *, verbose: bool) -> Iterator[Line]:
    runs = count(each.runs, "run")
    timed = "" if each.timed == each.runs else f", {each.timed:,} of them timed"
    yield Line(f"{each.evalset} · {runs}{timed}", "bold")
    shown = each.findings if verbose else each.findings[:_SHOWN]
    for place, finding in enumerate(shown, 1):
        yield from labelled(f"{place}.", finding.what, width, "bold" if place == 1 else "")
        yield from labelled("   saves", _saves(finding), width)
        yield from labelled("   change", finding.knob, width, "dim")
        yield from labelled("   if", finding.assumes, width, "dim")
        yield from block("   most in", finding.cases, width)
    if not shown:
        yield from labelled("", "nothing takes time or money", width)
    if len(shown) < len(each.findings):
        yield from labelled("", f"{len(each.findings) - len(shown)} smaller: -v", width, "dim")
    yield from _stages(each.stages)
    yield from block("slowest", (_case(row) for row in each.slowest), width)
    yield from block("dearest", (_dear(row) for row in each.dearest), width)
    for note in each.notes:
        yield from labelled("rests on", note, width, "dim")


def _saves(finding: Finding) -> str:
    parts = []
    if finding.saves.ms:
        parts.append(f"{duration(finding.saves.ms)} a question")
    if finding.saves.tokens:
        parts.append(f"{finding.saves.tokens:,.0f} input tokens a question")
    if finding.saves.usd:
        parts.append(f"{money(finding.saves.usd)} a question")
    if not parts:
        return "no latency and no money"
    about = "about " if finding.estimated else "up to "
    inside = f" (within what the {finding.overlaps} finding saves)" if finding.overlaps else ""
    return f"{about}{' and '.join(parts)}{inside}"


def _stages(rows: Sequence[StageRow]) -> Iterator[Line]:
    if not rows:
        return
    yield Line(f"  {'own time':<14}" + "".join(f"{name:>{_COLUMN}}" for name in _STAGES), "dim")
    for row in rows:
        cells = (_told(getattr(row, name)) for name in _STAGES)
        yield Line(f"  {row.name:<14}" + "".join(f"{cell:>{_COLUMN}}" for cell in cells))


def _told(ms: float | None) -> str:
    return "" if ms is None else duration(ms) if ms >= _LEAST_MS else "0 ms"


def _case(row: CaseRow) -> str:
    stage = "" if row.stage is None else f" ({row.stage} {_told(row.stage_ms)})"
    return f"{row.case} {duration(row.latency_ms)}{stage}"


def _dear(row: CaseRow) -> str:
    cost = "" if not row.cost_usd else f" {money(row.cost_usd)}"
    tokens = "" if row.input_tokens is None else f" {row.input_tokens:,.0f} tokens in"
    return f"{row.case}{cost}{tokens}"


def bottleneck_markdown(found: Iterable[Bottlenecks]) -> str:
    """Return it as Markdown; what pipelines and documents say stands in code spans alone."""
    return "\n".join(line for each in found for line in _markdown(each)) + "\n"


def _markdown(each: Bottlenecks) -> Iterator[str]:
    yield from (f"### {code(each.evalset)} · {count(each.timed, 'run')} timed", "")
    findings = (
        (str(place), code(finding.what, _CELL), _saves(finding), code(finding.knob, _CELL))
        for place, finding in enumerate(each.findings, 1)
    )
    yield from table(("", "what", "saves", "change"), findings)
    yield ""
    rows = (
        (code(row.name), *(_told(getattr(row, name)) for name in _STAGES)) for row in each.stages
    )
    yield from table(("own time", *_STAGES), rows)
    yield ""
    for finding in each.findings:
        yield f"- {code(finding.kind)}: if {code(finding.assumes, _CELL)}"
    yield ""
    for note in each.notes:
        yield f"- {code(note, _CELL)}"
    yield ""
