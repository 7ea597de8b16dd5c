"""A synthesiser that quotes: the sentences that best answer the query, or a refusal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.response.schema import Response
from llama_index.core.llms import MockLLM
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import QueryBundle

from pytest_rag.pipelines.language import detect, terms
from pytest_rag.pipelines.relevance import sentences_of, weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import NodeWithScore, QueryType

    from pytest_rag.pipelines.relevance import Found, Vocabulary
    from pytest_rag.sentences import Sentence

__all__ = ["REFUSALS", "Citation", "ExtractiveSynthesizer"]

REFUSALS = {
    "en": "I don't know: no passage supports an answer.",
    "de": "Ich weiß es nicht: Keine Textstelle stützt eine Antwort.",
    "pt": "Não sei: nenhuma passagem sustenta uma resposta.",
}
"""Language → what is said where the evidence is too thin; English for all others."""

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
        found = sentences_of(text_chunks)
        vectors = self._embed_model.get_text_embedding_batch([s.text for _, s in found])
        vector = self._embed_model.get_query_embedding(query_str)
        return self._read(query_str, found, vectors, vector)

    async def aget_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
        """Return the quoted sentences, or a refusal."""
        found = sentences_of(text_chunks)
        vectors = await self._embed_model.aget_text_embedding_batch([s.text for _, s in found])
        vector = await self._embed_model.aget_query_embedding(query_str)
        return self._read(query_str, found, vectors, vector)

    def _read(
        self,
        query: str,
        found: list[Found],
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

    def _rank(self, query: str, found: list[Found], cosines: list[float]) -> list[_Candidate]:
        language = self._language(query)
        weights = {term: self._vocabulary.weight(term) for term in terms(query, language)}
        worth = weigh(found, weights, language, cosines)
        candidates = [_Candidate(*f, *w) for f, w in zip(found, worth, strict=True)]
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
