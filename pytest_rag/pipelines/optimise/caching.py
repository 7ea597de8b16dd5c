"""A cache in front of an embedding model's queries, and one in front of a retriever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from pytest_rag.cache import Key, key_of, open_cache
from pytest_rag.cache.envelope import CorruptEntryError, pack, unpack
from pytest_rag.loop import in_thread
from pytest_rag.pipelines.identity import Fingerprint, Identity
from pytest_rag.pipelines.nodevalues import dumped, loaded
from pytest_rag.pipelines.survey import digest, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llama_index.core.schema import NodeWithScore, QueryBundle

    from pytest_rag.cache import Cache

__all__ = ["CachedEmbedding", "CachedRetriever"]


class _Shelf:
    """A cache of JSON objects; what cannot be kept is not, and what is broken is a miss."""

    def __init__(self, cache: Cache | str, ttl: float | None) -> None:
        self.cache: Cache = open_cache(cache) if isinstance(cache, str) else cache
        self._ttl = ttl

    def find(self, key: Key) -> dict[str, Any] | None:
        value = self.cache.get(key)
        try:
            return None if value is None else unpack(key, value)
        except CorruptEntryError:
            return None

    def keep(self, key: Key, body: Callable[[], Mapping[str, Any]]) -> None:
        try:
            packed = pack(key, body())
        except (TypeError, ValueError, AttributeError):
            return
        self.cache.put(key, packed, ttl=self._ttl)

    async def afind(self, key: Key) -> dict[str, Any] | None:
        return await in_thread(lambda: self.find(key)) if self.cache.blocking else self.find(key)

    async def akeep(self, key: Key, body: Callable[[], Mapping[str, Any]]) -> None:
        if self.cache.blocking:
            await in_thread(lambda: self.keep(key, body))
        else:
            self.keep(key, body)


class CachedEmbedding(BaseEmbedding):
    """Embeds each query once. Texts go to the model itself: they are embedded once anyway.

    A vector from the cache is no call of the model and costs nothing. LlamaIndex's own
    ``embeddings_cache`` keeps queries and texts under one key, which is wrong for a model that
    embeds the two differently, and has no time to live.
    """

    rag_record: ClassVar[bool] = False  # the model behind it is what a cassette records

    embed_model: BaseEmbedding
    _shelf: _Shelf = PrivateAttr()
    _namespace: str = PrivateAttr()

    def __init__(
        self,
        embed_model: BaseEmbedding,
        cache: Cache | str = "memory",
        *,
        ttl: float | None = None,
        namespace: str | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            embed_model: That is asked where the cache has no vector.
            cache: A cache, or its URL for `pytest_rag.cache.open_cache`.
            ttl: Seconds a vector is kept; None for good, since the same model says the same.
            namespace: A name that stands for the model, in place of a digest of its settings.

        Raises:
            ConfigError: if there is no such cache.
        """
        super().__init__(
            embed_model=embed_model,  # type: ignore[call-arg] # pydantic takes it
            model_name=embed_model.model_name,
            embed_batch_size=embed_model.embed_batch_size,
        )
        self._shelf = _Shelf(cache, ttl)
        own = namespace or f"{type(embed_model).__name__}/{digest(survey(embed_model).config)}"
        self._namespace = f"embeddings/{own}"

    @classmethod
    def class_name(cls) -> str:
        """Name the class in LlamaIndex's traces."""
        return "CachedEmbedding"

    def get_query_embedding(self, query: str) -> list[float]:
        """Return the vector of a query, from the cache if it is there."""
        key = key_of(self._namespace, query=query)
        known = _vector(self._shelf.find(key))
        if known is not None:
            return known
        made: list[float] = self.embed_model.get_query_embedding(query)
        self._shelf.keep(key, lambda: {"vector": [float(x) for x in made]})
        return made

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Return the vector of a query, from the cache if it is there."""
        key = key_of(self._namespace, query=query)
        known = _vector(await self._shelf.afind(key))
        if known is not None:
            return known
        made: list[float] = await self.embed_model.aget_query_embedding(query)
        await self._shelf.akeep(key, lambda: {"vector": [float(x) for x in made]})
        return made

    def get_text_embedding(self, text: str) -> list[float]:
        """Return the vector of a text; the model is asked."""
        made: list[float] = self.embed_model.get_text_embedding(text)
        return made

    async def aget_text_embedding(self, text: str) -> list[float]:
        """Return the vector of a text; the model is asked."""
        made: list[float] = await self.embed_model.aget_text_embedding(text)
        return made

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Return the vectors of texts; the model is asked."""
        made: list[list[float]] = self.embed_model.get_text_embedding_batch(
            texts, show_progress=show_progress, **kwargs
        )
        return made

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Return the vectors of texts; the model is asked."""
        made: list[list[float]] = await self.embed_model.aget_text_embedding_batch(
            texts, show_progress=show_progress, **kwargs
        )
        return made

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.get_query_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self.aget_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.get_text_embedding(text)


def _vector(body: dict[str, Any] | None) -> list[float] | None:
    vector = None if body is None else body.get("vector")
    return vector if isinstance(vector, list) else None


class CachedRetriever(BaseRetriever):
    """Retrieves for each question once, as long as configuration and documents stay the same.

    The key holds the question with its filters and vectors, the retriever's settings, and the
    documents of its index where they can be seen. Nodes that JSON cannot hold are not kept.
    Answers are another matter: see `pytest_rag.CachedQueryEngine`.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        cache: Cache | str = "memory",
        *,
        ttl: float | None = 86_400.0,
        namespace: str | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        """Wrap a retriever.

        Args:
            retriever: That is asked where the cache has nothing.
            cache: A cache, or its URL for `pytest_rag.cache.open_cache`.
            ttl: Seconds a result is kept; None for good.
            namespace: A name that stands for the retriever's settings.
            fingerprint: Of the corpus, or a function that returns it.

        Raises:
            ConfigError: if there is no such cache, or the namespace is none.
        """
        super().__init__()
        self._retriever = retriever
        self._shelf = _Shelf(cache, ttl)
        self._of = (namespace, fingerprint)
        self._identity = Identity(retriever, *self._of)
        self._identity.namespace()
        self._identity.warn_if_unknown()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        key = self._key(query_bundle)
        known = None if key is None else _nodes(self._shelf.find(key))
        if known is not None:
            return known
        found: list[NodeWithScore] = self._retriever.retrieve(query_bundle)
        if key is not None:
            self._shelf.keep(key, lambda: {"nodes": dumped(found, (), ())})
        return found

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        key = self._key(query_bundle)
        known = None if key is None else _nodes(await self._shelf.afind(key))
        if known is not None:
            return known
        found: list[NodeWithScore] = await self._retriever.aretrieve(query_bundle)
        if key is not None:
            await self._shelf.akeep(key, lambda: {"nodes": dumped(found, (), ())})
        return found

    def _key(self, query: QueryBundle) -> Key | None:
        """Return where a question's nodes are kept; None where its parts have no JSON."""
        if self._identity.engine is not self._retriever:  # a copy with other filters
            self._identity = Identity(self._retriever, *self._of)
        namespace = self._identity.namespace().replace("answers", "retrieved", 1)
        asked = {name: value for name, value in vars(query).items() if value is not None}
        try:
            return key_of(namespace, asked=asked)
        except (TypeError, ValueError):
            return None


def _nodes(body: dict[str, Any] | None) -> list[NodeWithScore] | None:
    try:
        return None if body is None else loaded(body["nodes"], ())
    except (KeyError, IndexError, TypeError, ValueError):
        return None
