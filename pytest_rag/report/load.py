"""A ramp of load as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.load import MOST_AT_A_TIME, figures
from pytest_rag.report.layout import Line, duration, labelled, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.load import Saturation, Step

__all__ = ["load_lines", "remarks"]

_LATE_MS = 50.0
_BUSY = 0.85
_COLUMN = 22
_QUANTILES = ("p50", "p95", "p99")


def load_lines(
    steps: Sequence[Step], found: Saturation | None, *, width: int = 80
) -> Iterator[Line]:
    """Yield a table of the steps of one ramp, and how much the pipeline bears.

    Args:
        steps: Of one loop.
        found: What they show.
        width: Columns of the terminal.
    """
    if not steps or found is None:
        return
    closed = found.loop == "closed"
    yield Line(
        "closed loop: as many at a time" if closed else "open loop: as many a second", "bold"
    )
    head = "".join(f" {name:>{_COLUMN}}" for name in _QUANTILES)
    yield Line(f"  {'load':>5}{'asked':>7}{'errors':>7}{'answers/s':>10}{head}", "dim")
    for step in steps:
        yield Line(_row(figures(step)))
        for kind, n in sorted(step.errors.items()):
            yield Line(printable(f"  {'':>12}{n:>7,} {kind}"), "bad")
    yield from labelled("saturation", _saturated(found, steps), width, "bold")
    for text in remarks(steps):
        yield from labelled("", text, width, "dim")


def _row(told: Mapping[str, Any]) -> str:
    errors = sum(told["errors"].values())
    rate = "" if told["per_second"] is None else f"{told['per_second']:.4g}"
    cells = "".join(f" {_time(told, name):>{_COLUMN}}" for name in _QUANTILES)
    return f"  {told['load']:>5g}{told['asked']:>7,}{errors:>7,}{rate:>10}{cells}"


def _time(told: Mapping[str, Any], name: str) -> str:
    value, interval = told[f"{name}_ms"], told[f"{name}_interval_ms"]
    if value is None:
        return "none"
    if interval is None:
        return duration(value)
    return f"{duration(value)} [{interval[0]:,.0f}, {interval[1]:,.0f}]"


def _saturated(found: Saturation, steps: Sequence[Step]) -> str:
    if not any(step.times for step in steps):
        return "unknown: no question was answered"
    if found.per_second is None:
        return "unknown: too few questions were answered within a step; raise --duration"
    interval = "" if found.low is None else f" [{found.low:.3g}, {found.high:.3g}]"
    rate = f"{found.per_second:.3g} answers a second{interval}"
    if not found.reached:
        return f"not reached: it bears at least {rate}; try more"
    if found.loop == "closed":
        at = "" if found.at is None else f", with {found.at:.2g} at a time; more only wait"
        return f"{rate}{at}"
    kept = "no rate that was tried" if found.sustained is None else f"{found.sustained:g} a second"
    return f"{rate}; {kept} was kept up with, above that the queue grows"


def remarks(steps: Sequence[Step]) -> Iterator[str]:
    """Yield what a reader must know before believing the figures."""
    for step in steps:
        told = figures(step)
        named = f"at {step.load:g}"
        if step.cut is not None:
            yield f"{named}: cut short, {step.cut}"
        if told["late_p95_ms"] is not None and told["late_p95_ms"] > _LATE_MS:
            late = duration(told["late_p95_ms"])
            yield f"{named}: questions were asked up to {late} late, since this machine was busy"
        elif step.busy > _BUSY:
            yield (
                f"{named}: this process used {step.busy:.0%} of a processor, so it may be the "
                "limit and not the pipeline's servers"
            )
    if any(step.loop == "open" for step in steps):
        yield (
            "latency counts from when a question was to be asked, waiting included; at most "
            f"{MOST_AT_A_TIME} are answered at a time"
        )
