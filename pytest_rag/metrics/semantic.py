"""Metrics of meaning without a judge, by the static word vectors that the extra ``demo`` brings.

They are fast, free and the same every time, and they understand little: a denial has nearly the
vector of what it denies. Of WordLlama's vocabulary; English best, Portuguese and German usable.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import MissingExtraError
from pytest_rag.metrics import text
from pytest_rag.metrics.answer import NO_ANSWER
from pytest_rag.metrics.gold import NOT_TOLD
from pytest_rag.sentences import split_sentences
from pytest_rag.types import Score
from pytest_rag.vectors import embed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from pytest_rag.metrics.answer import Found
    from pytest_rag.types import Case, Observation

    Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

__all__ = ["SEMANTIC_METRICS", "SemanticMetric"]

_SHOWN = 80
_REMEMBERED = 50_000  # words, a kilobyte each


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticMetric:
    """A metric of the answer's meaning by static word vectors.

    Attributes:
        name: As people write it.
        compute: The value, or None, and a reason, from the answer, the case and the run.
        needs: What the case must carry.
        version: Of the definition.
        higher_is_better: True for all of them.
    """

    name: str
    compute: Callable[[str, Case, Observation], Found]
    needs: frozenset[str] = frozenset()
    version: str = "1"
    higher_is_better: bool = True

    def require(self) -> None:
        """Make sure that the vectors are installed.

        Raises:
            MissingExtraError: if they are not; says what to type.
        """
        if find_spec("wordllama") is None:
            raise MissingExtraError(
                f"{self.name} needs the embedded model: pip install 'pytest-rag[demo]'"
            )

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:  # noqa: ARG002
        """Compute the score of one run; None with the reason where something is missing."""
        value, reason = self._found(case, observation)
        return Score(value=value, reason=reason, version=self.version)

    def _found(self, case: Case, observation: Observation) -> Found:
        if observation.answer is None:
            return None, NO_ANSWER
        if not text.words(observation.answer):
            return None, "the answer holds no words"
        if "answers" in self.needs and not case.answers:
            return None, "the case has no `answer`"
        return self.compute(observation.answer, case, observation)


def _cosine(one: str, other: str) -> float:
    first, second = embed((one, other))
    return _bounded(float(first @ second))


def _bounded(value: float) -> float:
    """Return a cosine as a score: below 0 there is nothing in common, and rounding exceeds 1."""
    return min(1.0, max(0.0, value))


_word_vectors: dict[str, Matrix] = {}


def _vectors(words: Sequence[str]) -> Matrix:
    """Return the vector of each word; most words of a corpus come again in its next text."""
    import numpy as np

    if len(_word_vectors) > _REMEMBERED:
        _word_vectors.clear()
    new = [word for word in words if word not in _word_vectors]
    if new:
        _word_vectors.update(zip(new, embed(new), strict=True))
    return np.stack([_word_vectors[word] for word in words])


# --- the metrics ------------------------------------------------------------------------------


def _semantic_similarity(answer: str, case: Case, _: Observation) -> Found:
    """Max over references r of max(0, cos(e(answer), e(r))); e is the mean of the word vectors.

    Sentence-BERT's similarity (Reimers and Gurevych 2019) with static vectors in its place.
    """
    return max(_cosine(answer, reference) for reference in case.answers), None


def _answer_relevance(answer: str, case: Case, _: Observation) -> Found:
    """max(0, cos(e(query), e(answer))): whether the answer is about what was asked.

    RAGAS' answer relevancy (Es et al. 2023) compares the query with questions that a model makes
    up for the answer; here the answer stands for them.
    """
    if not text.words(case.query):
        return None, "the query holds no words"
    return _cosine(case.query, answer), None


def _sentence_groundedness(answer: str, _: Case, observation: Observation) -> Found:
    """Mean over the answer's content words w of max over retrieved words v of cos(e(w), e(v)).

    BERTScore's precision (Zhang et al. 2020) of the answer against the retrieved texts, with
    static vectors; a word with a digit counts only where it stands there as it is. It is computed
    for each sentence, weighted by its content words, and the reason quotes the least grounded one.
    """
    from pytest_rag.metrics.refusals import is_refusal

    if is_refusal(answer):
        return None, "the answer is a refusal"
    if observation.retrieved is None:
        return None, NOT_TOLD
    known = dict.fromkeys(w for node in observation.retrieved for w in text.words(node.text))
    if not known:
        return 0.0, "nothing was retrieved"
    return _by_sentence(answer, tuple(known))


def _by_sentence(answer: str, known: tuple[str, ...]) -> Found:
    found = [s.text for s in split_sentences(answer) if text.words(s.text)] or [answer]
    words = [text.content_words(sentence) for sentence in found]
    support = _support(words, known)
    total = sum(map(len, words))
    value = sum(s * len(w) for s, w in zip(support, words, strict=True)) / total
    least = min(range(len(found)), key=support.__getitem__)
    if len(found) == 1 or support[least] >= 1.0:
        return value, None
    return value, f"least grounded, {support[least]:.2f}: {_shortened(found[least])!r}"


def _support(sentences: Sequence[Sequence[str]], known: tuple[str, ...]) -> list[float]:
    """Return the mean support of each sentence's words."""
    asked = tuple(dict.fromkeys(word for words in sentences for word in words))
    nearest = (_vectors(asked) @ _vectors(known).T).max(axis=1)
    there = set(known)
    of_word = {
        word: float(word in there) if word in there or _has_digit(word) else _bounded(float(near))
        for word, near in zip(asked, nearest, strict=True)
    }
    return [sum(of_word[word] for word in words) / len(words) for words in sentences]


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= _SHOWN else f"{sentence[: _SHOWN - 1]}…"


SEMANTIC_METRICS = (
    SemanticMetric(
        name="semantic_similarity", compute=_semantic_similarity, needs=frozenset({"answers"})
    ),
    SemanticMetric(name="answer_relevance", compute=_answer_relevance),
    SemanticMetric(name="sentence_groundedness", compute=_sentence_groundedness),
)
