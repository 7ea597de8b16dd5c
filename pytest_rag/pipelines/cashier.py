"""What an answer cost, and whether it is worth keeping."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.cache.envelope import pack
from pytest_rag.costs.prices import Bill, price_calls
from pytest_rag.errors import TraceError, message_of
from pytest_rag.metrics.refusals import is_refusal
from pytest_rag.pipelines.answers import Receipt, body_of, is_empty
from pytest_rag.redact import holds_secret, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_rag.cache import Cache
    from pytest_rag.config import Price
    from pytest_rag.pipelines.answers import Form
    from pytest_rag.pipelines.counting import Tally
    from pytest_rag.pipelines.semantic import SemanticIndex
    from pytest_rag.trace.nested import NestedTrace
    from pytest_rag.types import Call

__all__ = ["Cashier", "Terms"]

_log = logging.getLogger("pytest_rag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a cached engine was told.

    Attributes:
        ttl: Seconds an answer is right for; None for good.
        stale: Seconds after that in which it is still served, while it is made anew.
        cache_refusals: Whether an answer that declines is kept.
        semantic: A LlamaIndex embedding model, or None.
        floor: The least cosine similarity at which an answer is one to another question.
        lease_s: Seconds after which somebody else computes what one who died had begun.
        prices: Overrides by model name.
        on_call: Is given every call of a model that was made, with its price.
        ledger: Is given those of them that nobody else sees.
    """

    ttl: float | None
    stale: float
    cache_refusals: bool
    semantic: Any
    floor: float
    lease_s: float
    prices: Mapping[str, Price]
    on_call: Callable[[Call], None] | None
    ledger: Callable[[Call], None] | None = None


class Cashier:
    """Prices what was done and keeps what is worth it; never raises for either."""

    def __init__(
        self, cache: Cache, terms: Terms, tally: Tally, similar: SemanticIndex | None
    ) -> None:
        self._cache = cache
        self._terms = terms
        self._tally = tally
        self._similar = similar

    def bill(self, seen: NestedTrace) -> Bill:
        """Close a trace, price its calls and tell of them."""
        seen.close()
        bill = price_calls(seen.calls, self._terms.prices)
        reason = _doubt(seen)
        if reason is not None:
            bill = Bill(calls=bill.calls, cost_usd=None, reason=reason)
        ledger = None if seen.is_seen_by_others else self._terms.ledger
        for told in filter(None, (self._terms.on_call, ledger)):
            try:
                for call in bill.calls:
                    told(call)
            except Exception as error:  # noqa: BLE001 - an answer that is paid for is not lost
                _log.warning("on_call raised: %s", redact(message_of(error)))
        return bill

    def keep(
        self, asked: Any, response: Any, bill: Bill, latency_ms: float, *, form: Form
    ) -> dict[str, Any] | None:
        """Keep an answer if it is to be kept; return it as JSON for those who asked as well."""
        receipt = Receipt(
            made=time.time(),
            latency_ms=latency_ms,
            calls=bill.calls,
            cost_usd=bill.cost_usd,
            cost_reason=bill.reason,
        )
        try:
            body = body_of(asked.bundle.query_str, response, receipt, form=form)
            value = pack(asked.key, body)
        except (ValueError, TypeError, AttributeError, RecursionError):
            self._tally.add(not_stored=1)
            return None
        if self._is_kept(asked, response, value):
            ttl = None if self._terms.ttl is None else self._terms.ttl + self._terms.stale
            # A cache of somebody's own may tell nothing.
            if self._cache.put(asked.key, value, ttl=ttl) is not False:
                if self._similar is not None and asked.vector is not None:
                    self._similar.add(asked.key, asked.vector, ttl)
                self._tally.add(stored=1)
                return body
        self._tally.add(not_stored=1)
        return body

    def _is_kept(self, asked: Any, response: Any, value: bytes) -> bool:
        """Tell whether an answer is worth keeping, and still right for the index as it is now."""
        if is_empty(response) or holds_secret(value.decode("utf-8", "replace")):
            return False
        text = response.response
        if isinstance(text, str) and not self._terms.cache_refusals and is_refusal(text):
            return False
        return bool(asked.identity.namespace() == asked.key.namespace)


def _doubt(seen: NestedTrace) -> str | None:
    """Return why the calls that were seen may not be all, or None."""
    try:
        seen.verify(expect_spans=True)
    except TraceError as error:
        return message_of(error)
    return None
