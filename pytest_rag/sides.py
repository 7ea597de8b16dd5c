"""Two sides of an evalset, measured in turn → which is slower, dearer or worse."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import fsum
from typing import TYPE_CHECKING, Any

from pytest_rag import ratios
from pytest_rag.baseline import measure
from pytest_rag.checks import number
from pytest_rag.compare import compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.baseline import Baseline, Measured
    from pytest_rag.compare import Comparison
    from pytest_rag.ratios import Ratio
    from pytest_rag.records import Result
    from pytest_rag.types import EvalSet

__all__ = ["Asked", "Rounds", "Spend", "TwoSides", "judge_sides"]

_REPEATS = 1000  # at most, in a round


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What one side measured of an evalset.

    Attributes:
        results: Of each round.
        facts: What its record's header says of the evalset.
    """

    results: Sequence[Sequence[Result]]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be judged.

    Attributes:
        evalset: With the gate that is held.
        bar: What base is, in words.
        max_slowdown: The ratio of latency that is tolerated, or None.
    """

    evalset: EvalSet
    bar: str
    max_slowdown: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a question cost on one side, the mean over all that were asked.

    Attributes:
        questions: How many were asked.
        cost_usd: US dollars; None where the cost of one is unknown.
        input_tokens: Of language models; None where those of one are unknown.
        output_tokens: Likewise.
    """

    questions: int
    cost_usd: float | None
    input_tokens: float | None
    output_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSides:
    """An evalset on both sides.

    Attributes:
        evalset: Its name.
        comparison: Verdicts on what is gated, by the rules of the baseline.
        scores: ``{metric: (base, head)}``: means over the cases that have a value on both sides.
        latency: By stage; ``latency`` is the whole.
        cases: ``{case: {stage: ratio}}``.
        base: What a question cost there.
        head: What it costs now.
        reasons: Why it is red, in words; empty where it is not.
    """

    evalset: str
    comparison: Comparison
    scores: Mapping[str, tuple[float, float]]
    latency: Mapping[str, Ratio]
    cases: Mapping[str, Mapping[str, float]]
    base: Spend
    head: Spend
    reasons: tuple[str, ...] = field(default=())

    @property
    def bad(self) -> bool:
        """Whether head is worse than is tolerated."""
        return bool(self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        told = {
            name: {"base": was, "head": now, "change": now - was}
            for name, (was, now) in self.scores.items()
        }
        return {
            "bad": self.bad,
            "reasons": list(self.reasons),
            "quality": self.comparison.to_dict(),
            "scores": told,
            "latency": {stage: asdict(ratio) for stage, ratio in self.latency.items()},
            "cases": {case: dict(of) for case, of in self.cases.items()},
            "spend": {"base": asdict(self.base), "head": asdict(self.head)},
        }


def judge_sides(asked: Asked, base: Rounds, head: Rounds) -> TwoSides:
    """Compare the rounds of both sides.

    Args:
        asked: What is to be judged.
        base: Rounds without the warm-up.
        head: As many.
    """
    before, now = _pooled(asked, base), _pooled(asked, head)
    comparison = compare(
        before.baseline,
        now,
        asked.evalset.gate,
        alpha=asked.evalset.alpha,
        declared=[case.id for case in asked.evalset.cases],
        bar=asked.bar,
        before=before.times,
    )
    latency = ratios.stage_ratios(base.results, head.results)
    slow = _too_slow(latency.get(ratios.LATENCY), asked.max_slowdown)
    return TwoSides(
        evalset=asked.evalset.name,
        comparison=comparison,
        scores=dict(_scores(before.baseline, now.baseline)),
        latency=latency,
        cases=ratios.case_ratios(base.results, head.results),
        base=_spend(base),
        head=_spend(head),
        reasons=(*_worse(comparison), *slow),
    )


def _pooled(asked: Asked, side: Rounds) -> Measured:
    """Return what all rounds of a side measured: a round's runs are further repeats of a case."""
    results = (
        replace(result, repeat=number * _REPEATS + result.repeat)
        for number, some in enumerate(side.results)
        for result in some
    )
    return measure(asked.evalset.name, results, side.facts)


def _scores(base: Baseline, head: Baseline) -> Iterator[tuple[str, tuple[float, float]]]:
    import numpy as np

    places = {case: place for place, case in enumerate(base.cases)}
    both = [(places[case], now) for now, case in enumerate(head.cases) if case in places]
    if not both:
        return
    was_at, now_at = np.array(both, dtype=np.intp).T
    columns = {"passed": (base.passed / base.runs, head.passed / head.runs)}
    shared = [name for name in head.scores if name in base.scores]
    columns |= {name: (base.scores[name], head.scores[name]) for name in sorted(shared)}
    for name, (before, after) in columns.items():
        was, now = before[was_at], after[now_at]
        known = ~np.isnan(was) & ~np.isnan(now)
        if known.any():
            yield name, (float(was[known].mean()), float(now[known].mean()))


def _spend(side: Rounds) -> Spend:
    asked = [r for results in side.results for r in results if r.outcome != "not_run"]
    return Spend(
        questions=len(asked),
        cost_usd=_mean([result.cost_usd for result in asked]),
        input_tokens=_mean([result.input_tokens for result in asked]),
        output_tokens=_mean([result.output_tokens for result in asked]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) / len(known) if known and len(known) == len(values) else None


def _worse(found: Comparison) -> Iterator[str]:
    for each in found.metrics:
        if each.refused:
            yield f"{each.metric}: {each.reason}"
        elif each.verdict == "regressed":
            yield f"{each.metric} regressed"
    for words, cases in (
        ("passed on base in every run and fail on head in every run", found.broke),
        ("broke on head and not on base", found.unmeasured),
        ("their gold is no longer in the index", found.unlabelled),
    ):
        if cases:
            some = ", ".join(cases[:5]) + (", …" if len(cases) > 5 else "")
            yield f"{words}: {some}"


def _too_slow(found: Ratio | None, most: float | None) -> Iterator[str]:
    """Yield why the latency is not tolerated; a ratio without an interval holds no limit."""
    if most is None:
        return
    if found is None:
        yield f"latency: no case was timed on both sides, and max slowdown is {number(most)}"
    elif found.low is None:
        yield (
            f"latency: an interval takes two cases and two rounds, so that a max slowdown of "
            f"{number(most)} cannot be held"
        )
    elif found.low > most:
        yield (
            f"latency: head takes at least {found.low:.2f} times as long, max slowdown "
            f"{number(most)}"
        )
