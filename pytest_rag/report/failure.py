"""The text of one case that did not pass."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from pytest_rag.gate import case_outcome
from pytest_rag.metrics.gold import matches
from pytest_rag.metrics.ranking import order
from pytest_rag.report.layout import LABEL, MOST, count, cut, duration, labelled, printable
from pytest_rag.report.troubles import case_reasons, decides

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.types import Case

__all__ = ["case_failure"]

_SHOWN = 5
_GOLD = 8
_LINES = 20
_LAST_LINES = 40
_ROOM = 1300
_LAST_ROOM = 2700


def case_failure(
    results: Sequence[Result], case: Case, *, told: bool = False, width: int = 80
) -> Iterator[str]:
    """Yield the lines that tell why a case did not pass.

    Args:
        results: All of the case, one a repeat.
        case: With what is known of the right answer.
        told: Whether its error was shown before: its traceback is then left out.
        width: Columns of the terminal.
    """
    yield from map(printable, _case(results, case, told=told, width=width))


def _case(results: Sequence[Result], case: Case, *, told: bool, width: int) -> Iterator[str]:
    run = _telling(results)
    reasons = case_reasons(results) or ("it did not pass",)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    yield f"{case.id}: {reasons[0]}{more}"
    if case.path is not None:
        yield f"  {_near(case.path)}:{case.line}"
    yield from wrap(cut(case.query), width, initial_indent="  ", subsequent_indent="  ")
    if len(results) > 1:
        passed = sum(result.outcome == "passed" for result in results)
        must = f"{case.min_pass} must" if case.min_pass < len(results) else "all must"
        yield f"  {passed} of {len(results)} runs passed, {must}; shown is repeat {run.repeat}"
    for reason in reasons if len(reasons) > 1 else ():
        yield from wrap(reason, width, initial_indent="  ", subsequent_indent="    ")
    if run.error is not None and told:
        yield "  the traceback is shown at the first case with this error"
    elif run.error is not None and run.outcome == "error":
        yield from (f"    {line}" for line in _bounded(_rest(run.error)))
    for advised in run.checks:
        if not (decides(advised) or advised["passed"]):
            text = f"advisory: {cut(advised['reason'])}"
            yield from wrap(text, width, initial_indent="  ", subsequent_indent="    ")
    for note in run.notes:
        yield from wrap(cut(note), width, initial_indent="  ", subsequent_indent="    ")
    for label, text in (*_said(run, case), *_spent(run)) if run.error is None else ():
        yield from (line.text for line in labelled(label, text, width))
    yield from _ranked(run, case)


def _rest(error: Mapping[str, str]) -> str:
    """Return what the first line of an error leaves out: its traceback, or its other lines."""
    return error["traceback"] or error["message"].strip().partition("\n")[2]


def _bounded(text: str) -> list[str]:
    """Return the first and the last lines of a traceback, with how many are left out between."""
    lines = text.splitlines()
    if len(lines) <= _LINES + _LAST_LINES and len(text) <= _ROOM + _LAST_ROOM:
        return lines
    last = [*_some(reversed(lines), _LAST_LINES, _LAST_ROOM)][::-1]
    first = [*_some(lines[: len(lines) - len(last)], _LINES, _ROOM)]
    left = len(lines) - len(first) - len(last)
    return [*first, *([f"… {count(left, 'line')} left out …"] if left else ()), *last]


def _some(lines: Iterable[str], most: int, room: int) -> Iterator[str]:
    """Yield so many lines, as far as there is room for them, each cut where it is long."""
    for line in islice(lines, most):
        text = line if len(line) <= MOST else f"{line[: MOST - 2]} …"
        room -= len(text)
        if room < 0:
            return
        yield text


def _telling(results: Sequence[Result]) -> Result:
    """Return the run that is told: the first of those that decided the outcome."""
    outcome = case_outcome(results)
    return next(result for result in results if result.outcome == outcome)


def _near(path: Path) -> Path:
    """Return a path as people type it: from here, where it lies below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _said(run: Result, case: Case) -> Iterator[tuple[str, str]]:
    if run.answer is not None:
        yield "answer", cut(run.answer) or "(empty)"
    if not case.answerable:
        yield "reference", "a refusal: the question cannot be answered"
    for place, reference in enumerate(case.answers):
        yield "or" if place else "reference", cut(reference)


def _spent(run: Result) -> Iterator[tuple[str, str]]:
    """Yield where the time went if a time was too long, and the calls if they used too much."""
    broken = {check["metric"] for check in run.checks if decides(check) and not check["passed"]}
    if any(name.endswith("_ms") for name in broken) and run.latency_ms is not None:
        stages = (f"{stage} {duration(ms)}" for stage, ms in run.stages_ms.items())
        yield "time", " · ".join([f"latency {duration(run.latency_ms)}", *stages])
    if broken & {"cost_usd", "tokens", "input_tokens", "output_tokens", "calls"}:
        own = (call for call in run.calls if call.get("stage") != "judge")
        calls = Counter(f"{call['model']} {_tokens(call)}" for call in own)
        yield (
            "calls",
            " · ".join(text if n == 1 else f"{n} times {text}" for text, n in calls.items())
            or "none was seen",
        )


def _tokens(call: Mapping[str, object]) -> str:
    sides = (("input_tokens", "in"), ("output_tokens", "out"))
    told = [f"{call[key]} {word}" for key, word in sides if call.get(key) is not None]
    return ", ".join(told) or "without a token count"


# --- what was retrieved -----------------------------------------------------------------------


def _ranked(run: Result, case: Case) -> Iterator[str]:
    """Yield gold with its ranks and the first documents; nothing where the run broke."""
    if run.retrieved is None:
        return
    found = _documents(run.retrieved)
    ranks = {document: rank for rank, document in enumerate(found, 1)}
    wanted = sorted(case.relevant.items(), key=lambda gold: -gold[1])
    rows = [f"{gold} ({grade})  {_rank(gold, ranks, run)}" for gold, grade in wanted[:_GOLD]]
    if len(wanted) > _GOLD:
        rows.append(f"and {len(wanted) - _GOLD} more")
    yield from _labelled("gold", rows)
    first = list(found.items())[:_SHOWN]
    shown = [_shown(rank, document, score, case) for rank, (document, score) in enumerate(first, 1)]
    yield from _labelled("retrieved", shown or ["nothing"])


def _labelled(label: str, rows: Iterable[str]) -> Iterator[str]:
    for place, text in enumerate(rows):
        yield f"  {'' if place else label:<{LABEL}}{text}"


def _shown(rank: int, document: str, score: float | None, case: Case) -> str:
    figure = "" if score is None else f"  {score:.4g}"
    name = document if len(document) <= MOST else f"{document[: MOST - 2]} …"
    return f"{rank} {name}{figure}{_marks(document, case)}"


def _documents(retrieved: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
    """Return documents, best first as the measures rank them, with the score of their best node."""
    pairs = [(str(node["id"]), node["score"]) for node in retrieved]
    scored = [(name, float(score)) for name, score in pairs if isinstance(score, int | float)]
    best: dict[str, float | None] = {}
    if len(scored) < len(pairs):
        for name, score in pairs:
            best.setdefault(name, float(score) if isinstance(score, int | float) else None)
        return best
    top: dict[str, float] = {}
    for name, value in scored:
        top[name] = max(value, top.get(name, value))
    return {name: top[name] for name in order(top.items())}


def _rank(gold: str, ranks: Mapping[str, int], run: Result) -> str:
    """Say where gold was retrieved; a glob counts where the first document of it stands."""
    known = run.gold.get(gold)
    if known is not None:
        lost = known.get("lost")
        if known["rank"] is None:
            return lost or "not retrieved"
        return f"rank {known['rank']}{f', {lost}' if lost else ''}"
    found = [rank for document, rank in ranks.items() if matches(gold, document)]
    if found:
        return f"rank {min(found)}"
    document, part, _ = gold.rpartition("#")
    if part and document in ranks:
        return f"the document at rank {ranks[document]}"
    return "not retrieved"


def _marks(document: str, case: Case) -> str:
    """Mark a document that is gold, with its highest grade, or forbidden."""
    grades = [grade for gold, grade in case.relevant.items() if matches(gold, document)]
    part = any(gold.rpartition("#")[0] == document for gold in case.relevant)
    forbidden = any(p == document or fnmatchcase(document, p) for p in case.forbidden)
    gold = f"  gold {max(grades)}" if grades else "  a part of it is gold" if part else ""
    return f"{gold}  forbidden" if forbidden else gold
