"""What an evaluation found, as Markdown for a repository's documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.report.dashboard.history import histories
from pytest_rag.report.dashboard.spend import saved, spend
from pytest_rag.report.dashboard.verdict import verdict
from pytest_rag.report.layout import count, duration, money
from pytest_rag.report.markdown import code, table
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_rag.report.dashboard.history import History, RunView, Snapshot
    from pytest_rag.report.dashboard.verdict import Verdict

__all__ = ["overview"]

_RUNS = 20


def overview(runs: Iterable[RunView]) -> str:
    """Return the report: mean quality, mean latency, mean cost of the newest run, and the runs."""
    return "\n".join(_lines(list(runs))) + "\n"


def _lines(runs: Sequence[RunView]) -> Iterator[str]:
    yield "# RAG evaluation"
    for history in histories(runs):
        yield from _evalset(history)
    yield from _cost(runs)


def _evalset(history: History) -> Iterator[str]:
    head = history.head
    n = head.summary.outcomes
    words = {"passed": "passed", "failed": "failed", "error": "broke", "not_run": "not run"}
    told = ", ".join(f"{n[o]:,} {words[o]}" for o in OUTCOMES if n[o])
    when = f" on {head.when} UTC" if head.when else ""
    at = f" at {code(head.run.commit)}" if head.run.commit else ""
    yield from ("", f"## {code(history.name)}", "")
    yield from _verdict(verdict(history))
    yield f"{count(head.summary.cases, 'case')}{when}{at}: {told or 'none ran'}."
    yield from _quality(head)
    yield from _latency(head)
    if len(history.snapshots) > 1:
        yield from _over_time(history)


def _verdict(found: Verdict) -> Iterator[str]:
    yield f"**{found.word}.** {found.sentence}"
    yield from ("", *(f"- {code(reason)}" for reason in found.reasons))
    if found.reasons:
        yield ""


def _quality(head: Snapshot) -> Iterator[str]:
    rows = [
        (
            code(row.name),
            f"{row.mean:.3f}",
            "—" if row.low is None else f"{row.low:.3f} to {row.high:.3f}",
            f"{row.n:,}",
        )
        for row in head.summary.metrics
        if row.mean is not None
    ]
    if rows:
        yield from ("", "### Quality", "")
        yield from table(("metric", "mean", "95 % interval", "cases"), rows)


def _latency(head: Snapshot) -> Iterator[str]:
    times = [r.latency_ms for r in head.results if r.error is None and r.latency_ms is not None]
    if not times:
        return
    mean = sum(times) / len(times)
    yield from ("", "### Latency", "", f"Mean {duration(mean)} over {count(len(times), 'run')}.")
    own = head.own_ms
    rows = [
        (code(r.name), duration(r.p50), duration(r.p95), duration(own[r.name]))
        if r.name in own
        else (code(r.name), duration(r.p50), duration(r.p95), "—")
        for r in head.summary.times
    ]
    yield from ("", *table(("stage", "p50", "p95", "mean own time"), rows))


def _over_time(history: History) -> Iterator[str]:
    names = history.metrics[:3]
    rows = [_then(each, names) for each in history.snapshots[-_RUNS:]]
    yield from ("", "### Runs", "")
    head = ("run", "began", "passed", *map(code, names), "latency p50", "cost a case")
    yield from table(head, rows)


def _then(each: Snapshot, names: Sequence[str]) -> tuple[str, ...]:
    means = [each.mean(name) for name in names]
    return (
        code(each.label),
        each.when,
        f"{each.summary.outcomes['passed']:,} of {each.summary.cases:,}",
        *("—" if mean is None else f"{mean:.3f}" for mean in means),
        "—" if each.latency is None else duration(each.latency[0]),
        "unknown" if each.cost_a_run is None else money(each.cost_a_run),
    )


def _cost(runs: Sequence[RunView]) -> Iterator[str]:
    found = spend(runs)
    asked = sum(1 for run in runs for result in run.results if result.cost_usd is not None)
    yield from ("", "## Cost", "")
    mean = f", {money(found.total / asked)} a case in the mean" if asked else ""
    yield f"{money(found.total)} in {count(len(runs), 'run')}{mean}."
    if found.unknown:
        yield f"The cost of {count(found.unknown, 'run')} of cases is unknown and in no sum."
    spared = saved(result for run in runs for result in run.results)
    if spared is not None:
        yield f"What was answered out of a cache would have cost about {money(spared)}."
    if found.forecast is not None:
        yield f"The newest month will come to about {money(found.forecast)} at this rate."
    for name, sums in (("month", found.by(7)), ("model", found.by_model())):
        if any(sums.values()):
            rows = [(code(key), money(usd)) for key, usd in sums.items()]
            yield from ("", *table((name, "cost"), rows))
