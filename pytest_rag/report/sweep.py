"""A sweep as lines for a terminal, and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.checks import number
from pytest_rag.report.layout import Line, count, cut, duration, labelled, money, printable
from pytest_rag.sweep.space import label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.sweep.outcome import Outcome, Row, Verdict
    from pytest_rag.sweep.standing import Standing

__all__ = ["candidate_text", "sweep_lines", "sweep_markdown"]

_SHOWN = 8


def params_text(values: Mapping[str, Any]) -> str:
    """Return values of knobs as words."""
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else label(value)
    return printable(cut(text, 40))


def candidate_text(each: Standing, best: Standing | None) -> str:
    """Return one line on a candidate that was decided."""
    what = params_text(each.tried.candidate.values)
    if not each.number:
        what = f"the current configuration{f' ({what})' if what else ''}"
    return f"#{each.number} {what}: {_became(each)}" + (
        "; the best so far" if best is not None and best.number == each.number else ""
    )


def _became(each: Standing) -> str:
    tried = each.tried
    if tried.state in ("error", "not_run"):
        return f"{tried.state.replace('_', ' ')}, {printable(cut(tried.reason or '', 160))}"
    name, value = next(iter(each.figures.items()))
    told = f"{name} {'unknown' if value is None else _figure(name, value)}"
    if tried.state == "stopped":
        return f"{told} after {tried.cases} cases, stopped"
    if each.broken:
        return f"{told}, breaks {', '.join(each.broken)}"
    return told


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name.partition(".")[0].endswith("_ms"):
        return duration(value)
    return money(value) if name.startswith("cost_usd") else f"{value:.3f}"


# --- the terminal -------------------------------------------------------------------------------


def sweep_lines(found: Outcome, *, width: int = 100) -> Iterator[Line]:
    """Yield what a sweep came to.

    Args:
        found: The outcome.
        width: Columns of the terminal.
    """
    yield Line(_head(found), "bold")
    yield from _table(found)
    yield from _knobs(found, width)
    for note in found.notes:
        yield from labelled("note", note, width, "dim")
    yield from _recommendation(found, width)


def _head(found: Outcome) -> str:
    states = [each.tried.state for each in found.found]
    broke = states.count("error")
    told = [
        f"{found.sweep.name}: {count(len(states), 'candidate')} of {found.sweep.evalset.name}",
        f"{states.count('stopped')} stopped early",
        *([f"{broke} broke"] if broke else []),
        f"{found.cases[0]} cases searched with, {found.cases[1]} held out",
        f"{found.took_s:,.0f} s",
        "cost unknown" if found.cost_usd is None else money(found.cost_usd),
    ]
    return printable(" · ".join(told))


def _table(found: Outcome) -> Iterator[Line]:
    """Yield the current configuration, and the frontier from its best end."""
    names = list(found.current.figures)
    heads = "".join(f"{_short(name):>12}" for name in names)
    yield Line(f"  {'':<14}{'':>5}{heads}  parameters", "dim")
    yield Line(f"  {'current':<14}{_row(found.current, names)}")
    by_number = {each.number: each for each in found.found}
    listed = [by_number[number] for number in found.frontier]
    for place, each in enumerate(listed[:_SHOWN]):
        best = found.best is not None and each.number == found.best.number
        title = "recommended" if best else "frontier" if place < 2 else ""
        yield Line(f"  {title:<14}{_row(each, names)}", "bold" if best else "")
    if len(listed) > _SHOWN:
        yield Line(f"  {'':<14}and {len(listed) - _SHOWN} more on the frontier", "dim")


def _short(name: str) -> str:
    return name.removesuffix(".mean")[:11]


def _row(each: Standing, names: Sequence[str]) -> str:
    figures = "".join(f"{_figure(name, each.figures.get(name)):>12}" for name in names)
    return f"{f'#{each.number}':>5}{figures}  {params_text(each.tried.candidate.values)}"


def _knobs(found: Outcome, width: int) -> Iterator[Line]:
    if found.importance:
        shares = [f"{name}\xa0{share:.0%}" for name, share in found.importance.items()]
        text = "\xa0· ".join(shares)
        yield from labelled("what mattered", text, width)
    for idle in found.idle:
        numbers = ", ".join(f"#{number}" for number in idle.candidates[:4])
        text = (
            f"{idle.name} changed nothing where it alone changed ({numbers}): no document, answer "
            "or score. Does the pipeline use it?"
        )
        yield from labelled("no effect", text, width, "bad")
    broken = [each for each in found.found if each.tried.state == "error"]
    for each in broken[:3]:
        yield from labelled("broke", candidate_text(each, None), width, "bad")
    if len(broken) > 3:
        yield from labelled("", f"and {len(broken) - 3} more", width, "dim")


def _recommendation(found: Outcome, width: int) -> Iterator[Line]:
    best, verdict = found.best, found.verdict
    if best is None:
        kept = "No candidate that ran to its end keeps the limits; nothing is recommended."
        yield from labelled("recommended", kept, width, "bad")
        return
    if verdict is None:
        text = "No candidate is better than the current configuration; leave it as it is."
        yield from labelled("recommended", text, width, "bold")
        return
    yield from labelled("recommended", _changed(found, best), width, "bold")
    for row in verdict.rows:
        yield from labelled("held out", _held(row), width)
    word, style = _words(verdict)
    yield from labelled("verdict", word, width, "good" if style else "bad")


def _changed(found: Outcome, best: Standing) -> str:
    now = found.current.tried.candidate.values
    parts = []
    for name, value in best.tried.candidate.values.items():
        if name not in now or label(now[name]) != label(value):
            was = f" (now {_value(now[name])})" if name in now else ""
            parts.append(f"{name} {_value(value)}{was}".replace(" ", "\xa0"))
    return ", ".join(parts) or "the values there are"


def _held(row: Row) -> str:
    if row.change is None:
        return f"{row.name}: no case has a value in both"
    sides = f"{_figure(row.name, row.current)} → {_figure(row.name, row.recommended)}"
    text = f"{row.name} {sides}, better by {number(row.change)}"
    if row.low is not None and row.high is not None:
        text += f" [{number(row.low)}, {number(row.high)}]"
    text += f", p {row.p:.2g}, {count(row.pairs, 'case')}: {row.better} better, {row.worse} worse"
    if row.detects is not None:
        text += f"; a gain of {number(row.detects)} would show in 8 of 10 such tests"
    return text


def _words(verdict: Verdict) -> tuple[str, bool]:
    told = {
        "better": "better on questions the search never saw.",
        "not shown": "not shown to be better: on questions the search never saw, chance may "
        "explain the difference.",
        "worse": "worse on questions the search never saw.",
        "unknown": f"unknown: {verdict.reason}",
    }[verdict.word]
    if verdict.looks > 1:
        told += f" These cases have judged {verdict.looks} recommendations, for which p is raised."
    if verdict.broken:
        told += f" It breaks {', '.join(verdict.broken)} there."
    return told, verdict.is_better


# --- Markdown -----------------------------------------------------------------------------------


def sweep_markdown(found: Outcome) -> str:
    """Return what a sweep came to, for a pull request."""
    names = list(found.current.figures)
    lines = [f"## Sweep {_cell(_head(found))}", ""]
    lines += [f"{text.strip()}" for text, _ in _recommendation(found, 10_000)]
    lines += ["", f"| | {' | '.join(map(_short, names))} | parameters |"]
    lines += ["|---|" + "---:|" * len(names) + "---|"]
    by_number = {each.number: each for each in found.found}
    listed = dict.fromkeys([0, *found.frontier])
    lines += [_md_row(by_number[number], names, found) for number in listed]
    lines += ["", *(f"- {text.strip()}" for text, _ in _knobs(found, 10_000))]
    lines += [f"- {_cell(note)}" for note in found.notes]
    return "\n".join(lines).rstrip() + "\n"


def _md_row(each: Standing, names: Sequence[str], found: Outcome) -> str:
    best = found.best is not None and each.number == found.best.number
    title = f"#{each.number}" + (", current" if not each.number else "")
    title = f"**{title}, recommended**" if best else title
    figures = " | ".join(_figure(name, each.figures.get(name)) for name in names)
    return f"| {title} | {figures} | {_cell(params_text(each.tried.candidate.values))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
