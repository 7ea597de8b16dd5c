"""What a baseline holds, as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.checks import number
from pytest_rag.errors import UsageError
from pytest_rag.registry import did_you_mean
from pytest_rag.report.layout import LABEL, Line, count, labelled, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_rag.baseline import Baseline

__all__ = ["baseline_lines", "case_lines"]


def baseline_lines(baseline: Baseline, where: str, width: int = 80) -> Iterator[Line]:
    """Yield a baseline as a table: means, numbers of cases, limits, fingerprint.

    Args:
        baseline: To show.
        where: Its path, as people type it.
        width: Columns of the terminal.
    """
    passed = int((baseline.passed == baseline.runs).sum())
    told = f"{count(len(baseline), 'case')}, {passed:,} passed every run"
    exact = ", deterministic" if baseline.deterministic else ""
    yield Line(printable(f"{baseline.evalset} · {told}{exact}"), "bold")
    yield Line(printable(f"  {'file':<{LABEL}}{where}"), "dim")
    yield from _scores(baseline)
    for name, limits in baseline.gate.items():
        yield from labelled("gate", f"{name}: {_limits(limits)}", width)
    for key, value in baseline.fingerprint.items():
        yield Line(f"  {key:<{LABEL}}{(value or 'unknown')[:16]}", "dim")


def _limits(limits: Any) -> str:
    if not isinstance(limits, dict):
        return number(limits)
    return ", ".join(f"{kind} {number(v)}" for kind, v in limits.items() if kind in _KINDS)


_KINDS = ("min", "max", "max_drop")


def _scores(baseline: Baseline) -> Iterator[Line]:
    import numpy as np

    wide = max([LABEL - 2, *map(len, baseline.scores)])
    noisy = bool(baseline.noise)
    head = f"  {'':<{wide}}    mean    cases  version" + ("  noise" if noisy else "")
    yield Line(head, "dim")
    for name, column in sorted(baseline.scores.items()):
        n = int((~np.isnan(column)).sum())
        floor = f"  {baseline.noise[name]:.3f}" if name in baseline.noise else ""
        version = baseline.versions.get(name, "")
        row = f"  {name:<{wide}}  {float(np.nanmean(column)):>6.3f}  {n:>7,}  {version:>7}{floor}"
        yield Line(printable(row))


def case_lines(baseline: Baseline, case: str, width: int = 80) -> Iterator[Line]:
    """Yield what is accepted of one case.

    Args:
        baseline: That holds it.
        case: Its id.
        width: Columns of the terminal.

    Raises:
        UsageError: if it is not in it; names the nearest.
    """
    if case not in baseline.cases:
        hint = did_you_mean(case, baseline.cases)
        raise UsageError(f"The baseline of {baseline.evalset!r} holds no case {case!r}.{hint}")
    place = list(baseline.cases).index(case)
    told = baseline.detail(place)
    runs = int(baseline.runs[place])
    passed = f"passed {int(baseline.passed[place])} of {count(runs, 'run')}"
    yield Line(printable(f"{baseline.evalset} · {case}: {passed}"), "bold")
    for name, value in sorted(baseline.score(place).items()):
        yield Line(printable(f"  {name:<{LABEL}}  {value:.6g}"))
    for line in _case_details(told, width):
        yield Line(printable(line.text), line.style)


def _case_details(told: Mapping[str, Any], width: int) -> Iterator[Line]:
    for check, limits in told["checks"].items():
        yield from labelled("check", f"{check} {_limits(limits)}", width)
    ranks = told.get("ranks", {})
    lost = told.get("lost", {})
    for gold, grade in told["gold"].items():
        place = f"rank {ranks[gold]}" if gold in ranks else lost.get(gold, "not retrieved")
        yield from labelled("gold", f"{gold} (grade {grade}): {place}", width)
    if told.get("retrieved"):
        yield from labelled("retrieved", ", ".join(told["retrieved"]), width)
    tokens = told.get("tokens", {})
    if tokens:
        spent = ", ".join(f"{n:,} {side}" for side, n in tokens.items())
        yield from labelled("tokens", spent, width)
