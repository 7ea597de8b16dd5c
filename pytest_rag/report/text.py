"""The summary as lines for a terminal, and the text of one case that did not pass."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from math import floor, log10
from textwrap import indent, shorten, wrap
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_rag.checks import bounds, number
from pytest_rag.gate import case_outcome
from pytest_rag.metrics.gold import matches
from pytest_rag.metrics.ranking import order
from pytest_rag.report.summary import case_reasons
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.gate import GateResult
    from pytest_rag.records import Result
    from pytest_rag.report.summary import EvalSetSummary, Summary, TimeRow, Trouble, Usage
    from pytest_rag.types import Case, Outcome

__all__ = ["Line", "Style", "case_failure", "count", "duration", "lines", "money"]

Style = Literal["", "good", "bad", "dim", "bold"]

_LABEL = 14
_TROUBLES = 10
_IDS = 3
_SHOWN = 5
_GOLD = 8
_ANSWER = 400


class Line(NamedTuple):
    """One line of a report and how it may be styled."""

    text: str
    style: Style = ""


# --- figures ----------------------------------------------------------------------------------


def money(usd: float) -> str:
    """Write US dollars with cents, or with two digits that are not zero: ``$0.00012``."""
    places = 2 if usd == 0 else max(2, 1 - floor(log10(abs(usd))))
    return f"${usd:,.{places}f}"


def duration(ms: float) -> str:
    """Write milliseconds with the digits that matter, from ten thousand on as seconds."""
    if ms >= 10_000:
        return f"{ms / 1000:,.1f} s"
    return f"{ms:,.0f} ms" if ms >= 10 else f"{ms:.2g} ms"


def count(n: int, noun: str) -> str:
    """Write a number of things: ``1 case``, ``93 cases``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


# --- the block at the end of a run ------------------------------------------------------------


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
    yield from _block("latency", _times(each.times), width)
    if verbose:
        yield from _block("own time", _own_times(each.times), width)
    yield from _block("cost", _usage(each), width)
    yield from _gates(each.gates, width)
    yield from _troubles(each.troubles, verbose=verbose, width=width)


def _style(each: EvalSetSummary) -> Style:
    """Return good, bad, or neither where all that ran passed and some were not run."""
    if not each.outcomes["passed"] or any(gate.passed is False for gate in each.gates):
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
    wide = max([_LABEL - 2, *(len(row.name) for row in rows)])
    if rows:
        yield Line(f"  {'':<{wide}}    mean   95% interval    cases", "dim")
    for row in rows:
        between = "" if row.low is None else f"[{row.low:.3f}, {row.high:.3f}]"
        yield Line(f"  {row.name:<{wide}}  {row.mean:>6.3f}   {between:<14}  {row.n:>5,}")
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
    if used.cost_usd is not None:
        yield money(used.cost_usd)
    else:
        known = f"{money(used.known_usd)} and " if used.known_usd else ""
        yield f"{known}unknown for {count(used.unknown_runs, 'run')}: {used.reason}"
    sides = (used.input_tokens, used.output_tokens)
    read, written = ("unknown" if n is None else f"{n:,}" for n in sides)
    yield "tokens unknown" if sides == (None, None) else f"tokens {read} in, {written} out"
    if set(used.origins) - {"live"}:
        yield "calls: " + ", ".join(f"{n:,} {name}" for name, n in sorted(used.origins.items()))


# --- limits of the set ------------------------------------------------------------------------


def _gates(gates: Sequence[GateResult], width: int) -> Iterator[Line]:
    """Yield a line for each verdict; limits that cannot be judged are told once a reason."""
    told: list[tuple[str, Style]] = []
    waiting: dict[str, list[str]] = {}
    for gate in gates:
        if gate.passed is None:
            waiting.setdefault(gate.reason or "", []).append(gate.name)
        else:
            told.append((_kept(gate), "good") if gate.passed else (_broken(gate), "bad"))
    told += [(f"not judged: {', '.join(n)}: {why}", "dim") for why, n in waiting.items()]
    for place, (text, style) in enumerate(told):
        yield from _row("gate" if place == 0 else "", text, width, style)


def _kept(gate: GateResult) -> str:
    limit = gate.limit
    return f"passed: {gate.name} {number(gate.value or 0.0)}, limit {bounds(limit.min, limit.max)}"


def _broken(gate: GateResult) -> str:
    return f"FAILED: {gate.name} {gate.reason}"


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
            text = shorten(text, max(width - 2 - _LABEL, 40), placeholder=" …")
        yield from _row(label if label != last else "", text, width, style)
        last = label
    more = sum(len(each.cases) for each in shown[_TROUBLES:])
    if more and not verbose:
        yield from _row("", f"and {count(more, 'more case')}", width, "dim")


def _who(each: Trouble, *, verbose: bool) -> str:
    """Name the cases: one by its id, few by their ids, many by their number and the first ids."""
    if len(each.cases) == 1:
        return each.cases[0]
    if verbose or len(each.cases) <= _IDS:
        return ", ".join(each.cases)
    return f"{count(len(each.cases), 'case')} ({', '.join(each.cases[:_IDS])}, …)"


# --- rows -------------------------------------------------------------------------------------


def _row(label: str, text: str, width: int, style: Style = "") -> Iterator[Line]:
    """Yield a labelled text, wrapped under itself; a no-break space holds words together."""
    room = max(width - 2 - _LABEL, 40)
    for part in wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]:
        yield Line(f"  {label:<{_LABEL}}{part}".replace("\xa0", " "), style)
        label = ""


def _block(label: str, parts: Iterable[str], width: int) -> Iterator[Line]:
    """Yield parts behind one label, no part broken where it fits."""
    room = width - 2 - _LABEL
    held = [part.replace(" ", "\xa0") if len(part) < room - 2 else part for part in parts]
    if held:
        yield from _row(label, "\xa0· ".join(held), width)


# --- one case that did not pass ---------------------------------------------------------------


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
    run = _telling(results)
    yield f"{case.path}:{case.line} {case.id}" if case.path is not None else case.id
    yield from wrap(case.query, width, initial_indent="  ", subsequent_indent="  ")
    if len(results) > 1:
        passed = sum(result.outcome == "passed" for result in results)
        must = f"{case.min_pass} must" if case.min_pass < len(results) else "all must"
        yield f"  {passed} of {len(results)} runs passed, {must}; shown is repeat {run.repeat}"
    for reason in _wrong(results, run, told=told):
        yield from wrap(reason, width, initial_indent="  ", subsequent_indent="    ")
    if run.error is not None and run.outcome == "error" and not told:
        yield from indent(run.error["traceback"], "    ").splitlines()
    for label, text in (*_said(run, case), *_spent(run)) if run.error is None else ():
        yield from (line.text for line in _row(label, text, width))
    yield from _ranked(run, case)


def _telling(results: Sequence[Result]) -> Result:
    """Return the run that is told: the first of those that decided the outcome."""
    outcome = case_outcome(results)
    return next(result for result in results if result.outcome == outcome)


def _wrong(results: Sequence[Result], run: Result, *, told: bool) -> Iterator[str]:
    """Yield the reasons; the one error whose traceback follows is told by that."""
    if len(results) == 1 and run.outcome == "error" and run.error is not None and not told:
        return
    yield from case_reasons(results)
    if run.error is not None and told:
        yield "the traceback is shown at the first case with this error"


def _said(run: Result, case: Case) -> Iterator[tuple[str, str]]:
    if run.answer is not None:
        yield "answer", shorten(run.answer, _ANSWER, placeholder=" …") or "(empty)"
    if not case.answerable:
        yield "reference", "a refusal: the question cannot be answered"
    for place, reference in enumerate(case.answers):
        yield "or" if place else "reference", shorten(reference, _ANSWER, placeholder=" …")


def _spent(run: Result) -> Iterator[tuple[str, str]]:
    """Yield where the time went if a time was too long, and the calls if they used too much."""
    broken = {check["metric"] for check in run.checks if not check["passed"]}
    if any(name.endswith("_ms") for name in broken) and run.latency_ms is not None:
        stages = (f"{stage} {duration(ms)}" for stage, ms in run.stages_ms.items())
        yield "time", " · ".join([f"latency {duration(run.latency_ms)}", *stages])
    if broken & {"cost_usd", "tokens", "input_tokens", "output_tokens", "calls"}:
        calls = Counter(f"{call['model']} {_tokens(call)}" for call in run.calls)
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
    rows = [f"{gold} ({grade})  {_rank(gold, ranks)}" for gold, grade in wanted[:_GOLD]]
    if len(wanted) > _GOLD:
        rows.append(f"and {len(wanted) - _GOLD} more")
    yield from _labelled("gold", rows)
    first = list(found.items())[:_SHOWN]
    shown = [_shown(rank, document, score, case) for rank, (document, score) in enumerate(first, 1)]
    yield from _labelled("retrieved", shown or ["nothing"])


def _labelled(label: str, rows: Iterable[str]) -> Iterator[str]:
    for place, text in enumerate(rows):
        yield f"  {'' if place else label:<{_LABEL}}{text}"


def _shown(rank: int, document: str, score: float | None, case: Case) -> str:
    figure = "" if score is None else f"  {score:.4g}"
    return f"{rank} {document}{figure}{_marks(document, case)}"


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


def _rank(gold: str, ranks: Mapping[str, int]) -> str:
    """Say where gold was retrieved; of a part of a document only the document's rank is known."""
    found = [rank for document, rank in ranks.items() if matches(gold, document)]
    if found:
        return f"rank {min(found)}"
    document, part, _ = gold.rpartition("#")
    if part and document in ranks:
        return f"the document at rank {ranks[document]}"
    return "not retrieved"


def _marks(document: str, case: Case) -> str:
    """Mark a document that is gold, with its highest grade, or forbidden."""
    grades = [
        grade
        for gold, grade in case.relevant.items()
        if matches(gold, document) or gold.rpartition("#")[0] == document
    ]
    forbidden = any(p == document or fnmatchcase(document, p) for p in case.forbidden)
    gold = f"  gold {max(grades)}" if grades else ""
    return f"{gold}  forbidden" if forbidden else gold
