"""Three published systems held against each other: SciPy's own tests say the same."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_rag import baseline
from pytest_rag.compare import compare
from pytest_rag.records import Result
from pytest_rag.stats import holm
from pytest_rag.types import GateLimit

METRICS = ("retrieval_precision", "retrieval_recall", "retrieval_mrr", "e2e_correct")
SYSTEMS = ("basic_rag", "summary_indexing", "summary_indexing_reranked")
ALPHA = 0.05


@pytest.fixture(scope="module")
def published(data_dir):
    """What was published of each system: ``{system: {question: {metric: value}}}``."""
    path = data_dir / "anthropic_docs/published_per_question.jsonl"
    found: dict[str, dict[str, dict[str, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        scores = {name: float(row[name]) for name in METRICS}
        found.setdefault(row["system"], {})[row["question"]] = scores
    return found


def measured(system) -> baseline.Measured:
    """Return a system's figures as a run would."""
    results = [
        Result(
            evalset="published",
            case=question,
            outcome="passed",
            query=question,
            scores={n: {"value": v, "reason": None, "version": "1"} for n, v in scores.items()},
        )
        for question, scores in system.items()
    ]
    return baseline.measure("published", results, {})


def scipy_p(differences: np.ndarray, tail: str) -> float:
    """Return SciPy's p-value of the paired permutation test of a mean."""
    found = scipy_stats.permutation_test(
        (differences,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        alternative=tail,
        n_resamples=9_999,
        rng=np.random.default_rng(1),
        vectorized=True,
    )
    return float(found.pvalue)


def _changes(before, now, metric: str) -> np.ndarray:
    """Return now - before a question, in twelfths: whole numbers, so that ties are ties."""
    return np.array([round(12 * (now[q][metric] - before[q][metric])) for q in sorted(before)])


def pairs(published):
    """Yield the six ordered pairs of systems."""
    return itertools.permutations(sorted(published), 2)


def test_every_verdict_is_scipys(published) -> None:
    """Means, p-values and verdicts of all ordered pairs agree with ``permutation_test``."""
    limits = [GateLimit(metric=name, max_drop=0.01) for name in METRICS]
    seen = set()
    for before, now in pairs(published):
        found = compare(measured(published[before]).baseline, measured(published[now]), limits)
        changes = {name: _changes(published[before], published[now], name) for name in METRICS}
        falls = holm([scipy_p(changes[name], "less") for name in METRICS])
        rises = holm([scipy_p(changes[name], "greater") for name in METRICS])
        for each, fall, rise in zip(found.metrics, falls, rises, strict=True):
            assert each.change == pytest.approx(changes[each.metric].mean() / 12, abs=1e-6)
            seen.add(each.verdict)
            if each.verdict not in ("improved", "unchanged") or fall < 0.5:
                assert each.p == pytest.approx(fall, abs=0.04)
            assert each.verdict == _expected(float(changes[each.metric].mean()) / 12, fall, rise)
    assert {"regressed", "improved"} <= seen


def _expected(change: float, fall: float, rise: float) -> str:
    if fall <= ALPHA:
        return "regressed" if change < -0.01 else "possible"
    if rise <= ALPHA:
        return "improved"
    return "undecided" if change < -0.01 else "unchanged"


def test_wilcoxon_sees_what_turns_red(published) -> None:
    """No drop is called real that the signed-rank test would put down to chance."""
    limits = [GateLimit(metric=name, max_drop=0.01) for name in METRICS]
    red = 0
    for before, now in pairs(published):
        found = compare(measured(published[before]).baseline, measured(published[now]), limits)
        for each in found.metrics:
            if each.verdict == "regressed":
                of = [
                    published[now][q][each.metric] - s[each.metric]
                    for q, s in published[before].items()
                ]
                assert scipy_stats.wilcoxon(of, alternative="less").pvalue <= ALPHA
                red += 1
    assert red
