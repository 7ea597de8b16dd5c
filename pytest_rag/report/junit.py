"""What a case adds to the test report: properties for pytest's own ``--junitxml``."""

from __future__ import annotations

from math import fsum
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_rag.report.layout import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.records import Result

__all__ = ["properties"]


def properties(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """Yield names and values: scores, latency, cost, origin of the calls; nothing for the unknown.

    Args:
        results: Of one test: scores and latency are means over them, the cost is their sum.
    """
    for name in dict.fromkeys(name for run in results for name in run.scores):
        found = [run.scores[name]["value"] for run in results if name in run.scores]
        known = [value for value in found if value is not None]
        if known:
            yield printable(f"rag.{name}"), f"{fmean(known):.6g}"
    times = [run.latency_ms for run in results if run.latency_ms is not None]
    if times:
        yield "rag.latency_ms", f"{fmean(times):.3f}"
    costs = [run.cost_usd for run in results]
    if costs and None not in costs:
        yield "rag.cost_usd", f"{fsum(cost or 0.0 for cost in costs):.9g}"
    origins = sorted({str(call.get("origin")) for run in results for call in run.calls})
    if origins:
        yield "rag.origin", printable(",".join(origins))
    if len(results) == 1:
        yield "rag.outcome", results[0].outcome
