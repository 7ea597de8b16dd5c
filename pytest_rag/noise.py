"""Runs of unchanged code → the noise floor of each metric: the drop that means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10, sqrt
from typing import TYPE_CHECKING

from pytest_rag.baseline import measure
from pytest_rag.gate import by_case, case_outcome
from pytest_rag.stats import quantile, student_quantile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.baseline import Baseline
    from pytest_rag.records import Result

    Floats = NDArray[float64]

__all__ = ["FEWEST_RUNS", "MetricNoise", "Noise", "find", "noise_floor"]

FEWEST_RUNS = 3
"""With two runs the floor would be 6.3 times their distance, which holds nothing."""

_LEVEL = 0.95
_TOLERANCE = 1.5e-6  # two scores that are stored with six digits
_PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricNoise:
    """How much a metric moved although nothing changed.

    Attributes:
        metric: Its name; ``passed`` is the share of runs of a case that passed.
        mean: Of the evalset, over all runs.
        spread: Between the lowest and the highest mean of a run.
        flips: How often a case's value differs between two of the runs: a share of cases, the
            mean over all pairs of runs. Of ``passed`` it is the case's verdict that differs.
        floor: See `noise_floor`.
        cases: With a value in every run; the others are left out.
    """

    metric: str
    mean: float
    spread: float
    flips: float
    floor: float
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What several runs of unchanged code showed of an evalset.

    Attributes:
        evalset: Its name.
        runs: How many there were.
        metrics: ``passed`` first, then in order of their names.
        latency: p50 and p95 of each run, in milliseconds; empty where a run has none.
        left_out: Cases that broke in some run, or were not run.
        contradicted: Whether the pipeline calls itself deterministic and is not.
    """

    evalset: str
    runs: int
    metrics: tuple[MetricNoise, ...]
    latency: tuple[tuple[float, float], ...]
    left_out: int
    contradicted: bool

    @property
    def floors(self) -> dict[str, float]:
        """The floor of each metric, as a baseline stores them."""
        return {each.metric: each.floor for each in self.metrics}


def noise_floor(means: Sequence[float] | Floats) -> float:
    """Return the drop of an evalset's mean that two runs of unchanged code show now and then.

    It is ``max(highest - lowest, t √2 s)``: the largest drop between two of the runs, or the
    one-sided 95 % prediction bound of the difference of two further runs, where that is more.
    s is the standard deviation of the runs' means, with n - 1, and t the 0.95 quantile of
    Student's t with n - 1 degrees of freedom, which is the correction for few runs: the difference
    of two normal means has √2 times the standard deviation of one, and divided by √2 s it
    follows Student's t (Hahn and Meeker 1991, *Statistical intervals*, §4.7). Of 5 runs it is
    3.0 s. It is rounded up to two digits, and 0 where all runs agree.

    Args:
        means: Of the evalset, one a run; at least two.
    """
    import numpy as np

    sample = np.asarray(means, dtype=np.float64)
    drop = float(sample.max() - sample.min())
    if drop <= _TOLERANCE:
        return 0.0
    factor = student_quantile(_LEVEL, sample.size - 1) * sqrt(2)
    return _rounded_up(max(drop, factor * float(sample.std(ddof=1))))


def _rounded_up(value: float) -> float:
    """Return at least ``value`` with two digits, so that what a message says to type is enough."""
    places = 1 - floor(log10(value))
    scale = 10.0**places
    return round(ceil(value * scale - 1e-9) / scale, max(places, 0))


def find(evalset: str, runs: Sequence[Sequence[Result]], facts: Mapping[str, object]) -> Noise:
    """Return what the runs showed.

    Args:
        evalset: Its name.
        runs: The results of each run, of this evalset alone; at least two runs.
        facts: What a record's header says of the evalset.
    """
    sides = [measure(evalset, run, facts).baseline for run in runs]
    shared = sorted(set(sides[0].cases).intersection(*(side.cases for side in sides[1:])))
    known = {result.case for run in runs for result in run}
    rows = tuple(_rows(sides, shared, _verdicts(runs, shared)))
    return Noise(
        evalset=evalset,
        runs=len(runs),
        metrics=rows,
        latency=_latency(runs),
        left_out=len(known) - len(shared),
        contradicted=bool(facts.get("deterministic")) and any(row.flips for row in rows),
    )


def _rows(
    sides: Sequence[Baseline], shared: Sequence[str], verdicts: Floats
) -> Iterator[MetricNoise]:
    """Yield a row a metric that some case has a value of in every run."""
    import numpy as np

    if not shared:
        return
    index = [_places(side, shared) for side in sides]
    pairs = list(zip(sides, index, strict=True))
    passes = np.array([(side.passed / np.maximum(side.runs, 1))[at] for side, at in pairs])
    yield _row(_PASSED, passes, verdicts)
    everywhere = set(sides[0].scores).intersection(*(side.scores for side in sides[1:]))
    for name in sorted(everywhere):
        values = np.array([side.scores[name][at] for side, at in pairs])
        values = values[:, ~np.isnan(values).any(axis=0)]
        if values.size:
            yield _row(name, values, values)


def _places(side: Baseline, cases: Sequence[str]) -> list[int]:
    place = {case: n for n, case in enumerate(side.cases)}
    return [place[case] for case in cases]


def _row(name: str, values: Floats, flipping: Floats) -> MetricNoise:
    """Return the noise of a metric from its values, of shape ``(runs, cases)``."""
    means = values.mean(axis=1)
    return MetricNoise(
        metric=name,
        mean=float(means.mean()),
        spread=float(means.max() - means.min()),
        flips=_flips(flipping),
        floor=noise_floor(means),
        cases=values.shape[1],
    )


def _flips(values: Floats) -> float:
    """Return how often a case differs between two runs, over all pairs of them."""
    import numpy as np

    first, second = np.triu_indices(len(values), 1)
    return float((np.abs(values[first] - values[second]) > _TOLERANCE).mean())


def _verdicts(runs: Sequence[Sequence[Result]], cases: Sequence[str]) -> Floats:
    """Return 1 where a case passed, shape ``(runs, cases)``; repeats count as `min_pass` says."""
    import numpy as np

    found = []
    for run in runs:
        of = by_case(run)
        found.append([_passed(of[case]) for case in cases])
    return np.array(found, dtype=np.float64)


def _passed(repeats: Sequence[Result]) -> bool:
    needed = ceil(repeats[0].min_pass * len(repeats) - 1e-9)
    return case_outcome(repeats, needed) == _PASSED


def _latency(runs: Sequence[Sequence[Result]]) -> tuple[tuple[float, float], ...]:
    found = []
    for run in runs:
        times = [result.latency_ms for result in run if result.latency_ms is not None]
        if not times:
            return ()
        found.append((quantile(times, 0.5), quantile(times, 0.95)))
    return tuple(found)
