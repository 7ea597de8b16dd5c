"""The stage cache of an evaluation: what models answered to the same cases in earlier runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.cache import Key, key_of
from pytest_rag.cache.envelope import CorruptEntryError, pack, unpack
from pytest_rag.pipelines.kept import KeptStages
from pytest_rag.pipelines.survey import settings_of
from pytest_rag.redact import redact
from pytest_rag.replay.answers import Answer
from pytest_rag.replay.claims import Claims
from pytest_rag.replay.sources import is_embedding

if TYPE_CHECKING:
    from pytest_rag.cache import Cache
    from pytest_rag.replay.requests import Request
    from pytest_rag.replay.scope import Take
    from pytest_rag.types import Origin

__all__ = ["TTL_S", "StageCache"]

TTL_S = 7 * 24 * 3600.0
"""Seconds after which an answer is asked for again."""


class StageCache:
    """Answers calls of models out of a cache, and keeps there what models answer.

    The key holds the request, the model's class and configuration, the repeat of the case, and
    which of several identical requests of one run it is; for vectors, which are the same whoever
    asks, the request and the model.

    Attributes:
        untold: Classes of models whose configuration cannot be told, so that they are asked.
        claims: Texts that somebody has gone to embed.
        stages: What retrievers, postprocessors and synthesizers returned in earlier runs.
    """

    origin: Origin = "cache"
    strict = False
    passes = False

    def __init__(self, cache: Cache) -> None:
        self.untold: set[str] = set()
        self.claims = Claims()
        self.stages = KeptStages(cache)
        self._cache = cache
        self._told: dict[int, tuple[Any, str | None]] = {}

    def find(self, request: Request, take: Take, nth: int) -> Answer | None:
        """Return what the model answered in an earlier run, or None."""
        key = self._key(request, take, nth)
        value = None if key is None else self._cache.get(key)
        if key is None or value is None:
            return None
        try:
            return Answer(**unpack(key, value))
        except (CorruptEntryError, TypeError):  # torn, or of another version
            return None

    def keep(self, request: Request, take: Take, nth: int, answer: Answer) -> None:
        """Keep an answer for a week; one that a secret was taken out of is not the model's."""
        key = self._key(request, take, nth)
        told = answer.response
        if key is None or (not is_embedding(request) and redact(told) != told):
            return
        body = {"response": told, "latency_ms": answer.latency_ms, "usage": dict(answer.usage)}
        self._cache.put(key, pack(key, body), ttl=TTL_S)

    def ended(self, take: Take, *, whole: bool) -> None:
        """Keep nothing: each call has been kept already."""

    def _key(self, request: Request, take: Take, nth: int) -> Key | None:
        made = self._configuration(request.component)
        if made is None:
            return None
        run = None if is_embedding(request) else [take.repeat, nth]
        return key_of(f"stages/{request.kind}", request=request.key, made=made, run=run)

    def _configuration(self, model: Any) -> str | None:
        """Return what tells a model's settings from others; None where they cannot be told."""
        known = self._told.get(id(model))
        if known is None or known[0] is not model:
            known = self._told[id(model)] = (model, self._look(model))
        return known[1]

    def _look(self, model: Any) -> str | None:
        found = settings_of(model)
        if found is None:
            self.untold.add(type(model).__name__)
        return found
