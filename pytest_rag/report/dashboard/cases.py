"""Cases of the newest run, with the run before beside them, as compact data for the page."""

from __future__ import annotations

import base64
import gzip
import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pytest_rag.gate import by_case, case_outcome
from pytest_rag.metrics.gold import matches
from pytest_rag.report.dashboard.history import average, mean_score
from pytest_rag.report.dashboard.moves import CHANGES, moves, stage_lost
from pytest_rag.report.layout import printable
from pytest_rag.report.troubles import case_reasons
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.records import Result
    from pytest_rag.report.dashboard.history import History

__all__ = ["columns", "details", "packed"]

_CHUNK = 200
_ANSWER = 4000
_LINE = 600
_NODES = 20
_METRICS = 8
_SPAN = 5


def packed(value: object) -> str:
    """Return JSON, compressed, as letters that are safe in HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    raw = text.encode("utf-8", "backslashreplace")
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode("ascii")


def plain(text: object, most: int) -> str:
    """Return untrusted text: what steers a terminal or turns the text is written out."""
    whole = str(text)
    told = "\n".join(map(printable, whole[:most].splitlines()))
    return f"{told} … ({len(whole) - most:,} characters more)" if len(whole) > most else told


def columns(history: History) -> dict[str, Any]:
    """Return what the table shows, a column a list, ready for search and filters."""
    now, before = by_case(history.head.results), _before(history)
    names = history.metrics[:_METRICS]
    rows = [(case, runs, before.get(case, [])) for case, runs in now.items()]
    tags = sorted({tag for runs in now.values() for tag in runs[0].tags})
    place = {tag: n for n, tag in enumerate(tags)}
    changes = moves(history)
    return {
        "evalset": plain(history.name, _LINE),
        "chunk": _CHUNK,
        "runs": [f"{each.label} {each.when}" for each in history.snapshots],
        "metrics": [plain(name, 80) for name in names],
        "allTags": [plain(tag, 80) for tag in tags],
        "id": [plain(case, _LINE) for case, _, _ in rows],
        "query": [plain(" ".join(runs[0].query[:_LINE].split()), 300) for _, runs, _ in rows],
        "tags": [[place[tag] for tag in runs[0].tags] for _, runs, _ in rows],
        "outcome": [OUTCOMES.index(case_outcome(runs)) for _, runs, _ in rows],
        "changes": CHANGES,
        "change": [CHANGES.index(changes[case]) for case, _, _ in rows],
        "was": [OUTCOMES.index(case_outcome(old)) if old else None for _, _, old in rows],
        "stage": [stage_lost(runs) for _, runs, _ in rows],
        "scores": [[_score(runs, name) for _, runs, _ in rows] for name in names],
        "old": [[_score(old, name) for _, _, old in rows] for name in names],
        "ms": [_rounded(average(run.latency_ms for run in runs), 2) for _, runs, _ in rows],
        "usd": [_rounded(average(run.cost_usd for run in runs), 9) for _, runs, _ in rows],
    }


def details(history: History) -> Iterator[list[dict[str, Any]]]:
    """Yield what the page of a case shows, many cases at a time."""
    now, before = by_case(history.head.results), _before(history)
    changes = _changes(history)
    past = [by_case(each.results) for each in history.snapshots]
    metric = history.metrics[0] if history.metrics else ""
    items = list(now.items())
    for start in range(0, len(items), _CHUNK):
        yield [
            {
                **_case(runs, before.get(case, []), changes.get(case, {})),
                "past": [_then(each.get(case, []), metric) for each in past],
            }
            for case, runs in items[start : start + _CHUNK]
        ]


def _before(history: History) -> dict[str, list[Result]]:
    return {} if history.base is None else by_case(history.base.results)


def _changes(history: History) -> dict[str, Mapping[str, Any]]:
    """Return what the comparison with the baseline tells of cases, for a run without another."""
    if history.base is not None:
        return {}
    found = history.head.run.verdicts.get(history.name, {}).get("comparison") or {}
    return {str(change.get("case")): change for change in found.get("changes", ())}


def _then(runs: Sequence[Result], metric: str) -> list[Any]:
    return [OUTCOMES.index(case_outcome(runs)), _score(runs, metric)] if runs else []


def _score(runs: Sequence[Result], name: str) -> float | None:
    return _rounded(mean_score(runs, name), 4)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


# --- one case -----------------------------------------------------------------------------------


def _case(
    runs: Sequence[Result], old: Sequence[Result], change: Mapping[str, Any]
) -> dict[str, Any]:
    outcome = case_outcome(runs)
    run = next((each for each in runs if each.outcome == outcome), runs[0])
    then = old[0] if old else None
    return {
        "query": plain(run.query, _ANSWER),
        "reference": [plain(text, _ANSWER) for text in run.reference[:5]],
        "answer": None if run.answer is None else plain(run.answer, _ANSWER),
        "oldAnswer": None if then is None or then.answer is None else plain(then.answer, _ANSWER),
        "repeats": len(runs),
        "why": [plain(reason, _LINE) for reason in case_reasons(runs)],
        "notes": [plain(note, _LINE) for note in run.notes],
        "error": None if run.error is None else plain(run.error.get("traceback") or "", _ANSWER),
        "retrieved": None if run.retrieved is None else list(_nodes(run, then)),
        "dropped": list(_dropped(run, then)),
        "gold": [_gold(name, gold, then, change) for name, gold in run.gold.items()],
        "scores": {
            plain(name, 80): [_score(runs, name), _score(old, name), _reason(run, name)]
            for name in run.scores
        },
        "stages": {plain(k, 80): round(v, 3) for k, v in run.stages_ms.items()},
        "own": {plain(k, 80): round(v, 3) for k, v in run.self_ms.items()},
        "spans": [_span(span) for span in run.spans if len(span) >= _SPAN],
        "ms": _rounded(run.latency_ms, 3),
        "oldMs": None if then is None else _rounded(then.latency_ms, 3),
        "usd": run.cost_usd,
        "calls": [_call(call) for call in run.calls[:_NODES]],
    }


def _reason(run: Result, name: str) -> str | None:
    found = run.scores[name]
    told = found.get("reason") if found.get("value") is None else None
    return plain(told, _LINE) if told else None


def _nodes(run: Result, then: Result | None) -> Iterator[list[Any]]:
    """Yield the first nodes: document, score, grade where it is gold, rank in the run before."""
    ranks = _ranks(then)
    for node in (run.retrieved or ())[:_NODES]:
        name = str(node["id"])
        score = node.get("score")
        old = ranks.get(name) if ranks is not None else None
        yield [
            plain(name, _LINE),
            _rounded(score, 4) if isinstance(score, int | float) else None,
            _grade(name, run),
            "new" if ranks is not None and old is None else old,
        ]


def _dropped(run: Result, then: Result | None) -> Iterator[list[Any]]:
    """Yield documents that only the run before retrieved: its rank, and the grade of gold."""
    here = {str(node["id"]) for node in run.retrieved or ()}
    for name, rank in (_ranks(then) or {}).items():
        if name not in here and run.retrieved is not None:
            yield [plain(name, _LINE), rank, _grade(name, run)]


def _ranks(then: Result | None) -> dict[str, int] | None:
    if then is None or then.retrieved is None:
        return None
    names = dict.fromkeys(str(node["id"]) for node in then.retrieved)
    return {name: rank for rank, name in enumerate(names, 1)}


def _grade(document: str, run: Result) -> int:
    grades = [
        int(gold.get("grade") or 0)
        for name, gold in run.gold.items()
        if matches(name, document)
        or name.rpartition("#")[0] == document
        or fnmatchcase(document, name)
    ]
    return max(grades, default=0)


def _gold(
    name: str, gold: Mapping[str, Any], then: Result | None, change: Mapping[str, Any]
) -> list[Any]:
    """Return a gold document: name, grade, rank before and now, what became of it."""
    told = change.get("gold", {}).get(name)
    known = then is not None or told is not None
    before = told.get("before") if told else (then.gold.get(name, {}).get("rank") if then else None)
    lost = gold.get("lost")
    return [
        plain(name, _LINE),
        gold.get("grade"),
        before if known else "",
        gold.get("rank"),
        plain(lost, _LINE) if lost else None,
    ]


def _span(span: Sequence[Any]) -> list[Any]:
    depth, stage, part, start, ms = span[:_SPAN]
    return [depth, plain(stage, 80), plain(part, 80), start, ms]


def _call(call: Mapping[str, Any]) -> list[Any]:
    keys = ("input_tokens", "output_tokens", "cost_usd", "latency_ms")
    texts = [plain(call.get(key) or "", 120) for key in ("stage", "model", "origin")]
    return [*texts, *(call.get(key) for key in keys)]
