"""Charts as SVG that needs no script: Vega-Lite, drawn by vl-convert when the page is made.

Colors are the page's own variables, so that light, dark and print need one drawing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.extras import require
from pytest_rag.report.layout import duration, money, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.report.dashboard.history import History, Snapshot
    from pytest_rag.report.dashboard.spend import Spend

__all__ = ["cost_days", "frontier", "metric", "origins", "own_time", "percentiles", "spread"]

_NAME = 40
_WIDE = (420, 215)  # small enough to be read on a phone
_COLORS = [f"var(--c{n})" for n in range(1, 8)]
_TEXT = {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "labelFontSize": 12}
_CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "axisY": {"minExtent": 44, "titlePadding": 8},
    "legend": {**_TEXT, "title": None, "orient": "top", "symbolType": "square", "columns": 4},
    "range": {"category": _COLORS},
    "mark": {"color": "var(--c1)"},
}
_RUNS = {
    "field": "run",
    "type": "ordinal",
    "sort": None,
    "title": None,
    "axis": {"labelAngle": 0, "labelOverlap": True, "labelLimit": 70, "grid": False},
}


def _draw(spec: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> str:
    """Return the drawing; it takes its size from the page and keeps its proportions."""
    convert = require("vl_convert", "report")
    whole = {
        "width": size[0],
        "height": size[1],
        "padding": 2,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": _CONFIG,
        "data": {"values": [_clean(row) for row in rows]},
        **spec,
    }
    svg: str = convert.vegalite_to_svg(whole, allowed_base_urls=[])
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _clean(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose texts are short enough for a legend, and can be encoded."""
    return {k: printable(v[:_NAME]) if isinstance(v, str) else v for k, v in row.items()}


def _axis(field: str, title: str | None = None, **more: Any) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "title": title, **more}


def _scores(values: Iterable[float | None]) -> dict[str, Any]:
    """Return the scale and axis of scores; none of its marks reads like another."""
    ends = [value for value in values if value is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    pad = max((high - low) * 0.1, 0.05)
    bounds = [
        max(low - pad, 0.0) if low >= 0 else low - pad,
        min(high + pad, 1.004) if high <= 1 else high + pad,
    ]
    return {
        "scale": {"domain": bounds, "nice": False},
        "axis": {"tickCount": 4, "format": ".2f"},
    }


def metric(history: History, name: str) -> str:
    """Draw a metric over the runs, with its 95 % interval."""
    rows: list[dict[str, Any]] = [
        {"run": each.label, "mean": row.mean, "low": row.low, "high": row.high}
        for each in history.snapshots
        for row in each.summary.metrics
        if row.name == name and row.mean is not None
    ]
    y = _scores([v for row in rows for v in (row["mean"], row["low"], row["high"])])
    layers = [
        {
            "mark": {"type": "rule", "color": "var(--c1)", "opacity": 0.45, "strokeWidth": 5},
            "encoding": {"y": _axis("low", **y), "y2": {"field": "high"}},
        },
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": _axis("mean", **y)}},
        {
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
            "encoding": {"y": _axis("mean", **y)},
        },
    ]
    return _draw({"encoding": {"x": _RUNS}, "layer": layers}, rows, (270, 130))


def percentiles(history: History) -> str:
    """Draw the median and the 95th percentile of the latency over the runs."""
    rows = [
        {"run": each.label, "of": name, "ms": value}
        for each in history.snapshots
        if each.latency is not None
        for name, value in zip(("p50", "p95"), each.latency, strict=True)
    ]
    encoding = {
        "x": _RUNS,
        "y": _axis("ms", "milliseconds", scale={"zero": True}, axis={"tickCount": 5}),
        "color": {"field": "of", "type": "nominal"},
    }
    mark = {"type": "line", "point": {"filled": True, "size": 45}}
    return _draw({"mark": mark, "encoding": encoding}, rows, _WIDE)


def spread(head: Snapshot) -> str:
    """Draw how the time of each stage is spread: p5 to p95, the middle half, the median."""
    names = ("p5", "p25", "p50", "p75", "p95")
    rows: list[dict[str, Any]] = [
        {"stage": stage, **dict(zip(names, (max(v, 0.001) for v in values), strict=True))}
        for stage, values in head.spread.items()
    ]
    top = max((row["p95"] for row in rows), default=1.0)
    least = min((row["p5"] for row in rows), default=1.0)
    scale = {"type": "log", "nice": False} if top > 30 * least else {"zero": True}
    x = _axis("p5", "milliseconds", scale=scale, axis={"tickCount": 6, "format": "~g"})
    axis = {"minExtent": 84}  # the browser may set words wider than was measured
    y = {"field": "stage", "type": "nominal", "sort": None, "title": None, "axis": axis}
    layers = [
        {
            "mark": {"type": "rule", "color": "var(--muted)"},
            "encoding": {"x": x, "x2": {"field": "p95"}},
        },
        {
            "mark": {"type": "bar", "height": 12, "color": "var(--c1)", "opacity": 0.8},
            "encoding": {"x": {**x, "field": "p25"}, "x2": {"field": "p75"}},
        },
        {
            "mark": {"type": "tick", "color": "var(--text)", "thickness": 2, "height": 18},
            "encoding": {"x": {**x, "field": "p50"}},
        },
    ]
    return _draw({"encoding": {"y": y}, "layer": layers}, rows, _WIDE)


def own_time(history: History) -> str:
    """Draw the mean time of a run over the stages that spend it, for every run."""
    rows = [
        {"run": each.label, "stage": stage, "ms": ms}
        for each in history.snapshots
        for stage, ms in each.own_ms.items()
    ]
    return _stacked(rows, "stage", _axis("ms", "ms a case"))


def origins(history: History) -> str:
    """Draw where the answers of models came from, for every run."""
    rows = [
        {"run": each.label, "origin": origin, "calls": n}
        for each in history.snapshots
        for origin, n in sorted(each.summary.usage.origins.items(), key=_live_first)
    ]
    return _stacked(rows, "origin", _axis("calls", "calls"))


def _live_first(pair: tuple[str, int]) -> tuple[bool, str]:
    return pair[0] != "live", pair[0]


def cost_days(spend: Spend, threshold: float | None = None) -> str:
    """Draw what each day cost, by model, and the threshold of a day where there is one."""
    rows = [
        {"run": day, "model": model, "usd": usd}
        for day, models in spend.days.items()
        for model, usd in models.items()
    ]
    y = _axis("usd", "US dollars", axis={"tickCount": 5, "format": "$~g"})
    line = [] if threshold is None else [{**_LINE, "encoding": {"y": {"datum": threshold}}}]
    return _stacked(rows, "model", y, line)


_LINE = {"mark": {"type": "rule", "strokeDash": [5, 4], "color": "var(--bad)", "strokeWidth": 2}}


def _stacked(
    rows: Sequence[Mapping[str, Any]],
    color: str,
    y: Mapping[str, Any],
    more: Sequence[Mapping[str, Any]] = (),
) -> str:
    bars = {
        "mark": {"type": "bar", "width": {"band": 0.6}},
        "encoding": {
            "x": _RUNS,
            "y": {"axis": {"tickCount": 5}, **y},
            "color": {"field": color, "type": "nominal", "sort": None},
        },
    }
    return _draw({"layer": [bars, *more]}, rows, _WIDE)


def frontier(points: Sequence[Mapping[str, Any]], metric_name: str, *, by_cost: bool) -> str:
    """Draw quality over cost, or over latency where nothing costs, a point a run.

    Args:
        points: ``{run, name, quality, x, size, best, edge}``; the best are beaten by none in
            everything, those on the edge by none in quality and ``x``.
        metric_name: What the quality is.
        by_cost: Whether ``x`` is US dollars a case; milliseconds else.
    """
    x = _axis("x", "US dollars a case" if by_cost else "latency p50, milliseconds")
    x |= {"scale": {"zero": False, "padding": 20}, "axis": {"tickCount": 5, "format": "~g"}}
    y = _axis("quality", metric_name, **_scores(point["quality"] for point in points))
    shade = {"condition": {"test": "datum.best", "value": "var(--c1)"}, "value": "var(--muted)"}
    size = _axis("size", legend=None, scale={"range": [70, 400], "zero": True})
    layers = [
        {
            "transform": [{"filter": "datum.edge"}],
            "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [4, 3]},
            "encoding": {"x": x, "y": y, "order": {"field": "x"}},
        },
        {
            "mark": {"type": "circle", "opacity": 0.75},
            "encoding": {"x": x, "y": y, "color": shade, "size": size},
        },
        {
            "mark": {"type": "text", "dy": -14, "fontSize": 11, "color": "var(--text)"},
            "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}},
        },
    ]
    return _draw({"layer": layers}, points, _WIDE)


def ms(value: float | None) -> str:
    """Write milliseconds for a table; a dash where there are none."""
    return "—" if value is None else duration(value)


def usd(value: float | None) -> str:
    """Write dollars for a table; ``unknown`` where they are not known."""
    return "unknown" if value is None else money(value)
