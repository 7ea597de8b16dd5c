"""Means of a run, corrected by answers that people labelled: what people would say on average."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from pytest_rag.gate import by_case
from pytest_rag.stats.prediction import powered_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_rag.records import Result
    from pytest_rag.stats.prediction import Powered
    from pytest_rag.trust import Trust

__all__ = ["case_values", "corrected_means"]


def case_values(
    results: Iterable[Result],
    metric: str,
    wanted: Callable[[Sequence[Result]], bool] = lambda _: True,
) -> list[float]:
    """Return a metric's value of each case that has one, repeats averaged.

    Args:
        results: Of one evalset.
        metric: Its name.
        wanted: Tells of a case's runs whether they count.
    """
    means = []
    for runs in by_case(results).values():
        scores = [run.scores[metric]["value"] for run in runs if metric in run.scores]
        found = [value for value in scores if value is not None]
        if found and wanted(runs):
            means.append(fmean(found))
    return means


def corrected_means(results: Sequence[Result], trust: Trust | None) -> dict[str, Powered]:
    """Return, by metric, the mean that people would give, where a calibration holds for it.

    Args:
        results: Of one evalset.
        trust: What was found of its metrics, or None.
    """
    if trust is None:
        return {}
    versions: dict[str, set[str]] = {}
    for run in results:
        for name, score in run.scores.items():
            versions.setdefault(name, set()).add(score["version"])
    found = {}
    for name, seen in sorted(versions.items()):
        known = trust.labelled(name, *seen) if len(seen) == 1 else None
        values = case_values(results, name) if known is not None else []
        if known is not None and values:
            found[name] = powered_mean(known, values)
    return found
