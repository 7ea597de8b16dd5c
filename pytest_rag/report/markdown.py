"""The summary as Markdown for a pull request: the verdict first, then only what is not empty."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_rag.checks import bounds, number
from pytest_rag.gate import NEEDS_BASELINE
from pytest_rag.report.layout import count, duration, money, printable
from pytest_rag.report.regression import evidence, rank
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence, Set

    from pytest_rag.changes import CaseChange
    from pytest_rag.compare import Comparison, MetricVerdict
    from pytest_rag.gate import GateResult
    from pytest_rag.report.summary import EvalSetSummary, Summary, Usage

__all__ = ["MOST", "code", "markdown", "table"]

MOST = 60_000
"""Characters of a whole report; GitHub takes 65,536 in a comment."""

_ROWS = (200, 50, 20, 8, 3)
_CELL = 200
_ROOM = 40  # for what closes a fold
_REASONS = 6
_OPEN = 10
_FELL = ("case", "metric", "base", "head", "Δ", "evidence")
_MARKS = {"good": "TIP", "note": "NOTE", "odd": "WARNING", "bad": "CAUTION"}


def markdown(
    summary: Summary,
    *,
    record: str | None = None,
    built: str | None = None,
    saved_usd: float | None = None,
    most: int = MOST,
) -> str:
    """Return the report; where it would be too long, fewer rows with a pointer to the record.

    What pipelines and documents say stands in code spans alone, in which no HTML, link, image or
    mention comes alive.

    Args:
        summary: Of the run.
        record: Where the run record is, or None.
        built: What building the pipelines took, in words, or None.
        saved_usd: What calls that were not live would have cost, or None.
        most: Characters at most.
    """
    text = ""
    for rows in _ROWS:
        text = "\n".join(_lines(summary, rows, record, (built, saved_usd))) + "\n"
        if len(text) <= most:
            return text
    end = f"… cut here. {_pointer(record)}\n"
    kept = text[: most - len(end) - _ROOM].rpartition("\n")[0]
    folded = kept.count("\n<details>") - kept.count("\n</details>")
    return "\n\n".join([kept, *["</details>"] * folded, end])


def code(text: object, most: int = _CELL) -> str:
    """Return untrusted text as a code span that fits a table's cell."""
    plain = printable(" ".join(str(text).split())) or "(empty)"
    if len(plain) > most:
        plain = f"{plain[: most - 2]} …"
    ticks = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (ticks + 1)
    pad = " " if ticks else ""
    return f"{fence}{pad}{plain}{pad}{fence}".replace("|", "\\|")


def _pointer(record: str | None) -> str:
    return f"The rest is in {code(record)}." if record else "The rest is in the run record."


def _lines(
    summary: Summary, rows: int, record: str | None, spent: tuple[str | None, float | None]
) -> Iterator[str]:
    built, saved_usd = spent
    yield from _verdict(summary)
    for each in summary.evalsets:
        yield from ("", f"### {code(each.name)} · {_outcomes(each)}")
        yield from _regressions(each.held.comparison, rows)
        yield from _changed(each)
        yield from _limits(each.gates, rows)
        yield from _failures(each, rows, record)
        yield from _quality(each, rows)
        yield from _times(each)
        yield from _spend(each.usage)
    if built is not None:
        yield from ("", f"{built[0].upper()}{built[1:]}")
    if saved_usd is not None:
        told = f"Answers that were not live would have cost about {money(saved_usd)}."
        yield from ("", told)
    if record is not None:
        yield from ("", f"Run record: {code(record)}")


# --- the verdict --------------------------------------------------------------------------------


def _verdict(summary: Summary) -> Iterator[str]:
    bad = [f"{code(each.name)}: {'; '.join(_why(each))}" for each in summary.evalsets if _why(each)]
    odd = [f"{code(e.name)}: {words}" for e in summary.evalsets for words in _doubts(e)]
    if not summary.measured:
        yield from _alert("bad", "**Nothing was measured**, so nothing can be said.", bad)
    elif bad:
        yield from _alert("bad", "**Red.** This change does not hold what was asked.", bad)
    elif odd:
        yield from _alert("odd", "**Green, with something to look at.**", odd)
    else:
        yield from _alert("good", "**Green.** Every case and every limit holds.", ())


def _alert(kind: str, head: str, items: Sequence[str]) -> Iterator[str]:
    yield f"> [!{_MARKS[kind]}]"
    yield f"> {head}"
    if items:
        yield ">"
    yield from (f"> - {item}" for item in items[:_REASONS])
    if len(items) > _REASONS:
        yield f"> - and {len(items) - _REASONS} more"


def _why(each: EvalSetSummary) -> list[str]:
    """Return what makes an evalset red, a few words each."""
    counts = ((each.outcomes[kind], kind) for kind in ("failed", "error"))
    cases = [f"{count(n, 'case')} {_word(kind, n)}" for n, kind in counts if n]
    return [*cases, *(code(reason) for reason in each.held.reasons)]


def _word(outcome: str, n: int) -> str:
    return "failed" if outcome == "failed" else "broke" if outcome == "error" else f"{n} not run"


def _doubts(each: EvalSetSummary) -> Iterator[str]:
    found = each.held.comparison
    if each.outcomes["not_run"]:
        yield f"{count(each.outcomes['not_run'], 'case')} not run"
    open_ = [g for g in each.gates if g.passed is None and g.reason != NEEDS_BASELINE]
    if open_:
        yield f"{count(len(open_), 'limit')} not judged: {code(open_[0].reason or '')}"
    for verdict in () if found is None else found.metrics:
        if verdict.verdict in ("possible", "undecided", "not comparable"):
            yield f"{code(verdict.metric)} {verdict.verdict}"
    if found is not None and (found.removed or found.weakened or found.edited):
        yield "cases or limits changed, see below"
    for advice in each.advice:
        missed = f", missed by {count(len(advice.missed), 'case')}" if advice.missed else ""
        broken = f" ({code(advice.broken)})" if advice.broken else ""
        yield f"{code(advice.metric)} decides nothing{missed}{broken}: {code(advice.reason)}"
    yield from map(code, each.held.notes)


def _outcomes(each: EvalSetSummary) -> str:
    words = {"passed": "passed", "failed": "failed", "error": "broke", "not_run": "not run"}
    told = (f"{each.outcomes[kind]:,} {words[kind]}" for kind in OUTCOMES if each.outcomes[kind])
    return f"{count(each.cases, 'case')}: {', '.join(told) or 'none ran'}"


# --- against the baseline -----------------------------------------------------------------------


def _regressions(found: Comparison | None, rows: int) -> Iterator[str]:
    if found is None:
        return
    exact = ", every answer repeatable" if found.deterministic else ""
    yield from ("", f"Against {code(found.bar)}{exact}:", "")
    if found.metrics:
        yield from table(
            ("metric", "verdict", "base", "head", "Δ", "evidence", "sees a drop of"),
            [_metric(each) for each in found.metrics],
        )
    fell = _fallen(found)
    if fell:
        names = {each.metric for each in found.metrics}
        first, more = fell[: min(rows, _OPEN)], fell[_OPEN:rows]
        yield from (
            "",
            f"**Cases that fell** ({len(fell):,} of {count(found.moved, 'case')} moved)",
            "",
        )
        yield from table(_FELL, _moves(first, names))
        if more:
            yield from ("", f"<details><summary>{count(len(more), 'more case')}</summary>", "")
            yield from table(_FELL, _moves(more, names))
            yield from ("", "</details>")
        yield from _story(fell[:rows])
        if len(fell) > rows:
            yield f"\n… and {len(fell) - rows} more."


def _metric(each: MetricVerdict) -> tuple[str, ...]:
    base, head, change = ("", "", "")
    if each.base is not None and each.head is not None:
        base, head, change = (
            f"{each.base:.3f}",
            f"{each.head:.3f}",
            f"{each.head - each.base:+.3f}",
        )
    sees = "any" if each.detects == 0 else "—" if each.detects is None else f"{each.detects:.3f}"
    mark = "❌ " if each.bad else ""
    return (
        code(each.metric),
        f"{mark}{each.verdict}",
        base,
        head,
        change,
        code(evidence(each)),
        sees,
    )


def _fallen(found: Comparison) -> list[CaseChange]:
    return [c for c in found.changes if c.fell]


def _moves(changes: Iterable[CaseChange], gated: Set[str]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each gated metric that moved; for every one where no gated one did."""
    for change in changes:
        case = f"{code(change.case)}{' 💥 hard break' if change.broke else ''}"
        told = {name: pair for name, pair in change.scores.items() if name in gated}
        why = _evidence(change)
        for metric, (base, head) in (told or change.scores).items():
            yield case, code(metric), f"{base:.3f}", f"{head:.3f}", f"{head - base:+.3f}", why
            case = why = ""
        if case:  # no score moved
            yield case, "", "", "", "", why


def _evidence(change: CaseChange) -> str:
    """Return what became of the gold document that was lost, or of the first that moved."""
    lost = (name for name, gold in change.gold.items() if gold.lost)
    name = next(lost, next(iter(change.gold), None))
    return "" if name is None else f"{code(name, 80)}: {code(rank(change.gold[name]))}"


def _story(changes: Sequence[CaseChange]) -> Iterator[str]:
    """Yield, folded, where gold went and what came instead."""
    yield from ("", "<details><summary>Where the gold went</summary>", "")
    for change in changes:
        yield f"- {code(change.case)}"
        for name, gold in change.gold.items():
            yield f"  - {code(name)}: {code(rank(gold))}"
        if change.instead:
            yield f"  - instead: {', '.join(map(code, change.instead[:3]))}"
        for stage, (before, now) in change.times.items():
            if before is not None and now is not None:
                yield f"  - {code(stage)}: {duration(before)} → {duration(now)}"
    yield from ("", "</details>")


def _changed(each: EvalSetSummary) -> Iterator[str]:
    """Yield what a reviewer must see of the baseline, the limits and the cases themselves."""
    held, found = each.held, each.held.comparison
    told = [code(note) for note in held.notes]
    if held.missing is not None:
        told.append(code(held.missing))
    if found is not None:
        for words, ids in (
            ("removed", found.removed),
            ("edited question, answer or gold, so not compared", found.edited),
            ("gold no longer in the index: the label broke, not the ranker", found.unlabelled),
            ("could not be measured now", found.unmeasured),
            ("new, not in the baseline", found.added),
        ):
            if ids:
                more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
                told.append(f"{words}: {', '.join(map(code, ids[:10]))}{more}")
        told += [f"weakened: {code(words)}" for words in found.weakened[:20]]
        told += [code(note) for note in found.notes]
    if told:
        yield from ("", "**Changed**", "", *(f"- {line}" for line in told))


# --- the rest -----------------------------------------------------------------------------------


def _limits(gates: Sequence[GateResult], rows: int) -> Iterator[str]:
    judged = [gate for gate in gates if gate.passed is not None]
    if judged:
        yield from ("", "**Limits on the whole**", "")
        yield from table(("limit", "value", "bound", ""), map(_limit, judged[:rows]))


def _limit(gate: GateResult) -> tuple[str, ...]:
    value = "unknown" if gate.value is None else number(gate.value)
    limit = bounds(gate.limit.min, gate.limit.max)
    mark = "✅" if gate.passed else f"❌ {code(gate.reason or '')}"
    return code(gate.name), value, limit, mark if gate.advisory is None else f"advisory {mark}"


def _failures(each: EvalSetSummary, rows: int, record: str | None) -> Iterator[str]:
    groups = each.troubles
    if not groups:
        return
    yield from ("", "**What did not pass, and why**", "")
    cells = []
    for trouble in groups[:rows]:
        some = ", ".join(map(code, trouble.cases[:5]))
        more = f" and {len(trouble.cases) - 5} more" if len(trouble.cases) > 5 else ""
        kind = {"failed": "failed", "error": "broke", "not_run": "not run"}[trouble.outcome]
        why = "; ".join(map(code, trouble.reasons[:3])) or "no reason known"
        cells.append((f"{some}{more}", kind, why))
    yield from table(("cases", "", "why"), cells)
    if len(groups) > rows:
        yield f"\n… and {len(groups) - rows} more. {_pointer(record)}"


def _quality(each: EvalSetSummary, rows: int) -> Iterator[str]:
    found = [row for row in each.metrics if row.mean is not None]
    if found:
        yield from ("", "<details><summary>Quality</summary>", "")
        cells = (
            (
                code(row.name),
                f"{row.mean:.3f}",
                "" if row.low is None else f"{row.low:.3f} … {row.high:.3f}",
                f"{row.n:,}",
            )
            for row in found[:rows]
        )
        yield from table(("metric", "mean", "95 % interval", "cases"), cells)
        yield from ("", "</details>")


def _times(each: EvalSetSummary) -> Iterator[str]:
    if each.times:
        yield from ("", "<details><summary>Time by stage</summary>", "")
        cells = (
            (
                code(row.name),
                duration(row.p50),
                duration(row.p95),
                "" if row.self_share is None else f"{row.self_share:.0%}",
            )
            for row in each.times
        )
        yield from table(("stage", "p50", "p95", "own share"), cells)
        yield from ("", "</details>")


def _spend(used: Usage) -> Iterator[str]:
    if not (used.origins or used.known_usd):
        return
    cost = money(used.known_usd)
    if used.cost_usd is None:
        cost = f"{cost} and unknown for {count(used.unknown_runs, 'run')} ({code(used.reason)})"
    sides = (used.input_tokens, used.output_tokens)
    read, written = ("unknown" if n is None else f"{n:,}" for n in sides)
    calls = ", ".join(f"{n:,} {origin}" for origin, n in sorted(used.origins.items()))
    yield from ("", f"Spent {cost} · tokens {read} in, {written} out · calls: {calls or 'none'}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table's lines; cells are Markdown already."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
