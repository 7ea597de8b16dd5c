"""Scores and what people said → how far a metric may be trusted, by a rule that is written down."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pytest_rag.calibrating.people import question_key
from pytest_rag.stats.agreement import (
    Estimate,
    Table,
    agreement,
    auc,
    best_threshold,
    clusters_of,
    cross_validated,
    kendall,
    rank_agreement,
    spearman,
)
from pytest_rag.stats.prediction import Labelled, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.calibrating.chosen import Chosen
    from pytest_rag.calibrating.measured import Measured
    from pytest_rag.calibrating.people import People
    from pytest_rag.calibration import Use

__all__ = ["FLOOR", "SUBSTANTIAL", "Finding", "Stability", "find"]

SUBSTANTIAL = 0.6
"""What the lower end must reach to gate: "substantial" agreement in Landis and Koch (1977)."""

FLOOR = 0.4
"""What it must reach at least where people agree among themselves less than that: "moderate"."""

_MOST_LOST = 0.1
_NONE = Estimate(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Whether a judge says the same again.

    Attributes:
        answers: Judged more than once.
        times: How often, at most.
        same: The share of them that are called the same every time: on one side of the threshold,
            or where labels are grades, given one score.
        spread: Mean distance of two judgements of an answer that follow each other.
    """

    answers: int
    times: int
    same: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one metric.

    Attributes:
        metric: Its name.
        version: Of its scores; empty where there was none.
        prompt: The version without the judge: what the judge is asked.
        judge: The model that was asked, or None.
        higher_is_better: Whether more is better.
        answers: With a score and a label.
        questions: How many different ones they answer.
        lost: Answers without a score.
        why_lost: Why most of them have none, or None.
        kappa: Of what held-out thresholds call the answers, and people; for yes-or-no labels.
        right: The share on which these agree.
        table: How they met, or None.
        auc: The chance that a good answer scores above a bad one.
        threshold: The score from which on, or down to which, an answer is called good; of all
            answers together. None where labels are grades, or nothing parts the answers.
        spearman: Rank correlation with grades.
        kendall: The same by Kendall's tau-b.
        people: How far people agree among themselves, or None.
        stability: Where it was judged repeatedly.
        judgements: Made by a judge.
        cost_usd: Of one of them; None where it is unknown or nobody was asked.
        pairs: What a mean is corrected by, a question counting once.
        use: What it is good for.
        why: The reason for that, in words.
    """

    metric: str
    version: str
    prompt: str
    judge: str | None
    higher_is_better: bool
    answers: int
    questions: int
    lost: int
    why_lost: str | None
    kappa: Estimate = _NONE
    right: Estimate = _NONE
    table: Table | None = None
    auc: Estimate = _NONE
    threshold: float | None = None
    spearman: Estimate = _NONE
    kendall: Estimate = _NONE
    people: Estimate | None = None
    stability: Stability | None = None
    judgements: int = 0
    cost_usd: float | None = None
    pairs: Labelled | None = None
    use: Use
    why: str

    @property
    def whole(self) -> bool:
        """Whether it may take an earlier one's place: a judge that was down says nothing."""
        few = self.lost <= _MOST_LOST * (self.answers + self.lost)
        return self.answers > 0 and (few or self.judge is None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON: an estimate is its value and the ends of its interval."""
        told = asdict(self)
        del told["metric"]
        for name in ("kappa", "right", "auc", "spearman", "kendall", "people"):
            estimate = told[name]
            told[name] = None if estimate is None or estimate[0] is None else list(estimate)
        if self.table is not None:
            told["table"] = self.table._asdict()
        return {name: value for name, value in told.items() if value is not None or name == "judge"}


def find(chosen: Chosen, measured: Measured, people: People, *, seed: int = 0) -> Finding:
    """Say how far a metric agrees with people, and what it is good for.

    Args:
        chosen: The metric.
        measured: Its scores, by row of the people's.
        people: What they said.
        seed: Of folds and resampling.
    """
    told = _compared(chosen, measured, people, seed)
    answers = told.pop("answers", 0)
    lost = len(measured.values) - answers
    why_lost = measured.lost.most_common(1)[0][0] if measured.lost else None
    use, why = _use(told, people, answers=answers, lost=lost, why_lost=why_lost)
    version, judge = measured.version or chosen.metric.version, measured.judge
    return Finding(
        metric=chosen.metric.name,
        version=version,
        prompt=version.removesuffix(f" {judge}") if judge else version,
        judge=judge,
        higher_is_better=chosen.metric.higher_is_better,
        answers=answers,
        lost=lost,
        why_lost=why_lost,
        people=people.among,
        stability=_stability(measured, told.get("threshold")),
        judgements=measured.judgements,
        cost_usd=_each(measured),
        use=use,
        why=why,
        **told,
    )


def _compared(chosen: Chosen, measured: Measured, people: People, seed: int) -> dict[str, Any]:
    """Return the figures of answers that have both a score and a label."""
    import numpy as np

    kept = [(n, value) for n, value in enumerate(measured.values) if value is not None]
    if not kept:
        return {"questions": 0}
    sign = 1.0 if chosen.metric.higher_is_better else -1.0
    scores = np.array([value for _, value in kept], dtype=float)
    labels = np.array([people.values[n] for n, _ in kept], dtype=float)
    questions = [question_key(people.rows[n].question) for n, _ in kept]
    compare = _binary if people.kind == "binary" else _graded
    told = compare(scores * sign, labels, clusters_of(questions), seed)
    if told.get("threshold") is not None:
        told["threshold"] *= sign
    told["answers"], told["questions"] = len(kept), len(set(questions))
    told["pairs"] = labelled(*_by_question(questions, labels, scores))
    return told


def _binary(scores: Any, labels: Any, clusters: Any, seed: int) -> dict[str, Any]:
    people = labels == 1.0
    told: dict[str, Any] = {"auc": rank_agreement(auc, scores, people, clusters, seed=seed)}
    said = cross_validated(scores, people, clusters, seed=seed)
    if said is not None:
        told["kappa"], told["right"] = agreement(said, people, clusters, seed=seed)
        told["table"] = Table.of(said, people)
        told["threshold"] = best_threshold(scores, people)
    return told


def _graded(scores: Any, labels: Any, clusters: Any, seed: int) -> dict[str, Any]:
    return {
        "spearman": rank_agreement(spearman, scores, labels, clusters, seed=seed),
        "kendall": rank_agreement(kendall, scores, labels, clusters, seed=seed),
    }


def _by_question(
    questions: Sequence[str], labels: Any, scores: Any
) -> tuple[list[float], list[float]]:
    """Return labels and scores, each averaged over the answers to a question."""
    grouped: dict[str, list[tuple[float, float]]] = {}
    for question, label, score in zip(questions, labels.tolist(), scores.tolist(), strict=True):
        grouped.setdefault(question, []).append((label, score))
    human = [fmean(label for label, _ in pairs) for pairs in grouped.values()]
    return human, [fmean(score for _, score in pairs) for pairs in grouped.values()]


def _each(measured: Measured) -> float | None:
    if not measured.judgements or measured.cost_usd is None:
        return None
    return measured.cost_usd / measured.judgements


def _stability(measured: Measured, threshold: float | None) -> Stability | None:
    found = [[v for v in values if v is not None] for values in measured.again.values()]
    repeated = [values for values in found if len(values) > 1]
    if not repeated:
        return None
    called = [{v if threshold is None else v >= threshold for v in values} for values in repeated]
    steps = [abs(b - a) for values in repeated for a, b in pairwise(values)]
    return Stability(
        answers=len(repeated),
        times=max(map(len, repeated)),
        same=fmean(len(each) == 1 for each in called),
        spread=fmean(steps),
    )


# --- the rule ---------------------------------------------------------------------------------


def _use(
    told: dict[str, Any], people: People, *, answers: int, lost: int, why_lost: str | None
) -> tuple[Use, str]:
    """Return what a metric is good for, and why.

    Agreement is Cohen's kappa, or Spearman's correlation with grades; the lower end of its 95 %
    interval decides. Not above 0: no better than chance, ``do not use``. To gate it must reach
    0.6, or where people agree among themselves less than that, what they reach, and 0.4 at least;
    and no more than a tenth of the answers may be without a score. Anything else is advice.
    """
    name, found = "κ", told.get("kappa", _NONE)
    if people.kind == "graded":
        name, found = "rank correlation", told.get("spearman", _NONE)
    if not answers:
        return "do not use", f"no answer got a score: {why_lost}"
    if found.value is None or found.low is None:
        return "do not use", _nothing(told, people)
    agrees = f"{name} {found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    if found.low <= 0:
        return "do not use", f"{agrees} is not shown to be better than chance"
    bar, whose = SUBSTANTIAL, ""
    if people.among is not None and people.among.value is not None:
        bar = min(SUBSTANTIAL, max(FLOOR, people.among.value))
        whose = f"; people among themselves reach {people.among.value:.2f}"
    if found.low < bar:
        return "advise", f"{agrees}, and to gate its lower end must reach {bar:.2g}{whose}"
    if lost > _MOST_LOST * (answers + lost):
        return (
            "advise",
            f"{agrees}, but {lost} of {answers + lost} answers got no score: {why_lost}",
        )
    return "gate", f"{agrees} reaches {bar:.2g}{whose}"


def _nothing(told: dict[str, Any], people: People) -> str:
    if len(set(people.values)) == 1:
        return "people said the same of every answer, which shows nothing"
    ranked = told.get("auc", told.get("spearman", _NONE)).value
    if ranked not in (None, 0.5):
        return "there are too few questions to choose by some and try it on the others"
    return "its scores do not tell the answers apart"
