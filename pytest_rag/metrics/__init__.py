"""Metrics by name, and many of them computed over one run.

``get("nDCG@10")`` and ``get("token_f1")`` give a :class:`~pytest_rag.types.Metric`; further ones
are registered in :data:`METRICS` or by the entry-point group ``pytest_rag.metrics``.
"""

from __future__ import annotations

import difflib
import importlib
import math
import re
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError, message_of
from pytest_rag.metrics import ranking, rubric
from pytest_rag.metrics.answer import ANSWER_METRICS
from pytest_rag.metrics.facts import FACT_METRICS
from pytest_rag.metrics.semantic import SEMANTIC_METRICS
from pytest_rag.registry import Registry
from pytest_rag.types import Metric, Score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.metrics.gold import Resolved
    from pytest_rag.types import Case, Limit, Observation

__all__ = [
    "METRICS",
    "RANKING_PATTERN",
    "get",
    "lacking",
    "names",
    "of_limit",
    "score_all",
    "takes_argument",
    "validate_argument",
]

METRICS: Registry[Metric] = Registry("metric", "pytest_rag.metrics")
for _metric in (*ANSWER_METRICS, *FACT_METRICS, *SEMANTIC_METRICS):
    METRICS.register(_metric.name, _metric)

RANKING_PATTERN = ranking.PATTERN
# Metrics of other libraries: their module finds them by name.
_FAMILIES = {"ragas": "pytest_rag.metrics.ragas", "llamaindex": "pytest_rag.metrics.llamaindex"}
_CUTOFFS = (1, 3, 5, 10, 20, 50, 100)
_YAML_KEYS = {"relevant": "`relevant`", "answers": "`answer`", "argument": "something to look for"}
# What other tools call ours, folded and without signs.
_ELSEWHERE = {
    "precision": "P", "p": "P", "recall": "R", "r": "R", "ndcg": "nDCG", "ndcgcut": "nDCG",
    "map": "AP", "mapcut": "AP", "ap": "AP", "averageprecision": "AP",
    "meanaverageprecision": "AP", "mrr": "RR", "rr": "RR", "reciprocalrank": "RR",
    "reciprank": "RR", "meanreciprocalrank": "RR", "hitrate": "Success", "hit": "Success",
    "hits": "Success", "success": "Success", "judged": "Judged", "f1": "F1", "rprec": "Rprec",
    "rprecision": "Rprec", "em": "exact_match", "exactmatch": "exact_match", "f1score": "token_f1",
    "tokenf1": "token_f1", "squadf1": "token_f1", "faithfulness": "groundedness",
    "kprecision": "groundedness", "grounding": "groundedness", "abstention": "refusal",
    "includes": "contains", "matches": "regex", "number": "numeric", "anyof": "one_of",
}  # fmt: skip


# --- names ------------------------------------------------------------------------------------


def get(name: str) -> Metric:
    """Return the metric of a name.

    Raises:
        ConfigError: if there is none; names the right one, also where another tool's was written.
        MissingExtraError: if it needs a package that is not installed; says what to type.
    """
    family, dot, _ = name.partition(".")
    if dot and family in _FAMILIES:
        found: Metric | None = importlib.import_module(_FAMILIES[family]).find(name)
    else:
        found = ranking.parse(name) or METRICS.find(name)
    if found is None:
        raise ConfigError(f"Unknown metric {name!r}.{_hint(name)}")
    require = getattr(found, "require", None)
    if require is not None:
        require()
    return found


def names() -> list[str]:
    """Return every fixed name and the ranking measures at the usual cutoffs, for messages."""
    ranked = [
        name.replace("@k", f"@{k}") for name in ranking.MEASURES for k in _CUTOFFS if "@" in name
    ]
    return sorted({*METRICS.names(), *ranked, *(m for m in ranking.MEASURES if "@" not in m)})


def _hint(name: str) -> str:
    word, cutoff = _split(name)
    ours = _ELSEWHERE.get(word) or _near(word)
    if ours is None:
        return f" Choose from: {', '.join([*ranking.MEASURES, *METRICS.names()])}."
    suggestion = next(filter(_exists, _spellings(ours, cutoff)), ours)
    return f" Did you mean {suggestion!r}?"


def _split(name: str) -> tuple[str, int | None]:
    """Return the folded word and the cutoff of ``recall_at_5``, ``R@05`` or ``hit_rate@5``."""
    found = re.fullmatch(r"(.*?)(?:@|[_ -]at[_ -]?|[_ -])\s*(\d+)", name.strip(), re.ASCII)
    word, digits = found.groups() if found else (name.partition("@")[0], None)
    return re.sub(r"[\W_]", "", word).casefold(), int(digits[:6]) if digits else None


def _near(word: str) -> str | None:
    known = {**{re.sub(r"[\W_]", "", n).casefold(): n for n in METRICS.names()}, **_ELSEWHERE}
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return known[found[0]] if found else None


def _spellings(ours: str, cutoff: int | None) -> Iterable[str]:
    return (f"{ours}@{cutoff}", ours, f"{ours}@10") if cutoff != 0 else (f"{ours}@1", ours)


def _exists(name: str) -> bool:
    return ranking.parse(name) is not None or METRICS.find(name) is not None


# --- before a run -----------------------------------------------------------------------------


def lacking(metric: Metric, case: Case, argument: Any = None) -> str | None:
    """Return what the case lacks for this metric, as ``R@5 needs `relevant```, or None."""
    needs = metric.needs
    given = (("relevant", case.relevant), ("answers", case.answers))
    missing = [key for key, value in given if not value and key in needs]
    if argument is None and "argument" in needs:
        missing.append("argument")
    if missing:
        return f"{metric.name} needs {' and '.join(_YAML_KEYS[key] for key in missing)}"
    further = getattr(metric, "lacking", None)
    return further(case, argument) if further is not None else None


def of_limit(limit: Limit) -> tuple[Metric, Any]:
    """Return the metric of a limit with its argument; a rubric makes a metric of its own.

    Raises:
        ConfigError: if there is none of that name.
    """
    if rubric.is_rubric(limit.argument):
        return rubric.RubricMetric.of(limit.metric, limit.argument), None
    return get(limit.metric), limit.argument


def takes_argument(metric: Metric) -> bool:
    """Tell whether a check may give the metric something to compare with, as ``contains: five``."""
    return "argument" in metric.needs or bool(getattr(metric, "takes_argument", False))


def validate_argument(metric: Metric, argument: Any) -> str | None:
    """Return what is wrong with the argument of a check, or None."""
    check = getattr(metric, "validate_argument", None)
    return check(argument) if check is not None else None


# --- after a run ------------------------------------------------------------------------------


def score_all(
    metrics: Sequence[tuple[Metric, Any]],
    case: Case,
    observation: Observation,
    resolved: Resolved | str | None = None,
    *,
    judged: Mapping[str, Score] | None = None,
) -> dict[str, Score]:
    """Compute many metrics of one run; the gold is resolved once for all ranking measures.

    A metric that raises, or gives a number that is not finite, has the score None and the reason.

    Args:
        metrics: Each with the argument of its check, or None.
        case: The question and what is known of the right answer.
        observation: What the run showed.
        resolved: What `ranking.resolve_case` gave, where it was asked already.
        judged: Scores that were awaited, by metric name; they are taken as they are.
    """
    known = judged or {}
    ranked: ranking.Judged | str | None = None
    scores = {}
    for metric, argument in metrics:
        if metric.name in known:
            scores[metric.name] = known[metric.name]
        elif isinstance(metric, ranking.RankingMetric):
            if ranked is None:
                resolved = resolved or ranking.resolve_case(case, observation)
                ranked = ranking.judge_case(case, resolved)
            scores[metric.name] = metric.score_judged(ranked)
        else:
            scores[metric.name] = _guarded(metric, case, observation, argument)
    return scores


def _guarded(metric: Metric, case: Case, observation: Observation, argument: Any) -> Score:
    try:
        score = metric.score(case, observation, argument)
        if score.value is None or math.isfinite(score.value):
            return score
        reason = f"{metric.name} gave {score.value}"
    except Exception as error:  # noqa: BLE001 - a metric's bug must not lose a paid run
        reason = f"{type(error).__name__}: {message_of(error)}"
    return Score(value=None, reason=reason, version=metric.version)
