"""How well each sentence of a context answers a query: by its terms, its meaning, its place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_rag.pipelines.language import count_words, terms
from pytest_rag.sentences import Sentence, split_sentences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Found", "Relevance", "Vocabulary", "lead_of", "sentences_of", "weigh"]

# Weights of a sentence's score, set on three public question sets and two of our own.
_CONTEXT = 0.5  # a query term that only the heading, the lead-in or a neighbour has
_COSINE = 0.5
_RANK = 0.1  # less for every place the node stands behind the first
_FRAGMENT = 0.2  # less for fewer than four words


class Found(NamedTuple):
    """A sentence, and the place of its node among those retrieved."""

    node: int
    sentence: Sentence


class Relevance(NamedTuple):
    """What a sentence is worth to a query.

    Attributes:
        score: To order sentences by.
        evidence: The mean of the share of the query's terms it has and of its cosine, 0 to 1.
    """

    score: float
    evidence: float


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a corpus tells about words: its languages and how many nodes have a term."""

    languages: tuple[str, ...]
    nodes: int
    frequency: Mapping[str, int]

    def weight(self, term: str) -> float:
        """Return the inverse document frequency of BM25 in Lucene's form.

        Source: ln(1 + (N - n + 0.5) / (n + 0.5)), Robertson and Zaragoza, "The Probabilistic
        Relevance Framework: BM25 and Beyond", 2009, with Lucene's 1 + against negative values.
        """
        having = self.frequency.get(term, 0)
        return math.log(1 + (self.nodes - having + 0.5) / (having + 0.5))


def sentences_of(texts: Sequence[str]) -> list[Found]:
    """Return the sentences of several nodes in order."""
    return [
        Found(i, sentence) for i, text in enumerate(texts) for sentence in split_sentences(text)
    ]


def weigh(
    found: Sequence[Found], weights: Mapping[str, float], language: str, cosines: Sequence[float]
) -> list[Relevance]:
    """Return what each sentence is worth.

    Args:
        found: Sentences in order of their nodes, the best node first.
        weights: Stemmed terms of the query and how rare they are.
        language: In which sentences are stemmed.
        cosines: Of each sentence with the query, 0 to 1.
    """
    total = sum(weights.values()) or 1.0
    having = [weights.keys() & terms(sentence.text, language) for _, sentence in found]
    told = []
    for i, (node, sentence) in enumerate(found):
        near = weights.keys() & terms(sentence.context, language)
        near |= {term for j in _neighbours(found, i) for term in having[j]}
        # In order of the query: a sum of floats depends on its order, and a set has none.
        own = sum(weights[t] for t in weights if t in having[i]) / total
        around = sum(weights[t] for t in weights if t in near - having[i]) / total
        cover = own + _CONTEXT * around
        fragment = _FRAGMENT if len(count_words(sentence.text)) < 4 else 0.0
        score = cover + _COSINE * cosines[i] - _RANK * node - fragment
        told.append(Relevance(round(score, 6), (cover + cosines[i]) / 2))
    return told


def lead_of(found: Sequence[Found], i: int) -> int | None:
    """Return the place of the sentence that leads in a list item or heads a table row, or None."""
    node, sentence = found[i]
    for j in range(i - 1, -1, -1) if sentence.context else ():
        if found[j].node != node:
            return None
        if sentence.context.endswith(found[j].sentence.text):
            return j
    return None


def _neighbours(found: Sequence[Found], i: int) -> list[int]:
    return [j for j in (i - 1, i + 1) if 0 <= j < len(found) and found[j].node == found[i].node]
