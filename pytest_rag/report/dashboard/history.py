"""Run records → what each evalset was over time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from math import fsum
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

from pytest_rag.report.layout import printable
from pytest_rag.report.summary import EvalSetSummary, summarise
from pytest_rag.stats import quantile
from pytest_rag.types import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.buildings import Building
    from pytest_rag.records import Result, Run

__all__ = ["History", "RunView", "Snapshot", "histories", "mean_score", "stages_of"]

_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as the dashboard takes it: plain data of a record.

    Attributes:
        header: Of the record.
        results: Of the run.
        verdicts: What was decided by evalset, as the record's footer tells it.
        buildings: Of pipelines, those that asked models for something.
    """

    header: Mapping[str, Any]
    results: Sequence[Result]
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    buildings: Sequence[Building] = ()

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the view of a record that was read."""
        told = (run.footer or {}).get("verdicts") or {}
        return cls(header=run.header, results=run.results, verdicts=told, buildings=run.buildings)

    @property
    def started(self) -> str:
        """When it began, as the record says; empty where it does not."""
        return str(self.header.get("started") or "")

    @property
    def when(self) -> str:
        """Date and time to the minute; empty where the record tells none."""
        try:
            return f"{datetime.fromisoformat(self.started):%Y-%m-%d %H:%M}"
        except ValueError:
            return ""

    @property
    def commit(self) -> str:
        """The commit's first seven characters, ``+`` behind it where the tree had changes."""
        git = self.header.get("git") or {}
        commit = str(git.get("commit") or "")[:7]
        return printable(f"{commit}{'+' if git.get('dirty') else ''}") if commit else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An evalset in one run.

    Attributes:
        label: What the run is called on an axis; unlike all others'.
        when: Date and time, to the minute; empty where the record tells none.
        run: The run.
        results: Of the evalset alone.
        summary: Of them.
        own_ms: Mean milliseconds a run spends in each stage itself.
        spread: ``{stage: p5, p25, p50, p75, p95}``; the whole is ``latency``.
    """

    label: str
    when: str
    run: RunView
    results: Sequence[Result]
    summary: EvalSetSummary
    own_ms: Mapping[str, float]
    spread: Mapping[str, tuple[float, ...]]

    @property
    def cost_a_run(self) -> float | None:
        """US dollars a run of a case, or None where a cost is unknown."""
        used = self.summary.usage.cost_usd
        return None if used is None or not self.results else used / len(self.results)

    @property
    def latency(self) -> tuple[float, float] | None:
        """The median and the 95th percentile, in milliseconds."""
        rows = (row for row in self.summary.times if row.name == "latency")
        return next(((row.p50, row.p95) for row in rows), None)

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric, or None."""
        return next((row.mean for row in self.summary.metrics if row.name == metric), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """An evalset over time.

    Attributes:
        name: Of the evalset.
        snapshots: One a run, oldest first; never empty.
    """

    name: str
    snapshots: tuple[Snapshot, ...]

    @property
    def head(self) -> Snapshot:
        """The newest."""
        return self.snapshots[-1]

    @property
    def base(self) -> Snapshot | None:
        """The one before, or None."""
        return self.snapshots[-2] if len(self.snapshots) > 1 else None

    @property
    def metrics(self) -> list[str]:
        """Metrics that have a value in some run, those of the newest first."""
        rows = (row for each in reversed(self.snapshots) for row in each.summary.metrics)
        return list(dict.fromkeys(row.name for row in rows if row.mean is not None))


def histories(runs: Iterable[RunView]) -> list[History]:
    """Return every evalset of some runs, the oldest run first whatever their order."""
    found: dict[str, list[tuple[RunView, list[Result]]]] = {}
    for run in sorted(runs, key=lambda each: each.started):
        of: dict[str, list[Result]] = {}
        for result in run.results:
            of.setdefault(result.evalset, []).append(result)
        for name, results in of.items():
            found.setdefault(name, []).append((run, results))
    return [History(name=name, snapshots=tuple(_snapshots(some))) for name, some in found.items()]


def _snapshots(some: Sequence[tuple[RunView, list[Result]]]) -> Iterator[Snapshot]:
    seen: Counter[str] = Counter()
    for run, results in some:
        name = run.commit or str(run.header.get("run_id") or "run")[:6]
        seen[name] += 1
        (summary,) = summarise(results, {}).evalsets
        yield Snapshot(
            label=name if seen[name] == 1 else f"{name} ·{seen[name]}",
            when=run.when,
            run=run,
            results=results,
            summary=summary,
            own_ms=_own(results),
            spread=dict(_spread(results)),
        )


def _ended(results: Iterable[Result]) -> list[Result]:
    return [run for run in results if run.error is None and run.latency_ms is not None]


def _own(results: Iterable[Result]) -> dict[str, float]:
    ended = _ended(results)
    return {
        stage: fsum(run.self_ms.get(stage, 0.0) for run in ended) / len(ended)
        for stage in stages_of(ended)
    }


def _spread(results: Iterable[Result]) -> Iterator[tuple[str, tuple[float, ...]]]:
    ended = _ended(results)
    if ended:
        whole = [run.latency_ms for run in ended if run.latency_ms is not None]
        yield "latency", tuple(quantile(whole, share) for share in _SHARES)
    for stage in stages_of(ended):
        times = [run.stages_ms[stage] for run in ended if stage in run.stages_ms]
        yield stage, tuple(quantile(times, share) for share in _SHARES)


def stages_of(results: Iterable[Result]) -> list[str]:
    """Return the stages that were seen, in the order of a pipeline."""
    seen = {stage for run in results for stage in run.stages_ms}
    return [s for s in STAGES if s in seen] + sorted(seen.difference(STAGES))


def average(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is known, or None."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def mean_score(runs: Iterable[Result], metric: str) -> float | None:
    """Return the mean of a metric over runs of one case, or None."""
    return average(run.scores.get(metric, {}).get("value") for run in runs)
