"""A synthesiser that quotes: the sentences that best answer the query, or a refusal."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.response.schema import Response
from llama_index.core.llms import MockLLM
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import QueryBundle

from pytest_rag.pipelines.language import count_words, detect, terms
from pytest_rag.sentences import Sentence, split_sentences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import NodeWithScore, QueryType

__all__ = ["REFUSALS", "Citation", "ExtractiveSynthesizer", "Vocabulary"]

REFUSALS = {
    "en": "I don't know: no passage supports an answer.",
    "de": "Ich weiß es nicht: Keine Textstelle stützt eine Antwort.",
    "pt": "Não sei: nenhuma passagem sustenta uma resposta.",
}
"""Language → what is said where the evidence is too thin; English for all others."""

# Weights of a sentence's score, set on three public question sets and two of our own.
_CONTEXT = 0.5  # a query term that only the heading, the lead-in or a neighbour has
_COSINE = 0.5
_RANK = 0.1  # less for every place the node stands behind the first
_FRAGMENT = 0.2  # less for fewer than four words
_NEAR = 0.9  # a further sentence is quoted if its score is this part of the best


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a quoted sentence stands.

    Attributes:
        node: Id of the node.
        document: Id of the document the node belongs to, or None.
        start: First character in the node's text.
        end: One behind the last.
        text: The sentence as quoted.
    """

    node: str
    document: str | None
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the corpus tells about words: its languages and how many nodes have a term."""

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


@dataclass(frozen=True, slots=True)
class _Candidate:
    node: int
    sentence: Sentence
    score: float
    evidence: float


class _Quotes(str):
    """The answer's text with what it rests on: the base class lets only a string through."""

    __slots__ = ("evidence", "picked")
    picked: Sequence[_Candidate]
    evidence: float

    @classmethod
    def of(cls, text: str, picked: Sequence[_Candidate], evidence: float) -> _Quotes:
        quotes = cls(text)
        quotes.picked, quotes.evidence = picked, evidence
        return quotes


class ExtractiveSynthesizer(BaseSynthesizer):
    """Answers with sentences of the context, word for word, and never calls a language model.

    A sentence scores by the share of the query's terms it has, weighted by rarity, by its cosine
    with the query, and by the rank of its node. The evidence is the best sentence's mean of
    both, 0 to 1; below ``min_evidence`` the answer is a refusal in the query's language.
    ``Response.metadata`` holds ``citations``, ``evidence`` and ``refused``.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        embed_model: BaseEmbedding,
        min_evidence: float,
        max_sentences: int,
    ) -> None:
        super().__init__(llm=MockLLM())  # the base class would ask for a real one
        self._vocabulary, self._embed_model = vocabulary, embed_model
        self._min_evidence, self._max_sentences = min_evidence, max_sentences

    def synthesize(
        self, query: QueryType, nodes: list[NodeWithScore], *args: Any, **kwargs: Any
    ) -> Any:
        """Answer from the nodes; none at all is a refusal."""
        response = super().synthesize(query, nodes, *args, **kwargs)
        return response if nodes else self._prepare_response_output(self._refuse(query), [])

    async def asynthesize(
        self, query: QueryType, nodes: list[NodeWithScore], *args: Any, **kwargs: Any
    ) -> Any:
        """Answer from the nodes; none at all is a refusal."""
        response = await super().asynthesize(query, nodes, *args, **kwargs)
        return response if nodes else self._prepare_response_output(self._refuse(query), [])

    def get_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
        """Return the quoted sentences, or a refusal."""
        found = _candidates(text_chunks)
        vectors = self._embed_model.get_text_embedding_batch([s.text for _, s in found])
        vector = self._embed_model.get_query_embedding(query_str)
        return self._read(query_str, found, vectors, vector)

    async def aget_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
        """Return the quoted sentences, or a refusal."""
        found = _candidates(text_chunks)
        vectors = await self._embed_model.aget_text_embedding_batch([s.text for _, s in found])
        vector = await self._embed_model.aget_query_embedding(query_str)
        return self._read(query_str, found, vectors, vector)

    def _read(
        self,
        query: str,
        found: list[tuple[int, Sentence]],
        vectors: list[list[float]],
        vector: list[float],
    ) -> _Quotes:
        if not found:
            return self._refuse(query)
        cosines = np.asarray(vectors, np.float32) @ np.asarray(vector, np.float32)
        ranked = self._rank(query, found, [max(0.0, float(c)) for c in cosines])
        evidence = ranked[0].evidence
        if evidence < self._min_evidence:
            return self._refuse(query, evidence)
        enough = ranked[0].score * _NEAR
        picked = [c for c in ranked[: self._max_sentences] if c.score >= enough]
        picked.sort(key=lambda c: (c.node, c.sentence.start))
        return _Quotes.of(" ".join(c.sentence.text for c in picked), picked, evidence)

    def _rank(
        self, query: str, found: list[tuple[int, Sentence]], cosines: list[float]
    ) -> list[_Candidate]:
        language = self._language(query)
        weights = {term: self._vocabulary.weight(term) for term in terms(query, language)}
        total = sum(weights.values()) or 1.0
        having = [weights.keys() & terms(sentence.text, language) for _, sentence in found]
        candidates = []
        for i, (node, sentence) in enumerate(found):
            near = weights.keys() & terms(sentence.context, language)
            near |= {t for j in _neighbours(found, i) for t in having[j]}
            own = sum(weights[t] for t in having[i]) / total
            around = sum(weights[t] for t in near - having[i]) / total
            cover = own + _CONTEXT * around
            fragment = _FRAGMENT if len(count_words(sentence.text)) < 4 else 0.0
            score = cover + _COSINE * cosines[i] - _RANK * node - fragment
            candidates.append(_Candidate(node, sentence, round(score, 6), (cover + cosines[i]) / 2))
        return sorted(candidates, key=lambda c: (-c.score, c.node, c.sentence.start))

    def _language(self, query: str) -> str:
        return detect(query, self._vocabulary.languages, self._vocabulary.languages[0])

    def _refuse(self, query: QueryType, evidence: float = 0.0) -> _Quotes:
        text = query.query_str if isinstance(query, QueryBundle) else query
        language = detect(text, {*REFUSALS, *self._vocabulary.languages}, self._language(text))
        return _Quotes.of(REFUSALS.get(language, REFUSALS["en"]), (), evidence)

    def _prepare_response_output(
        self, response_str: Any, source_nodes: list[NodeWithScore]
    ) -> Response:
        quotes: _Quotes = response_str
        nodes = [hit.node for hit in source_nodes]
        citations = [
            Citation(
                node=nodes[c.node].node_id,
                document=nodes[c.node].ref_doc_id,
                start=c.sentence.start,
                end=c.sentence.end,
                text=c.sentence.text,
            )
            for c in quotes.picked
        ]
        metadata = {
            "citations": [asdict(citation) for citation in citations],
            "evidence": round(quotes.evidence, 6),
            "refused": not citations,
        }
        return Response(str(quotes), source_nodes=source_nodes, metadata=metadata)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts_dict: dict[str, Any]) -> None:
        """Change nothing: there is no prompt."""


def _candidates(chunks: Sequence[str]) -> list[tuple[int, Sentence]]:
    return [(i, sentence) for i, chunk in enumerate(chunks) for sentence in split_sentences(chunk)]


def _neighbours(found: list[tuple[int, Sentence]], i: int) -> list[int]:
    return [j for j in (i - 1, i + 1) if 0 <= j < len(found) and found[j][0] == found[i][0]]
