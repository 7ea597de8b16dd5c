"""A question put to a cached engine, and the key of its answer."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.cache import Key, key_of
from pytest_rag.pipelines.answers import output_class
from pytest_rag.pipelines.survey import survey

if TYPE_CHECKING:
    from pytest_rag.pipelines.identity import Identity

__all__ = ["Question", "is_plain", "key_for", "normalise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question on its way.

    Attributes:
        identity: Of the engine it is put to.
        bundle: LlamaIndex's ``QueryBundle``.
        is_async: Whether it is awaited.
        key: Of its answer.
        vector: Its embedding, where similar questions are looked for.
    """

    identity: Identity
    bundle: Any
    is_async: bool
    key: Key
    vector: Any = None


def normalise(query: str) -> str:
    """Return a query as the key has it: composed Unicode (NFC), no space around it."""
    return unicodedata.normalize("NFC", query).strip()


def is_plain(bundle: Any) -> bool:
    """Tell whether a bundle holds nothing but its text."""
    return not any(value for name, value in vars(bundle).items() if name != "query_str")


def key_for(identity: Identity, bundle: Any) -> Key:
    """Return the key of a question; what a bundle holds beside its text is part of it."""
    more = {}
    if not is_plain(bundle):
        more = {k: survey(v).config for k, v in vars(bundle).items() if k != "query_str"}
    synthesizer = getattr(identity.engine, "_response_synthesizer", None)
    output = output_class(identity.engine)
    return key_of(
        identity.namespace(),
        query=normalise(bundle.query_str),
        more=more,
        streaming=bool(getattr(synthesizer, "_streaming", False)),
        output=None if output is None else f"{output.__module__}.{output.__qualname__}",
    )
