"""A context cut down to the sentences that matter to the query, word for word."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding  # noqa: TC002  pydantic reads it
from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from pytest_rag.pipelines.language import LANGUAGES, count_words, detect, terms
from pytest_rag.pipelines.relevance import Vocabulary, lead_of, sentences_of, weigh

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.pipelines.relevance import Found

__all__ = ["KEPT", "SentenceBudget"]

_dispatcher = get_dispatcher(__name__)

KEPT = "pytest_rag_kept"
"""Metadata key of a shortened node: where in the node's own text each kept piece stands."""

_HEADING = re.compile(r"^#{1,6}[ \t]+\S.*$", re.MULTILINE)
_MARK = re.compile(r"[ \t]*(?:[-*+•>]|\d{1,3}[.)])?[ \t]*(?:\[[ xX]\])?[ \t]*")

Span = tuple[int, int]


class SentenceBudget(BaseNodePostprocessor):
    """Keeps the sentences that best answer the query, until they have ``tokens`` words.

    A sentence counts by the query's terms it has, weighted by how few sentences have them, by its
    cosine with the query where there is an embedding model, and by the rank of its node: as the
    extractive reader weighs them. It brings the heading above it and the line that leads in its
    list or heads its table. Half of the budget goes to the best sentences; then every node keeps
    its best one while that fits, and nodes of which nothing is left go.

    Nodes keep order, ids, scores and metadata; what is left of a text is in the order it had, word
    for word. A context that fits is not touched, and neither are the nodes that were given: what is
    shortened is a copy, and tells in ``metadata["pytest_rag_kept"]`` where its pieces stood. The
    best sentence stays even where it alone is longer than the budget.

    Attributes:
        tokens: Words of all nodes together.
        embed_model: For the cosines; None does without.
    """

    tokens: int = Field(ge=1)
    embed_model: BaseEmbedding | None = None

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "SentenceBudget"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [hit.node.get_content() for hit in nodes]
        if query_bundle is None or self._fits(texts):
            return nodes
        found = sentences_of(texts)
        vectors: Any = None
        if self.embed_model is not None and found:
            vectors = (
                self.embed_model.get_text_embedding_batch([f.sentence.text for f in found]),
                self.embed_model.get_query_embedding(query_bundle.query_str),
            )
        return self._reduced(nodes, texts, found, query_bundle.query_str, vectors)

    @_dispatcher.span  # LlamaIndex opens one for the synchronous method alone
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [hit.node.get_content() for hit in nodes]
        if query_bundle is None or self._fits(texts):
            return nodes
        found = sentences_of(texts)
        vectors: Any = None
        if self.embed_model is not None and found:
            sentences = [f.sentence.text for f in found]
            vectors = (
                await self.embed_model.aget_text_embedding_batch(sentences),
                await self.embed_model.aget_query_embedding(query_bundle.query_str),
            )
        return self._reduced(nodes, texts, found, query_bundle.query_str, vectors)

    def _fits(self, texts: Sequence[str]) -> bool:
        return sum(len(count_words(text)) for text in texts) <= self.tokens

    def _reduced(
        self,
        nodes: Sequence[NodeWithScore],
        texts: Sequence[str],
        found: list[Found],
        query: str,
        vectors: Any,
    ) -> list[NodeWithScore]:
        if not found:
            return list(nodes)
        pieces = self._chosen(found, _best_first(found, query, texts, vectors), texts)
        return [
            _shortened(hit, text, sorted(spans)) if spans else hit
            for hit, text, spans in zip(nodes, texts, pieces, strict=True)
            if spans or not text.strip()  # a picture has no text to lose
        ]

    def _chosen(
        self, found: Sequence[Found], order: Sequence[int], texts: Sequence[str]
    ) -> list[set[Span]]:
        """Return the places of what stays of each text.

        Half of the budget goes to the best sentences; then each node that has none yet gets its
        best, in the order of nodes, so that it can still be cited; and the rest to the best again.
        """
        pieces: list[set[Span]] = [set() for _ in texts]
        best = {found[i].node: i for i in reversed(order)}
        each = [best[node] for node in sorted(best)]
        left = self._fill(pieces, order, self.tokens // 2, found, texts)
        left += self.tokens - self.tokens // 2
        missing = [i for i in each if not pieces[found[i].node]]
        left = self._fill(pieces, missing, left, found, texts)
        self._fill(pieces, order, left, found, texts)
        return pieces

    def _fill(
        self,
        pieces: list[set[Span]],
        order: Iterable[int],
        left: int,
        found: Sequence[Found],
        texts: Sequence[str],
    ) -> int:
        """Add sentences where they fit, the very first in any case; return what is left."""
        for i in order:
            node, own = found[i].node, len(count_words(found[i].sentence.text))
            begun = any(pieces)
            if begun and own > left:  # most of a long context: no more is asked of it
                continue
            more = _with_what_it_needs(found, i, texts[node]) - pieces[node]
            cost = sum(len(count_words(texts[node][a:b])) for a, b in more)
            if begun and cost > left:
                continue
            pieces[node] |= more
            left -= cost
        return left


def _best_first(found: list[Found], query: str, texts: Sequence[str], vectors: Any) -> list[int]:
    language = detect(query, LANGUAGES, detect(" ".join(texts), LANGUAGES))
    wanted = terms(query, language)
    having = Counter(t for f in found for t in {*terms(f.sentence.text, language)} & {*wanted})
    vocabulary = Vocabulary((language,), len(found), having)
    worth = weigh(
        found,
        {term: vocabulary.weight(term) for term in wanted},
        language,
        [0.0] * len(found) if vectors is None else _cosines(*vectors),
    )
    return sorted(range(len(found)), key=lambda i: (-worth[i].score, i))


def _cosines(sentences: Any, query: Any) -> list[float]:
    matrix, vector = np.asarray(sentences, np.float64), np.asarray(query, np.float64)
    norms = np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
    return [max(0.0, float(c)) for c in (matrix @ vector) / np.maximum(norms, 1e-9)]


def _with_what_it_needs(found: Sequence[Found], i: int, text: str) -> set[Span]:
    """Return the places of a sentence, of what leads it in, and of the heading above."""
    sentence, lead = found[i].sentence, lead_of(found, i)
    chosen = [sentence] if lead is None else [found[lead].sentence, sentence]
    spans = {_from_its_mark(text, each.start, each.end) for each in chosen}
    above = [match.span() for match in _HEADING.finditer(text, 0, sentence.start)]
    return spans.union(above[-1:])


def _from_its_mark(text: str, start: int, end: int) -> Span:
    """Let a list item begin at its mark."""
    line = text.rfind("\n", 0, start) + 1
    return (line, end) if _MARK.fullmatch(text, line, start) else (start, end)


def _shortened(hit: NodeWithScore, text: str, spans: Sequence[Span]) -> NodeWithScore:
    joined: list[str] = []
    last = 0
    for start, end in spans:
        between = text[last:start]
        if joined and between.strip():
            between = "\n" if "\n" in between else " "
        joined += [between if joined else "", text[start:end]]
        last = end
    node = hit.node.model_copy()
    node.metadata = {**(node.metadata or {}), KEPT: [list(span) for span in spans]}
    for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
        setattr(node, name, [*getattr(node, name), KEPT])
    node.set_content("".join(joined))
    return NodeWithScore(node=node, score=hit.score)
