"""A retriever that reads metadata filters out of the query."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever

from pytest_rag.errors import ConfigError
from pytest_rag.pipelines.filters import with_filters
from pytest_rag.pipelines.optimise.facets import Facets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle

__all__ = ["InferredFilters"]


class InferredFilters(BaseRetriever):
    """Searches only nodes with the metadata that the query names; all where that finds too little.

    What counts as named is told by `Facets.named`: a value beside its key, a value that is a word
    of its group alone, a language that is not the usual one. Filters of the query or the
    retriever itself hold beside, and before, what is read here.

    Attributes:
        nodes: Of the index, as they were given.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        nodes: Iterable[BaseNode],
        *,
        least: int = 1,
        language_key: str = "language",
        names: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Wrap a retriever.

        Args:
            retriever: With a place for filters, such as an index's own.
            nodes: Of its index: ``index.docstore.docs.values()``. They are read once.
            least: Where fewer are found with filters, those of a search without stand behind.
            language_key: Of the metadata, where it holds codes such as ``pt``.
            names: What people call a key: ``{"department": ["team", "Abteilung"]}``.

        Raises:
            ConfigError: if ``least`` is below 0.
            PipelineError: if the retriever takes no filters.
        """
        super().__init__()
        if isinstance(least, bool) or not isinstance(least, int) or least < 0:
            raise ConfigError(f"least must be an integer of at least 0, not {least!r}.")
        if not _reads_them(retriever):
            with_filters(retriever, {})
        self._retriever, self._least = retriever, least
        self.nodes = tuple(nodes)
        self._facets = Facets(self.nodes, language_key=language_key, names=names)

    def infer(self, query: str) -> dict[str, list[Any]]:
        """Return the filters that are read out of a query: key → values of which one must match."""
        return self._facets.named(query)

    def candidates(self, query: str) -> int:
        """Return how many nodes are searched for a query."""
        return self._facets.passing(self.infer(query))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        retriever, query = self._narrowed(query_bundle)
        as_it_was = retriever is self._retriever and query is query_bundle
        found: list[NodeWithScore] = retriever.retrieve(query)
        if as_it_was or len(found) >= self._least:
            return found
        return _behind(found, self._retriever.retrieve(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        retriever, query = self._narrowed(query_bundle)
        as_it_was = retriever is self._retriever and query is query_bundle
        found: list[NodeWithScore] = await retriever.aretrieve(query)
        if as_it_was or len(found) >= self._least:
            return found
        return _behind(found, await self._retriever.aretrieve(query_bundle))

    def _narrowed(self, query: QueryBundle) -> tuple[Any, QueryBundle]:
        """Return what to ask and how; both as they were where the query names nothing."""
        told = getattr(query, "filters", None) or {}
        more = {k: v for k, v in self.infer(query.query_str).items() if k not in told}
        if not more:
            return self._retriever, query
        if not _reads_them(self._retriever):
            return with_filters(self._retriever, more), query
        from pytest_rag.pipelines.retrievers import FilteredQuery

        if isinstance(query, FilteredQuery):
            return self._retriever, replace(query, filters={**told, **more})
        plain = (query.query_str, query.image_path, query.custom_embedding_strs, query.embedding)
        return self._retriever, FilteredQuery(*plain, filters=more)


def _reads_them(retriever: Any) -> bool:
    """Tell whether a retriever takes filters from the query: ours, or one around ours."""
    inner = getattr(retriever, "__dict__", {}).get("_retriever")
    return getattr(retriever, "rag_filtered", False) or (inner is not None and _reads_them(inner))


def _behind(found: list[NodeWithScore], all_of_them: list[NodeWithScore]) -> list[NodeWithScore]:
    have = {hit.node.node_id for hit in found}
    return [*found, *(hit for hit in all_of_them if hit.node.node_id not in have)]
