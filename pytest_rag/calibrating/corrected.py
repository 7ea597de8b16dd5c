"""The scores of a run and human labels → the mean that people would give, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_rag.calibrating.people import question_key
from pytest_rag.correction import case_values
from pytest_rag.errors import CalibrationError
from pytest_rag.registry import did_you_mean
from pytest_rag.stats.prediction import Powered, powered_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.calibrating.findings import Finding
    from pytest_rag.calibrating.human import Judged
    from pytest_rag.records import Result

__all__ = ["Corrected", "correct"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A mean of scores, corrected by human labels.

    Attributes:
        alone: Mean of the run's scores.
        powered: What people would say on average.
        labels: The same by the labels alone, which is less sure.
    """

    alone: float
    powered: Powered
    labels: Powered


def correct(finding: Finding, rows: Sequence[Judged], results: Sequence[Result]) -> Corrected:
    """Return the mean of a run as people would judge it, by prediction-powered inference.

    Answers that people labelled are left out of the run: they would count twice. Repeats of a
    case are averaged.

    Args:
        finding: Of the metric; its judge and prompt must be the run's.
        rows: The labelled answers.
        results: Of one evalset.

    Raises:
        CalibrationError: if the run has no such scores, or the labels are too few.
    """
    name = finding.metric
    if finding.pairs is None:
        raise CalibrationError(f"{name}: a mean is corrected by two labelled questions or more.")
    versions = {run.scores[name]["version"] for run in results if name in run.scores}
    if not versions:
        known = {each for run in results for each in run.scores}
        raise CalibrationError(f"The run holds no score {name!r}.{did_you_mean(name, known)}")
    if versions != {finding.version}:
        told = ", ".join(map(repr, sorted(versions)))
        raise CalibrationError(
            f"{name}: the run's scores are of version {told}, those of the labelled answers of "
            f"{finding.version!r}: another judge or prompt. Run the cases again."
        )
    known_answers = {(question_key(row.question), row.answer) for row in rows}

    def is_new(runs: Sequence[Result]) -> bool:
        return all((question_key(run.query), run.answer) not in known_answers for run in runs)

    means = case_values(results, name)
    if not means:
        raise CalibrationError(f"The run has no value of {name!r}.")
    return Corrected(
        alone=fmean(means),
        powered=powered_mean(finding.pairs, case_values(results, name, is_new)),
        labels=powered_mean(finding.pairs, ()),
    )
