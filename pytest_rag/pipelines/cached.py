"""A query engine that answers repeated questions from a cache."""

from __future__ import annotations

import warnings
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from llama_index.core.base.base_query_engine import BaseQueryEngine

from pytest_rag.cache import open_cache
from pytest_rag.costs.prices import load_list
from pytest_rag.errors import ConfigError
from pytest_rag.pipelines.cashier import Terms
from pytest_rag.pipelines.counting import CacheUse, Tally
from pytest_rag.pipelines.desk import Desk
from pytest_rag.pipelines.identity import Fingerprint, Identity
from pytest_rag.pipelines.steps import drive, drive_async
from pytest_rag.pipelines.tracked import to_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from llama_index.core.base.response.schema import RESPONSE_TYPE
    from llama_index.core.schema import NodeWithScore, QueryBundle

    from pytest_rag.cache import Cache
    from pytest_rag.config import Price
    from pytest_rag.types import Call

__all__ = ["CachedQueryEngine"]

_DAY_S = 86_400.0


class CachedQueryEngine(BaseQueryEngine):
    """Wraps any LlamaIndex query engine; synchronous, asynchronous and streaming.

    Of many who ask the same at once, in threads, tasks and processes that share the cache, one asks
    the engine and the others wait. Errors, empty answers and refusals are not kept. An answer from
    the cache says so in ``response.metadata["pytest_rag"]``. A cache that fails is not used; no
    question fails for it.
    """

    def __init__(
        self,
        engine: BaseQueryEngine,
        cache: Cache | str = "memory",
        *,
        ttl: float | timedelta | None = _DAY_S,
        stale: float | timedelta = 0.0,
        namespace: str | None = None,
        fingerprint: Fingerprint | None = None,
        cache_refusals: bool = False,
        semantic: Any = None,
        floor: float = 0.95,
        lease_s: float = 10.0,
        prices: Mapping[str, Price] | None = None,
        on_call: Callable[[Call], None] | None = None,
        ledger: bool | str | Path = True,
        name: str | None = None,
    ) -> None:
        """Wrap an engine.

        Args:
            engine: The engine that is asked where the cache has no answer.
            cache: A cache, or its URL for `pytest_rag.cache.open_cache`.
            ttl: How long an answer is right, in seconds; None for as long as it is kept.
            stale: How long after that it is still served, while a new one is made.
            namespace: A name that stands for the engine's configuration, in place of a digest
                of its classes and settings.
            fingerprint: Of the corpus, or a function that returns it; by default the hashes of
                all nodes in the engine's indexes and document stores.
            cache_refusals: Whether answers that decline are kept.
            semantic: A LlamaIndex embedding model, to answer similar questions alike.
            floor: The least cosine similarity of such a question, of 0 to 1.
            lease_s: After how many seconds another process computes what one that died had
                begun. Nobody waits more than six times as long for somebody else.
            prices: Of models, over the list of genai-prices.
            on_call: Is given every call of a model that was made, with its price.
            ledger: Where calls are written that may cost money: True for the ledger of the project
                around the working directory, False for nowhere, or a file. Inside a run of
                pytest-rag nothing is written twice.
            name: What they are listed under there; the engine's own name where it is left out.

        Raises:
            ConfigError: if something is no engine, no cache or no sensible figure.
        """
        is_engine = isinstance(engine, BaseQueryEngine)
        inner = engine if is_engine else getattr(engine, "query_engine", None)
        if not isinstance(inner, BaseQueryEngine):
            raise ConfigError(_not_an_engine(engine))
        super().__init__(callback_manager=inner.callback_manager)
        terms = Terms(
            ttl=None if ttl is None else _seconds("ttl", ttl, least=0.001),
            stale=_seconds("stale", stale, least=0.0),
            cache_refusals=cache_refusals,
            semantic=semantic,
            floor=_within_one(floor),
            lease_s=_seconds("lease_s", lease_s, least=0.05),
            prices=prices or {},
            on_call=on_call,
            ledger=_ledger(on_call, ledger, name or type(inner).__name__),
        )
        load_list()
        self.cache: Cache = open_cache(cache) if isinstance(cache, str) else cache
        if fingerprint is None and not is_engine:  # the local pipeline knows its own
            fingerprint = getattr(engine, "fingerprint", None)
        self._query_engine = inner
        self._of = (namespace, fingerprint)
        self._identity = Identity(inner, *self._of)
        self._identity.namespace()
        self._identity.warn_if_unknown()
        self._tally = Tally(self.cache)
        self._desk = Desk(self.cache, terms, self._tally)
        weakref.finalize(self, _flush_quietly, self._tally)

    # --- what LlamaIndex calls ----------------------------------------------------------------

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        course = self._desk.answer(self._known(), query_bundle, is_async=False)
        return drive(course)  # type: ignore[no-any-return]

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        course = self._desk.answer(self._known(), query_bundle, is_async=True)
        return await drive_async(course)  # type: ignore[no-any-return]

    def _known(self) -> Identity:
        """Return the identity of the engine; a copy with other filters has another engine."""
        if self._identity.engine is not self._query_engine:
            self._identity = Identity(self._query_engine, *self._of)
        return self._identity

    def _get_prompt_modules(self) -> Any:
        return {"query_engine": self._query_engine}

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Retrieve with the engine itself; nothing is cached."""
        return self._query_engine.retrieve(query_bundle)

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Synthesize with the engine itself; nothing is cached."""
        return self._query_engine.synthesize(query_bundle, nodes, additional_source_nodes)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Synthesize with the engine itself; nothing is cached."""
        return await self._query_engine.asynthesize(query_bundle, nodes, additional_source_nodes)

    # --- what a person calls ------------------------------------------------------------------

    def stats(self) -> CacheUse:
        """Return what this engine did and saved in this process."""
        return self._tally.use()

    def refresh(self) -> None:
        """Look at the engine's configuration and corpus anew at the next question."""
        self._known().refresh()

    def invalidate(self) -> int:
        """Forget the answers that are right for the engine as it is now; return how many."""
        return self.cache.clear(self._known().namespace())

    def close(self) -> None:
        """Bring the counts to the cache and let go of its connections."""
        self._tally.flush()
        self.cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ledger(
    on_call: Callable[[Call], None] | None, ledger: bool | str | Path, name: str
) -> Callable[[Call], None] | None:
    """Return what writes calls to the ledger, unless ``on_call`` does or nobody shall."""
    if ledger is False or getattr(on_call, "writes_ledger", False):
        return None
    return to_ledger(name, ledger=None if ledger is True else ledger)


def _flush_quietly(tally: Tally) -> None:
    """Bring the counts to the cache at the very end, when nobody listens to warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tally.flush()


def _seconds(name: str, value: float | timedelta, *, least: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not (least <= seconds < float("inf"))
    ):
        raise ConfigError(f"{name} must be {least:g} seconds or more, not {value!r}.")
    return float(seconds)


def _within_one(floor: float) -> float:
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor <= 1:
        raise ConfigError(f"floor must be a similarity of 0 to 1, such as 0.95, not {floor!r}.")
    return float(floor)


def _not_an_engine(value: Any) -> str:
    hint = ""
    if hasattr(value, "as_query_engine"):
        hint = f" Give it {type(value).__name__}.as_query_engine()."
    return (
        f"CachedQueryEngine wraps a LlamaIndex query engine, not {type(value).__name__} "
        f"{value!r:.80}.{hint}"
    )
