"""How far metrics agree with people, as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.checks import number
from pytest_rag.report.layout import Line, block, count, labelled, money, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.calibrating.corrected import Corrected
    from pytest_rag.calibrating.findings import Finding
    from pytest_rag.calibrating.people import People
    from pytest_rag.report.layout import Style
    from pytest_rag.stats.agreement import Estimate

__all__ = ["calibration_lines", "corrected_lines"]

_STYLES: dict[str, Style] = {"gate": "good", "advise": "", "do not use": "bad"}
_FEW = 3
_BINARY = ("answers", "AUC", "right", "κ", "95 % interval", "good if")
_GRADED = ("answers", "Spearman", "95 % interval", "Kendall")


def calibration_lines(
    people: People, findings: Sequence[Finding], *, verbose: bool = False, width: int = 100
) -> Iterator[Line]:
    """Yield a table of metrics, the best first, then what there is to say of each.

    Args:
        people: What they said.
        findings: One a metric.
        verbose: Whether everything is said of each, though they are many.
        width: Columns of the terminal.
    """
    every = verbose or len(findings) <= _FEW
    for text, style in _lines(people, findings, width, every=every):
        yield Line(printable(text), style)


def _lines(
    people: People, findings: Sequence[Finding], width: int, *, every: bool
) -> Iterator[Line]:
    best = sorted(findings, key=_worth)
    yield Line(_head(people), "bold")
    yield from _people(people, width)
    head = _BINARY if people.kind == "binary" else _GRADED
    rows = [_row(each, people) for each in best]
    cells = [("", *head, "use"), *rows]
    wide = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    styles: list[Style] = ["dim", *(_STYLES[each.use] for each in best)]
    for row, style in zip(cells, styles, strict=True):
        middle = (cell.rjust(n) for cell, n in zip(row[1:-1], wide[1:-1], strict=True))
        yield Line("  ".join([f"  {row[0]:<{wide[0]}}", *middle, row[-1]]).rstrip(), style)
    for each in best if every else ():
        yield from _told(each, width)
    if not every:
        yield from labelled("", "why, and how they met people's labels: -v", width, "dim")


def _worth(each: Finding) -> tuple[float, float, str]:
    first, second = each.kappa.value or each.spearman.value, each.auc.value
    return -(first if first is not None else -2.0), -(second or 0.0), each.metric


def _head(people: People) -> str:
    answers = count(len(people.rows), "answer")
    if people.kind == "graded":
        low, high = number(min(people.values)), number(max(people.values))
        return f"{answers} that people graded from {low} to {high}"
    good = int(sum(people.values))
    return f"{answers} that people judged: {good:,} good, {len(people.rows) - good:,} not"


def _people(people: People, width: int) -> Iterator[Line]:
    parts = []
    if people.good:
        parts.append(f"good: {', '.join(people.good)}")
    if people.among is not None and people.among.value is not None:
        name = "κ" if people.kind == "binary" else "Spearman"
        figures = f"{people.among.value:.2f} {_between(people.among)}".strip()
        parts.append(f"{name} of two people {figures}, {count(people.pairs, 'answer')}")
    if people.split:
        parts.append(f"{count(people.split, 'answer')} left out: as many said good as did not")
    if people.unlabelled:
        parts.append(f"{count(people.unlabelled, 'row')} without a label left out")
    yield from block("people", parts, width)


def _row(each: Finding, people: People) -> tuple[str, ...]:
    if people.kind == "graded":
        ranks = (_figure(each.spearman), _between(each.spearman), _figure(each.kendall))
        return each.metric, f"{each.answers:,}", *ranks, each.use
    right = "" if each.right.value is None else f"{each.right.value:.1%}"
    kappa = (_figure(each.kappa), _between(each.kappa))
    figures = (_figure(each.auc), right, *kappa, _threshold(each))
    return each.metric, f"{each.answers:,}", *figures, each.use


def _figure(estimate: Estimate) -> str:
    return "—" if estimate.value is None else f"{estimate.value:.3f}"


def _between(estimate: Estimate) -> str:
    return "" if estimate.low is None else f"[{estimate.low:.2f}, {estimate.high:.2f}]"


def _threshold(each: Finding) -> str:
    if each.threshold is None:
        return "—"
    return f"{'≥' if each.higher_is_better else '≤'} {number(each.threshold)}"


def _told(each: Finding, width: int) -> Iterator[Line]:
    """Yield why a metric is good for what it is, and what else was seen of it."""
    yield Line(f"  {each.metric}: {each.use}", _STYLES[each.use])
    yield from labelled("", each.why, width)
    parts = []
    if each.table is not None:
        for word, agree, other in (
            ("good", each.table.good_good, each.table.good_bad),
            ("not good", each.table.bad_bad, each.table.bad_good),
        ):
            parts.append(f"people agree with {agree:,} of {agree + other:,} called {word}")
    if each.lost:
        parts.append(f"{count(each.lost, 'answer')} without a score: {each.why_lost}")
    if each.stability is not None:
        same = each.stability
        parts.append(
            f"{count(same.answers, 'answer')} judged {same.times} times: "
            f"{same.same:.0%} the same every time"
        )
    if each.judge is not None:
        cost = "cost unknown" if each.cost_usd is None else f"{money(each.cost_usd)} a judgement"
        parts.append(f"judge {each.judge}, {cost} ({each.judgements:,} made)")
    yield from block("", parts, width)


def corrected_lines(metric: str, mean: Corrected, *, width: int = 100) -> Iterator[Line]:
    """Yield the mean of a run as people would judge it, beside what the judge alone says.

    Args:
        metric: Its name.
        mean: Of its scores.
        width: Columns of the terminal.
    """
    powered, labels = mean.powered, mean.labels
    yield Line(f"  {printable(metric)}, as people would judge the run")
    by = f"{count(powered.n, 'labelled question')} and {count(powered.judged, 'judged case')}"
    parts = (
        f"{powered.mean:.3f} [{powered.low:.3f}, {powered.high:.3f}] by {by}",
        f"the labels alone {labels.mean:.3f} [{labels.low:.3f}, {labels.high:.3f}]",
        f"the scores alone {mean.alone:.3f}",
    )
    yield from block("", parts, width)
