"""What became of each gold document on its way to the answer: which stage lost it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_rag.metrics import text
from pytest_rag.metrics.gold import matches
from pytest_rag.metrics.refusals import is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.types import Case, Observation, Step

__all__ = ["lost_by"]

_CUTS = re.compile(r"limit|token|context|trunc|budget|optimi", re.IGNORECASE)
_PLAIN = re.compile(r"[^#*?\[]*")
_RERANKS = re.compile(r"rerank|rank", re.IGNORECASE)


def lost_by(gold: str, case: Case, seen: Observation) -> str | None:
    """Return which stage lost a gold document, in words; None where none did, or none can tell.

    Args:
        gold: Its id as written, which may be a glob or a part of a document.
        case: For the question, and whether it has an answer.
        seen: What was retrieved at each step, and the answer.
    """
    if seen.retrieved is None:
        return None
    if _PLAIN.fullmatch(gold):  # the usual case, and a pattern asks slowly
        texts = [node.text for node in seen.retrieved if node.id == gold]
    else:
        texts = [node.text for node in seen.retrieved if _is(gold, node.id)]
    return _ignored(texts, case, seen.answer) if texts else _dropped(gold, case, seen.steps)


def _is(gold: str, document: str) -> bool:
    return matches(gold, document) or gold.rpartition("#")[0] == document


def _among(gold: str, documents: Iterable[str]) -> bool:
    return any(_is(gold, document) for document in documents)


def _dropped(gold: str, case: Case, steps: Sequence[Step]) -> str:
    """Say where a document that is not in the context went missing."""
    found = [step for step in steps if step.stage == "retrieve"]
    if not any(_among(gold, step.documents) for step in found):
        return "not retrieved under the case's filters" if case.filters else "not retrieved"
    for step in steps:
        if _among(gold, step.given) and not _among(gold, step.documents):
            return f"{_manner(step)} by {step.part}"
    return "retrieved, but not handed on to the answer"


def _manner(step: Step) -> str:
    """Name what a postprocessor does, by its own name and by whether it changed the order."""
    kept = [node for node in step.given if node in step.documents]
    if _RERANKS.search(step.part) or kept != list(step.documents):
        return "reranked out"
    return "cut from the context" if _CUTS.search(step.part) else "filtered"


def _ignored(texts: Sequence[str], case: Case, answer: str | None) -> str | None:
    """Say so where a document that the answer was given left no trace in it."""
    if not answer or not any(texts):
        return None
    if is_refusal(answer):
        return "in the context, but the answer is a refusal" if case.answerable else None
    own = set(text.content_words(answer)).difference(text.words(case.query))
    if not own or any(own.intersection(text.words(each)) for each in texts):
        return None
    return "in the context, but ignored by the answer"
