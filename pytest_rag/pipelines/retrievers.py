"""BM25, dense and hybrid retrievers over one set of nodes, with metadata filters per query.

The stock ones do not serve here as they are. ``BM25Retriever``, the base of the lexical one, knows
one language, keeps stop words in the query, fixes its filters when it is built and rebuilds every
node of a result from JSON: four times as long a query on 5,000 nodes. ``SimpleVectorStore``
compares vectors one by one in Python: more than ten times as long.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import bm25s
import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index.retrievers.bm25 import BM25Retriever

from pytest_rag.pipelines.fusion import reciprocal_rank, weighted
from pytest_rag.pipelines.keeping import embedded
from pytest_rag.pipelines.language import detect, terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import TextNode
    from numpy.typing import NDArray

# bm25s sets its own logger to DEBUG; what it says then stands beside every failed case.
logging.getLogger("bm25s").setLevel(logging.WARNING)

__all__ = [
    "DenseRetriever",
    "FilteredQuery",
    "HybridRetriever",
    "LexicalIndex",
    "LexicalRetriever",
    "NodeStore",
]


@dataclass
class FilteredQuery(QueryBundle):
    """A query that carries its metadata filters to every retriever it reaches.

    A retriever whose class has ``rag_filtered = True`` reads them.

    Attributes:
        filters: Metadata key → the value a node must have, or a list of values of which it must
            have one. A node whose own value is a list matches with any of its items.
    """

    filters: Mapping[str, Any] = field(default_factory=dict)


class NodeStore:
    """Nodes in a fixed order with what retrievers ask of them; never changed once built.

    ``made_of`` tells the nodes from others, to whoever keeps what was retrieved of them.
    """

    def __init__(
        self,
        nodes: Sequence[TextNode],
        *,
        languages: Mapping[str, str],
        default_filters: Mapping[str, Any],
        made_of: str = "",
    ) -> None:
        self.made_of = made_of
        self.nodes = tuple(nodes)
        self.node_languages = tuple(languages[str(node.ref_doc_id)] for node in nodes)
        self.default_filters = dict(default_filters)
        counted = Counter(self.node_languages)
        self.languages = tuple(sorted(counted, key=lambda code: (-counted[code], code)))
        self._having: dict[tuple[str, Any], list[int]] = defaultdict(list)
        for index, node in enumerate(nodes):
            for key, value in node.metadata.items():
                for item in value if isinstance(value, list) else [value]:
                    self._having[key, _comparable(item)].append(index)
        self._having.default_factory = None

    def terms(self) -> list[list[str]]:
        """Return the stems of each node, by its own language."""
        return [
            terms(node.get_content(metadata_mode=MetadataMode.EMBED), language)
            for node, language in zip(self.nodes, self.node_languages, strict=True)
        ]

    def language(self, query: str) -> str:
        """Return the language of the corpus the query seems to be in."""
        return detect(query, self.languages, self.languages[0])

    def mask(self, query: QueryBundle) -> NDArray[np.bool_] | None:
        """Return which nodes the query's filters let through; None where it has no filter."""
        filters = {**self.default_filters, **getattr(query, "filters", {})}
        if not filters:
            return None
        mask = np.ones(len(self.nodes), dtype=bool)
        for key, wanted in filters.items():
            mask &= self._matching(key, wanted)
        return mask

    def _matching(self, key: str, wanted: Any) -> NDArray[np.bool_]:
        matching = np.zeros(len(self.nodes), dtype=bool)
        for value in wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]:
            matching[self._having.get((key, _comparable(value)), [])] = True
        return matching

    def best(
        self, scores: NDArray[np.floating[Any]], k: int, mask: NDArray[np.bool_] | None
    ) -> list[NodeWithScore]:
        """Return the k best nodes that pass the mask; ties keep the corpus order."""
        # Rounding makes order independent of the last bits that differ between processors.
        rounded = np.round(scores.astype(np.float64), 6)
        allowed = np.arange(len(rounded)) if mask is None else np.flatnonzero(mask)
        order = allowed[np.argsort(-rounded[allowed], kind="stable")][:k]
        return [NodeWithScore(node=self.nodes[i], score=float(rounded[i])) for i in order]


def _comparable(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bool | int | float):
        return (type(value) is bool, value)  # True == 1 in Python, and not in anybody's metadata
    return value if isinstance(value, str | None) else repr(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalIndex:
    """What BM25 knows of nodes; never changed once built.

    Attributes:
        bm25: The index.
        document_frequency: In how many nodes each term stands.
    """

    bm25: Any
    document_frequency: Mapping[str, int]

    @classmethod
    def of(cls, corpus: Sequence[Sequence[str]], *, k1: float, b: float) -> Self:
        """Index the terms of each node."""
        bm25 = bm25s.BM25(method="lucene", k1=k1, b=b)
        bm25.index(corpus, show_progress=False)
        frequency = Counter(term for found in corpus for term in set(found))
        return cls(bm25=bm25, document_frequency=frequency)


class LexicalRetriever(BM25Retriever):  # type: ignore[misc] # it has no types
    """BM25 (Lucene's variant) over stems of each node's own language.

    The query is stemmed for every language of the corpus. Nodes that share no term are left out.
    """

    rag_filtered: ClassVar[bool] = True

    def __init__(self, store: NodeStore, index: LexicalIndex, *, top_k: int) -> None:
        self._store, self._top_k = store, top_k
        self.document_frequency = index.document_frequency
        super().__init__(existing_bm25=index.bm25, similarity_top_k=min(top_k, len(store.nodes)))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        wanted = self._query_terms(query_bundle.query_str)
        if not wanted:
            return []
        scores = self.bm25.get_scores(wanted)
        mask = scores > 0
        allowed = self._store.mask(query_bundle)
        return self._store.best(scores, self._top_k, mask if allowed is None else mask & allowed)

    def _query_terms(self, query: str) -> list[str]:
        own = self._store.language(query)
        found = terms(query, own)
        for code in self._store.languages:
            found += [] if code == own else set(terms(query, code)).difference(found)
        return sorted(term for term in found if term in self.document_frequency)


class DenseRetriever(BaseRetriever):
    """Cosine similarity of normalised embeddings, computed exactly over all nodes."""

    rag_filtered: ClassVar[bool] = True

    def __init__(self, store: NodeStore, *, embed_model: BaseEmbedding, top_k: int) -> None:
        super().__init__()
        self._store, self._top_k, self._embed_model = store, top_k, embed_model
        texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in store.nodes]
        self._matrix = _unit(np.asarray(embedded(embed_model, texts), np.float32))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector = self._embed_model.get_query_embedding(query_bundle.query_str)
        return self._search(query_bundle, vector)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        vector = await self._embed_model.aget_query_embedding(query_bundle.query_str)
        return self._search(query_bundle, vector)

    def _search(self, query: QueryBundle, vector: Sequence[float]) -> list[NodeWithScore]:
        scores = self._matrix @ _unit(np.asarray(vector, np.float32))
        return self._store.best(scores, self._top_k, self._store.mask(query))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(norms, np.float32(1e-9))
    return scaled


class HybridRetriever(BaseRetriever):
    """Fuses a lexical and a dense ranking of the same nodes.

    ``QueryFusionRetriever`` wants a language model even where it never calls it, and scales by
    the worst score it happened to see.
    """

    rag_filtered: ClassVar[bool] = True

    def __init__(
        self,
        lexical: LexicalRetriever,
        dense: DenseRetriever,
        *,
        fusion: str,
        dense_weight: float,
        top_k: int,
    ) -> None:
        super().__init__()
        self._lexical, self._dense = lexical, dense
        self._fusion, self._dense_weight, self._top_k = fusion, dense_weight, top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._fuse(self._lexical.retrieve(query_bundle), self._dense.retrieve(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._fuse(
            await self._lexical.aretrieve(query_bundle), await self._dense.aretrieve(query_bundle)
        )

    def _fuse(
        self, lexical: list[NodeWithScore], dense: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        nodes = {hit.node.node_id: hit.node for hit in [*lexical, *dense]}
        halves = [{hit.node.node_id: hit.get_score() for hit in half} for half in (lexical, dense)]
        if self._fusion == "rrf":
            fused = reciprocal_rank([list(half) for half in halves])
        else:
            fused = weighted(*halves, dense_weight=self._dense_weight)
        order = sorted(fused, key=lambda name: -round(fused[name], 9))[: self._top_k]
        return [NodeWithScore(node=nodes[name], score=fused[name]) for name in order]
