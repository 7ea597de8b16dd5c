"""The summary of a run that every reporter renders; built from results and gate verdicts alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import fsum
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_rag.costs.prices import JUDGE, if_free, tokens_of
from pytest_rag.gate import by_case, case_outcome
from pytest_rag.report.troubles import advice, troubles
from pytest_rag.stats import mean_interval, quantile
from pytest_rag.types import OUTCOMES, STAGES
from pytest_rag.verdict import Held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.gate import GateResult
    from pytest_rag.records import Result
    from pytest_rag.report.troubles import Advice, Trouble
    from pytest_rag.types import Outcome

__all__ = [
    "EvalSetSummary",
    "MetricRow",
    "Summary",
    "TimeRow",
    "Usage",
    "summarise",
]

_RANKING = ("nDCG", "AP", "RR", "R", "P", "F1", "Rprec", "Success", "Judged")
_ANSWER = ("exact_match", "token_f1", "contains", "one_of", "regex", "numeric")
_METRICS = (*_RANKING, *_ANSWER, "groundedness", "refusal")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """A metric over the cases that have a value.

    Attributes:
        name: As people write it.
        n: Cases with a value.
        mean: Of the cases, repeats averaged first; None where no case has a value.
        low: Lower end of the 95 % interval of the mean; None for fewer than two cases.
        high: Its upper end, or None.
        reason: Why most of the runs without a value have none, or None.
    """

    name: str
    n: int
    mean: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRow:
    """Milliseconds of a stage, or of the whole, over the runs that came to an end.

    Attributes:
        name: ``latency`` or a stage.
        n: Runs in which it was seen.
        p50: Median of the inclusive time.
        p95: 95th percentile of the inclusive time.
        self_share: The stage's own time as a share of all latency; None for the whole.
        cpu_share: Processor time as a share of the own time, the rest being waiting, or None.
    """

    name: str
    n: int
    p50: float
    p95: float
    self_share: float | None = None
    cpu_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the runs used; a sum is None where a part of it is unknown.

    Attributes:
        input_tokens: Of language models, or None.
        output_tokens: Likewise.
        cost_usd: US dollars, or None.
        known_usd: The part of the cost that is known.
        unknown_runs: Runs whose cost is unknown.
        reason: Why most of those are unknown, or None.
        origins: Calls by origin: ``live``, ``cache``, ``cassette``.
        estimated: Calls of language models whose tokens were counted here.
        estimated_usd: Whether the cost rests on tokens counted here.
        judge_calls: Calls of judges.
        judge_usd: Their cost, which is not in the other; None where it is unknown.
    """

    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    known_usd: float
    unknown_runs: int
    reason: str | None
    origins: Mapping[str, int]
    estimated: int = 0
    estimated_usd: bool = False
    judge_calls: int = 0
    judge_usd: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSetSummary:
    """One evalset.

    Attributes:
        name: Of the evalset.
        runs: How many results there are; more than cases where cases were repeated.
        outcomes: Cases by outcome, all four of them.
        metrics: Ranking first, then the answer, then others by name.
        times: The whole first, then the stages that were seen.
        usage: Tokens, money, origins of calls.
        held: What was decided of the whole: limits, and the comparison with the baseline.
        troubles: What did not pass: failed, then error, then not run.
        advice: What was judged and decides nothing, by metric.
    """

    name: str
    runs: int
    outcomes: Mapping[Outcome, int]
    metrics: tuple[MetricRow, ...]
    times: tuple[TimeRow, ...]
    usage: Usage
    held: Held
    troubles: tuple[Trouble, ...]
    advice: tuple[Advice, ...] = ()

    @property
    def cases(self) -> int:
        """How many cases have a result."""
        return sum(self.outcomes.values())

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """Verdicts on the limits of the set."""
        return self.held.gates

    @property
    def good(self) -> bool:
        """Whether every case passed, no limit was broken and nothing regressed."""
        return not self.troubles and not self.held.bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A whole run.

    Attributes:
        evalsets: In the order they ran.
    """

    evalsets: tuple[EvalSetSummary, ...]

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """Cases of all evalsets by outcome."""
        return {o: sum(each.outcomes[o] for each in self.evalsets) for o in OUTCOMES}

    @property
    def measured(self) -> bool:
        """Whether at least one case passed or failed."""
        return self.outcomes["passed"] + self.outcomes["failed"] > 0

    @property
    def good(self) -> bool:
        """Whether something was measured, all of it passed, and nothing regressed."""
        return self.measured and all(each.good for each in self.evalsets)


def summarise(
    results: Iterable[Result],
    held: Mapping[str, Held],
    *,
    min_pass: Mapping[tuple[str, str], int] | None = None,
) -> Summary:
    """Summarise a run.

    Args:
        results: In the order they were made.
        held: What was decided, by evalset.
        min_pass: By evalset and case, how many repeats must pass; all where nothing is said.
    """
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(result.evalset, []).append(result)
    needed = min_pass or {}
    return Summary(
        evalsets=tuple(
            _evalset(runs.get(name, []), held.get(name) or Held(evalset=name), needed)
            for name in dict.fromkeys((*runs, *held))
        )
    )


def _evalset(
    runs: Sequence[Result],
    held: Held,
    min_pass: Mapping[tuple[str, str], int],
) -> EvalSetSummary:
    name, cases = held.evalset, by_case(runs)
    outcomes = {id_: case_outcome(of, min_pass.get((name, id_))) for id_, of in cases.items()}
    counts = Counter(outcomes.values())
    return EvalSetSummary(
        name=name,
        runs=len(runs),
        outcomes={outcome: counts[outcome] for outcome in OUTCOMES},
        metrics=tuple(_metrics(cases)),
        times=tuple(_times(runs)),
        usage=_usage(runs),
        held=held,
        troubles=tuple(troubles(cases, outcomes)),
        advice=tuple(advice(cases, held)),
    )


# --- metrics ----------------------------------------------------------------------------------


def _metrics(cases: Mapping[str, Sequence[Result]]) -> Iterator[MetricRow]:
    names = {name for runs in cases.values() for run in runs for name in run.scores}
    for name in sorted(names, key=_metric_order):
        means: list[float] = []
        lacking: list[str | None] = []
        for runs in cases.values():
            scores = [run.scores[name] for run in runs if name in run.scores]
            found = [score["value"] for score in scores if score["value"] is not None]
            means += [fmean(found)] if found else []
            lacking += [score.get("reason") for score in scores if score["value"] is None]
        low, high = mean_interval(means) or (None, None)
        yield MetricRow(
            name=name,
            n=len(means),
            mean=fmean(means) if means else None,
            low=low,
            high=high,
            reason=_commonest(lacking),
        )


def _metric_order(name: str) -> tuple[int, int, str]:
    measure, _, cut = name.partition("@")
    place = _METRICS.index(measure) if measure in _METRICS else len(_METRICS)
    return place, int(cut) if cut.isdecimal() else 0, name


def _commonest(reasons: Iterable[str | None]) -> str | None:
    counts = Counter(reason for reason in reasons if reason)
    return counts.most_common(1)[0][0] if counts else None


# --- time -------------------------------------------------------------------------------------


def _times(runs: Sequence[Result]) -> Iterator[TimeRow]:
    ended = [run for run in runs if run.error is None and run.latency_ms is not None]
    latencies = [run.latency_ms for run in ended if run.latency_ms is not None]
    if not latencies:
        return
    yield _time("latency", latencies)
    seen = {stage for run in ended for stage in run.stages_ms}
    for stage in [*STAGES, *sorted(seen.difference(STAGES))]:
        if stage in seen:
            own = fsum(run.self_ms.get(stage, 0.0) for run in ended)
            cpu = fsum(run.cpu_ms.get(stage, 0.0) for run in ended)
            yield _time(
                stage,
                [run.stages_ms[stage] for run in ended if stage in run.stages_ms],
                self_share=_share(own, fsum(latencies)),
                cpu_share=_share(cpu, own) if any(run.cpu_ms for run in ended) else None,
            )


def _time(name: str, values: Sequence[float], **shares: float | None) -> TimeRow:
    p50, p95 = quantile(values, 0.5), quantile(values, 0.95)
    return TimeRow(name=name, n=len(values), p50=p50, p95=p95, **shares)


def _share(part: float, whole: float) -> float | None:
    return min(part / whole, 1.0) if whole > 0 else None


# --- usage ------------------------------------------------------------------------------------


def _usage(runs: Iterable[Result]) -> Usage:
    """Sum up what runs used; one that was not run, and made no call, used nothing."""
    used = [run for run in runs if run.outcome != "not_run" or run.calls]
    known = fsum(run.cost_usd for run in used if run.cost_usd is not None)
    unknown = [run for run in used if run.cost_usd is None]
    return Usage(
        input_tokens=tokens_of(run.input_tokens for run in used),
        output_tokens=tokens_of(run.output_tokens for run in used),
        cost_usd=None if unknown else known,
        known_usd=known,
        unknown_runs=len(unknown),
        reason=_commonest(map(_why_unknown, unknown)),
        origins=dict(Counter(call.get("origin") or "live" for run in used for call in run.calls)),
        **_estimates([call for run in used for call in run.calls]),
        judge_calls=sum(call.get("stage") == JUDGE for run in used for call in run.calls),
        judge_usd=_known_sum(run.judge_cost_usd for run in used),
    )


def _estimates(calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = [call for call in calls if call.get("estimated") and call.get("stage") != JUDGE]
    return {
        "estimated": sum(call.get("stage") == "llm" for call in found),
        "estimated_usd": any(call.get("cost_usd") for call in found),
    }


def _known_sum(amounts: Iterable[float | None]) -> float | None:
    found = list(amounts)
    return None if None in found else fsum(amount or 0.0 for amount in found)


def _why_unknown(run: Result) -> str:
    for call in run.calls:
        if call.get("cost_usd") is None and call.get("stage") != JUDGE:
            model = call.get("model")
            if call.get("input_tokens") is None:
                return f"no token count for {model!r}; {if_free(str(model))}"
            return f"no price is known for {model!r}; add it to [tool.pytest-rag.prices]"
    return "the run broke" if run.error else "the pipeline tells of no calls"
