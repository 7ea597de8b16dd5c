"""How much slower one side is than the other: paired ratios of latency, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.records import Result

    Floats = NDArray[float64]

__all__ = ["LATENCY", "Ratio", "case_ratios", "latency_ratio", "stage_ratios"]

LATENCY = "latency"
"""The name of a question's whole service time among the stages."""

_FINEST_MS = 0.001  # what a record resolves; a shorter time counts as this
_RESAMPLES = 1999
_FEWEST_RESAMPLES = 999
_DRAWS = 20_000_000
_CHUNK = 1_000_000  # values in memory at a time
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as long head takes as base.

    Attributes:
        ratio: Head over base; 1.2 is a fifth slower.
        low: Lower end of the 95 % interval; None where there is too little for one.
        high: Upper end.
        base_ms: Median of base over all its measured times.
        head_ms: Likewise of head.
        cases: Measured on both sides in every round.
        left_out: Cases measured on some side, but not on both in every round.
    """

    ratio: float
    low: float | None
    high: float | None
    base_ms: float
    head_ms: float
    cases: int
    left_out: int = 0


def latency_ratio(base: Floats, head: Floats, *, seed: int = 0, left_out: int = 0) -> Ratio:
    """Return how many times as long head takes as base.

    With ``d = ln(head / base)`` of each case and round, whose two runs follow one another, the
    ratio is ``exp(mean over cases of (median over rounds of d))``: a round that something
    disturbed moves no median, and a long case weighs no more than a short one. The interval is
    the percentile bootstrap's, with cases and rounds drawn anew, each with replacement and
    independently (Owen 2007, *The pigeonhole bootstrap*): rounds are clusters of every case, since
    a slow process slows all of its cases, and more rounds of a case are no further cases.

    Args:
        base: Milliseconds, shape ``(cases, rounds)``, at least one of each; finite.
        head: Likewise, of the same cases and rounds.
        seed: Of the resampling.
        left_out: Passed on.
    """
    import numpy as np

    logs = np.log(np.maximum(head, _FINEST_MS)) - np.log(np.maximum(base, _FINEST_MS))
    low = high = None
    if min(logs.shape) > 1:
        tail = (1 - _LEVEL) / 2
        low, high = np.exp(np.quantile(_resampled(logs, seed), (tail, 1 - tail))).tolist()
    return Ratio(
        ratio=float(np.exp(np.median(logs, axis=1).mean())),
        low=low,
        high=high,
        base_ms=float(np.median(base)),
        head_ms=float(np.median(head)),
        cases=len(logs),
        left_out=left_out,
    )


def _resampled(logs: Floats, seed: int) -> Floats:
    """Return the mean of the cases' medians in resamples, of shape ``(resamples,)``."""
    import numpy as np

    rng = np.random.default_rng(seed)
    cases, rounds = logs.shape
    left = min(_RESAMPLES, max(_FEWEST_RESAMPLES, _DRAWS // logs.size))
    step = max(1, _CHUNK // logs.size)
    found = []
    while left > 0:
        some = min(step, left)
        medians = np.median(logs[:, rng.integers(rounds, size=(some, rounds))], axis=2)
        weights = rng.multinomial(cases, np.full(cases, 1 / cases), size=some)
        found.append((weights * medians.T).sum(axis=1) / cases)
        left -= some
    return np.concatenate(found)


# --- from results ---------------------------------------------------------------------------------

Times = dict[str, dict[str, "list[float | None]"]]


def stage_ratios(
    base: Sequence[Sequence[Result]], head: Sequence[Sequence[Result]]
) -> dict[str, Ratio]:
    """Return the ratio of the whole and of each stage that both sides have.

    Args:
        base: The results of each round, of one evalset.
        head: Likewise, as many rounds.
    """
    return dict(_ratios(_by_stage(base), _by_stage(head)))


def _ratios(base: Times, head: Times) -> Iterator[tuple[str, Ratio]]:
    import numpy as np

    for stage in [name for name in base if name in head]:
        sides = base[stage], head[stage]
        both = [case for case in sides[0] if case in sides[1]]
        whole = [case for case in both if not any(None in side[case] for side in sides)]
        if whole:
            was, now = (np.array([side[case] for case in whole], dtype=float) for side in sides)
            lost = len({*sides[0], *sides[1]}) - len(whole)
            yield stage, latency_ratio(was, now, left_out=lost)


def case_ratios(
    base: Sequence[Sequence[Result]], head: Sequence[Sequence[Result]]
) -> dict[str, dict[str, float]]:
    """Return ``{case: {stage: ratio}}``: ``exp(median over rounds of ln(head / base))``."""
    import numpy as np

    found: dict[str, dict[str, float]] = {}
    was, now = _by_stage(base), _by_stage(head)
    for stage in [name for name in was if name in now]:
        for case, before in was[stage].items():
            after = now[stage].get(case, [None])
            if None not in before and None not in after:
                times = (np.array([before]), np.array([after]))
                found.setdefault(case, {})[stage] = latency_ratio(*times).ratio
    return found


def _by_stage(rounds: Sequence[Sequence[Result]]) -> Times:
    """Return a time a round of each stage and case: the median over repeats, None without one."""
    from statistics import median

    times: Times = {}
    for number, results in enumerate(rounds):
        of: dict[tuple[str, str], list[float]] = {}
        for result in results:
            for stage, ms in _measured(result).items():
                of.setdefault((stage, result.case), []).append(ms)
        for (stage, case), some in of.items():
            row = times.setdefault(stage, {}).setdefault(case, [None] * len(rounds))
            row[number] = median(some)
    return {stage: times[stage] for stage in _ordered(times)}


def _ordered(stages: Iterable[str]) -> list[str]:
    from pytest_rag.types import STAGES

    known = (LATENCY, *STAGES)
    return sorted(stages, key=lambda s: (known.index(s) if s in known else len(known), s))


def _measured(result: Result) -> Mapping[str, float]:
    if result.latency_ms is None or result.error is not None or result.outcome == "not_run":
        return {}
    return {LATENCY: result.latency_ms, **result.stages_ms}
