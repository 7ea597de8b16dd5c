"""What unchanged code showed, as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.checks import number
from pytest_rag.report.layout import Line, count, duration, labelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.noise import MetricNoise, Noise
    from pytest_rag.types import GateLimit

__all__ = ["noise_lines"]


def noise_lines(found: Noise, gate: Sequence[GateLimit], *, width: int = 80) -> Iterator[Line]:
    """Yield a table of the metrics, then latency, then what the floors mean for the gate.

    Args:
        found: Of an evalset.
        gate: Its limits.
        width: Columns of the terminal.
    """
    yield Line(f"{found.evalset} · {count(found.runs, 'run')} of unchanged code", "bold")
    wide = max(12, *(len(row.metric) for row in found.metrics))
    head = f"{'':<{wide}}  {'mean':>7}  {'spread':>7}  {'flips':>6}  {'floor':>7}  {'cases':>6}"
    yield Line(f"  {head}", "dim")
    for row in found.metrics:
        yield Line(f"  {row.metric:<{wide}}  {_figures(row)}")
    yield from labelled("latency", _latency(found.latency), width)
    for text, bad in _remarks(found, gate):
        yield from labelled("", text, width, "bold" if bad else "dim")


def _figures(row: MetricNoise) -> str:
    share = f"{100 * row.flips:.0f} %" if row.flips == 0 or row.flips >= 0.01 else "< 1 %"
    floor = f"{row.floor:.2g}"
    return f"{row.mean:>7.3f}  {row.spread:>7.4f}  {share:>6}  {floor:>7}  {row.cases:>6,}"


def _latency(runs: Sequence[tuple[float, float]]) -> str:
    if not runs:
        return "not measured in every run"
    middle, tail = ([run[place] for run in runs] for place in (0, 1))
    return (
        f"p50 {duration(min(middle))} to {duration(max(middle))}, "
        f"p95 {duration(min(tail))} to {duration(max(tail))} over the runs; not stored"
    )


def _remarks(found: Noise, gate: Sequence[GateLimit]) -> Iterator[tuple[str, bool]]:
    """Yield what to do or to know, and whether it matters."""
    floors = found.floors
    for limit in gate:
        floor = floors.get(limit.metric, 0.0)
        if limit.max_drop is not None and limit.max_drop < floor:
            told = f"{limit.metric}: max_drop {number(limit.max_drop)} lies under its floor, so the"
            told += f" gate will refuse it: write max_drop: {floor:.2g} or more, or raise `repeat`"
            yield f"{told} and run this again", True
    if found.contradicted:
        yield "The pipeline calls itself deterministic, and its runs differ.", True
    if found.left_out:
        lost = count(found.left_out, "case")
        yield f"{lost} could not be measured in every run, and no figure rests on them.", True
    if not any(floors.values()):
        yield "No score moved: any drop of the mean is a change.", False
