"""What the charts say when there is little to see."""

from __future__ import annotations

import re

import pytest

from pytest_rag.report.dashboard import charts


def ticks(svg: str) -> list[float]:
    """Return the numbers along the axis of scores, which have two decimals."""
    return [float(text) for text in re.findall(r">(-?\d\.\d\d)</text>", svg)]


@pytest.mark.parametrize("quality", [0.786, 1.0, 0.0])
def test_runs_of_the_same_quality_have_an_axis_that_tells_it(quality):
    """Its marks differ, and lie around the value."""
    point = {"name": "a", "quality": quality, "size": 1, "best": True, "edge": True}
    points = [{**point, "run": run, "x": 19.6 + run} for run in range(2)]
    found = ticks(charts.frontier(points, "nDCG@10", by_cost=False))
    assert len(set(found)) == len(found) >= 3
    assert min(found) <= quality <= max(found)
