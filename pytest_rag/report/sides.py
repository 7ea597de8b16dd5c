"""Base and head side by side, as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.report.layout import Line, count, duration, labelled, money
from pytest_rag.report.regression import regression_lines
from pytest_rag.verdict import Held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_rag.ratios import Ratio
    from pytest_rag.sides import Spend, TwoSides

__all__ = ["head_line", "sides_lines"]

_CASES = 3


def head_line(told: Mapping[str, Any]) -> Line:
    """Return what is compared, and how often it was run.

    Args:
        told: ``{base: {ref, commit}, head: {ref, commit, dirty}, rounds, warmup}``.
    """
    head = told["head"]
    now = f"{head['ref'] or 'the files as they are'} ({head['commit'][:10]}"
    now += ", with uncommitted changes)" if head["dirty"] else ")"
    base = f"{told['base']['ref']} ({told['base']['commit'][:10]})"
    often = f"{count(told['rounds'], 'round')} after {told['warmup']} of warm-up"
    return Line(f"base {base} · head {now} · {often}", "bold")


def sides_lines(found: TwoSides, *, width: int = 80) -> Iterator[Line]:
    """Yield quality, latency and cost of an evalset, then why it is red.

    Args:
        found: Of an evalset.
        width: Columns of the terminal.
    """
    yield Line(f"{found.evalset} · {count(len(found.cases), 'case')} timed", "bold")
    held = Held(evalset=found.evalset, comparison=found.comparison)
    yield from regression_lines(held, width=width)
    yield from _scores(found)
    yield from _latency(found, width)
    yield from _spent(found.base, found.head, width)
    for reason in found.reasons:
        yield Line(f"  FAILED: {reason}", "bad")


def _scores(found: TwoSides) -> Iterator[Line]:
    """Yield the means of what is not gated."""
    gated = {each.metric for each in found.comparison.metrics}
    rest = {name: pair for name, pair in found.scores.items() if name not in gated}
    if rest:
        yield Line(f"  {'not gated':<14}{'base':>9}{'head':>9}", "dim")
    for name, (base, head) in rest.items():
        yield Line(f"  {name:<14}{base:>9.3f}{head:>9.3f}  ({head - base:+.3f})")


def _latency(found: TwoSides, width: int) -> Iterator[Line]:
    if not found.latency:
        yield from labelled("latency", "no case was timed on both sides", width, "bold")
        return
    columns = f"{'base':>9}{'head':>9}{'ratio':>8}  95% interval"
    yield Line(f"  {'latency':<14}{columns}", "dim")
    for stage, ratio in found.latency.items():
        yield Line(f"  {stage:<14}{_ratio(ratio)}")
    yield from _slowest(found, width)
    lost = max(ratio.left_out for ratio in found.latency.values())
    if lost:
        text = f"{count(lost, 'case')} lacked a time in some round and is in no ratio"
        yield from labelled("", text, width, "dim")


def _ratio(each: Ratio) -> str:
    times = f"{duration(each.base_ms):>9}{duration(each.head_ms):>9}{each.ratio:>8.2f}"
    if each.low is None or each.high is None:
        return f"{times}  none: it takes two cases and two rounds"
    return f"{times}  [{each.low:.2f}, {each.high:.2f}]"


def _slowest(found: TwoSides, width: int) -> Iterator[Line]:
    from pytest_rag.ratios import LATENCY

    of = {case: stages[LATENCY] for case, stages in found.cases.items() if LATENCY in stages}
    most = sorted(of, key=lambda case: -of[case])[:_CASES]
    if len(of) > 1:
        text = ", ".join(f"{case} {of[case]:.2f}" for case in most)
        yield from labelled("", f"slowed most: {text}", width, "dim")


def _spent(base: Spend, head: Spend, width: int) -> Iterator[Line]:
    cost = " → ".join(_money(side.cost_usd) for side in (base, head))
    tokens = (
        f"{_tokens(base.input_tokens)} → {_tokens(head.input_tokens)} in, "
        f"{_tokens(base.output_tokens)} → {_tokens(head.output_tokens)} out"
    )
    yield from labelled("a question", f"{cost} · tokens {tokens}", width)


def _money(usd: float | None) -> str:
    return "unknown" if usd is None else money(usd)


def _tokens(n: float | None) -> str:
    return "unknown" if n is None else f"{n:,.0f}"
