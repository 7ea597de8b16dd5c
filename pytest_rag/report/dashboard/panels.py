"""What the page shows above its table: the verdict, figures, and charts with tables behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.extras import require
from pytest_rag.report.dashboard import charts
from pytest_rag.report.dashboard.charts import ms, usd
from pytest_rag.report.dashboard.moves import moved
from pytest_rag.report.dashboard.spend import saved, spend
from pytest_rag.report.dashboard.verdict import verdict
from pytest_rag.report.layout import count, money, printable
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.config import Alerts
    from pytest_rag.report.dashboard.history import History, RunView, Snapshot
    from pytest_rag.report.dashboard.spend import Spend

__all__ = ["cost", "evalset", "lead"]

_METRICS = 8
_NAMED = 6
_WORDS = {"passed": "passed", "failed": "failed", "error": "broke", "not_run": "not run"}


def lead(runs: Sequence[RunView]) -> str:
    """Return one line on what the page is made of."""
    if not runs:
        return "No run."
    newest = max(runs, key=lambda run: run.started)
    when = f" began {newest.when} UTC" if newest.when else " tells no date"
    commit = f" of commit {newest.commit}" if newest.commit else ""
    return printable(f"{count(len(runs), 'run')}; the newest{commit}{when}.")


def evalset(history: History) -> dict[str, Any]:
    """Return what the template shows of an evalset."""
    held = history.head.run.verdicts.get(history.name, {})
    return {
        "name": printable(history.name),
        "verdict": verdict(history),
        "moved": moved(history),
        "cards": list(_cards(history)),
        "compared": _compared(held),
        "quality": [_quality(history, name) for name in history.metrics[:_METRICS]],
        "charts": list(_charts(history)),
    }


def _panel(title: str, about: str, svg: str, head: Sequence[str], rows: Any) -> dict[str, Any]:
    markup = require("markupsafe", "report").Markup
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    return {"title": printable(title), "about": about, "svg": markup(svg), "head": head} | {
        "rows": cells
    }


# --- against the baseline ----------------------------------------------------------------------


def _compared(held: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the table of verdicts against the baseline, or None where there was none."""
    found = held.get("comparison")
    if not found:
        return None
    rows = [[printable(str(c)) for c in _metric_row(each)] for each in found.get("metrics", ())]
    return {"bar": printable(str(found.get("bar"))), "rows": rows}


def _metric_row(each: Mapping[str, Any]) -> Sequence[str]:
    base, head, p = each.get("base"), each.get("head"), each.get("p")
    change = "—" if base is None or head is None else f"{head - base:+.3f}"
    seen = each.get("detects")
    return (
        str(each.get("metric")),
        str(each.get("verdict")),
        _score(base),
        _score(head),
        change,
        "exact" if p is None and seen == 0 else "—" if p is None else f"{p:.3f}",
        "any" if seen == 0 else _score(seen),
    )


def _score(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"


# --- figures ------------------------------------------------------------------------------------


def _cards(history: History) -> Iterator[dict[str, str]]:
    head, base = history.head, history.base
    n = head.summary.outcomes
    told = ", ".join(f"{n[o]:,} {_WORDS[o]}" for o in OUTCOMES if n[o] and o != "passed")
    yield _card("Cases passed", f"{n['passed']:,} of {head.summary.cases:,}", told or "all of them")
    for row in head.summary.metrics[:1]:
        if row.mean is not None:
            span = "" if row.low is None else f"95 % interval {row.low:.3f} to {row.high:.3f}"
            old = None if base is None else base.mean(row.name)
            yield _card(row.name, f"{row.mean:.3f}", span, *_change(row.mean, old))
    if head.latency is not None:
        p50, p95 = head.latency
        old = None if base is None or base.latency is None else base.latency[0]
        before = "" if old is None else f"{ms(old)} before"
        yield _card("Latency, median", ms(p50), f"p95 {ms(p95)}", before)
    used = head.summary.usage
    known = f"{money(used.known_usd)} known" if used.cost_usd is None else "of the whole run"
    yield _card("Cost", usd(used.cost_usd), known)
    calls = sum(used.origins.values())
    hits = calls - used.origins.get("live", 0)
    share = f"{hits:,} of {count(calls, 'call')} of models" if calls else "no calls of models"
    yield _card("From cache or cassette", f"{hits / calls:.0%}" if calls else "—", share)


def _card(label: str, value: str, about: str, change: str = "", way: str = "") -> dict[str, str]:
    fields = {"label": label, "value": value, "about": about, "change": change, "way": way}
    return {key: printable(text) for key, text in fields.items()}


def _change(now: float, before: float | None) -> tuple[str, str]:
    """Return how far a mean moved, and which way."""
    if before is None:
        return "", ""
    if f"{now:.3f}" == f"{before:.3f}":
        return "as in the run before", ""
    sign, way = ("▲ +", "up") if now > before else ("▼ \u2212", "down")
    return f"{sign}{abs(now - before):.3f} since the run before", way


# --- charts -------------------------------------------------------------------------------------


def _quality(history: History, name: str) -> dict[str, Any]:
    rows = [
        (each.label, each.when, _score(row.mean), _score(row.low), _score(row.high), row.n)
        for each in history.snapshots
        for row in each.summary.metrics
        if row.name == name
    ]
    head = ("run", "began", "mean", "95 % from", "to", "cases")
    return _panel(name, "", charts.metric(history, name), head, rows)


def _charts(history: History) -> Iterator[dict[str, Any]]:
    head = history.head
    if head.spread:
        rows = [(stage, *map(ms, values)) for stage, values in head.spread.items()]
        yield _panel(
            "Latency by stage",
            "Of the newest run: line from p5 to p95, box around the middle half, median.",
            charts.spread(head),
            ("stage", "p5", "p25", "p50", "p75", "p95"),
            rows,
        )
        times = [(s.label, s.when, *map(ms, s.latency)) for s in history.snapshots if s.latency]
        about = "Median and 95th percentile of every run."
        svg = charts.percentiles(history)
        yield _panel("Latency over time", about, svg, ("run", "began", "p50", "p95"), times)
        yield _own(history)
    if any(each.summary.usage.origins for each in history.snapshots):
        yield _origins(history)
    yield from _frontier(history)


def _own(history: History) -> dict[str, Any]:
    stages = list(dict.fromkeys(s for each in history.snapshots for s in each.own_ms))
    rows = [
        (each.label, *(ms(each.own_ms.get(stage)) for stage in stages))
        for each in history.snapshots
    ]
    about = "Mean milliseconds a case spends in a stage itself, without the stages inside it."
    svg = charts.own_time(history)
    return _panel("Where the time goes", about, svg, ("run", *map(printable, stages)), rows)


def _origins(history: History) -> dict[str, Any]:
    names = ("live", "cache", "cassette")
    rows = [
        (each.label, *(f"{each.summary.usage.origins.get(name, 0):,}" for name in names))
        for each in history.snapshots
    ]
    spared = saved(result for each in history.snapshots for result in each.results)
    about = "Calls of models by where the answer came from."
    if spared is not None:
        about += f" Those that were not live would have cost about {money(spared)}."
    return _panel("Cache", about, charts.origins(history), ("run", *names), rows)


def _frontier(history: History) -> Iterator[dict[str, Any]]:
    """Yield quality over cost, or over latency where nothing costs; runs that lack one are out."""
    name = history.metrics[0] if history.metrics else None
    by_cost = any(each.cost_a_run for each in history.snapshots)
    points = [p for each in history.snapshots if (p := _point(each, name, by_cost=by_cost))]
    if name is None or not points:
        return
    for place, point in enumerate(points):
        point["best"] = not any(_beats(other, point, ("x", "size")) for other in points)
        point["edge"] = not any(_beats(other, point, ("x",)) for other in points)
        named = len(points) <= _NAMED or point["best"] or place == len(points) - 1
        point["name"] = point["run"] if named else ""
    rows = [
        (p["run"], _score(p["quality"]), ms(p["size"]), usd(p["usd"]), "yes" if p["best"] else "no")
        for p in points
    ]
    about = "A point a run; blue where no other run is as good in all and better in one"
    about += ", larger where it is slower." if by_cost else "."
    svg = charts.frontier(points, name, by_cost=by_cost)
    head = ("run", name, "latency p50", "cost a case", "on the frontier")
    yield _panel("Quality, latency and cost", about, svg, tuple(map(printable, head)), rows)


def _point(each: Snapshot, name: str | None, *, by_cost: bool) -> dict[str, Any] | None:
    quality = None if name is None else each.mean(name)
    speed = each.latency[0] if each.latency else None
    x = each.cost_a_run if by_cost else speed
    if quality is None or x is None:
        return None
    size = 0.0 if speed is None else speed
    return {"run": each.label, "quality": quality, "x": x, "size": size, "usd": each.cost_a_run}


def _beats(other: Mapping[str, Any], point: Mapping[str, Any], axes: Sequence[str]) -> bool:
    """Tell whether a run is as good in quality and what it takes, and better in one of them."""
    as_good = other["quality"] >= point["quality"] and all(other[a] <= point[a] for a in axes)
    better = other["quality"] > point["quality"] or any(other[a] < point[a] for a in axes)
    return as_good and better


# --- money --------------------------------------------------------------------------------------


def cost(runs: Sequence[RunView], alerts: Alerts | None) -> dict[str, Any]:
    """Return what all evalsets cost by day, month and model, with what is ahead."""
    found = spend(runs)
    day, month = (None, None) if alerts is None else (alerts.day_usd, alerts.month_usd)
    models = [(printable(name), money(value)) for name, value in found.by_model().items()]
    return {
        "total": money(found.total),
        "notes": list(_cost_notes(found)),
        "alarms": list(_alarms(found, day, month)),
        "chart": _days(found, day, month) if found.total else None,
        "tables": [
            ("By month", ("month", "cost", "at this rate", "limit"), _months(found, month)),
            ("By model", ("model", "cost"), models),
        ],
    }


def _cost_notes(found: Spend) -> Iterator[str]:
    if found.unknown:
        yield f"The cost of {count(found.unknown, 'run')} of cases is unknown and in no sum."
    if found.unknown_built:
        calls = count(found.unknown_built, "call")
        yield f"The cost of {calls} that pipelines were built with is unknown and in no sum."
    if found.forecast is not None:
        yield f"The newest month will come to about {money(found.forecast)} at this rate."
    elif found.total:
        yield "No forecast: the runs span fewer than three days."


def _alarms(found: Spend, day: float | None, month: float | None) -> Iterator[str]:
    """Yield which limits were passed, or will be."""
    days = [name for name, usd_ in found.by(10).items() if day is not None and usd_ > day]
    if day is not None and days:
        yield f"{count(len(days), 'day')} cost more than {money(day)}, the last on {days[-1]}."
    ahead = max([*found.by(7).values(), found.forecast or 0.0])
    if month is not None and ahead > month:
        yield f"The limit of {money(month)} a month is passed, or will be at this rate."


def _months(found: Spend, limit: float | None) -> list[tuple[str, ...]]:
    told = "—" if limit is None else money(limit)
    rows: list[tuple[str, ...]] = [
        (name, money(value), "—", told) for name, value in found.by(7).items()
    ]
    if rows and found.forecast is not None:
        rows[-1] = (*rows[-1][:2], money(found.forecast), told)
    return rows


def _days(found: Spend, day: float | None, month: float | None) -> dict[str, Any]:
    limit, told = (day, "the limit of a day") if day is not None else (None, "")
    if day is None and month is not None:
        limit, told = month / 30, "a thirtieth of the month's limit"
    about = f"By the day a run began{f'; dashed: {told}' if told else ''}."
    rows = [(name, money(value)) for name, value in found.by(10).items()]
    return _panel("Cost by day", about, charts.cost_days(found, limit), ("day", "cost"), rows)
