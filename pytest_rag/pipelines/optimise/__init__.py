"""Parts that make a pipeline better or cheaper, for any LlamaIndex pipeline.

    from pytest_rag.pipelines.optimise import NearDuplicates, SentenceBudget

    engine = index.as_query_engine(
        similarity_top_k=10,
        node_postprocessors=[NearDuplicates(), SentenceBudget(tokens=300)],
    )

Retrievers are wrapped: `InferredFilters`, `CachedRetriever`. The others are postprocessors, but for
`CachedEmbedding`, which is an embedding model. Names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_rag.pipelines.optimise.caching import CachedEmbedding, CachedRetriever
    from pytest_rag.pipelines.optimise.inferring import InferredFilters
    from pytest_rag.pipelines.optimise.reducing import SentenceBudget
    from pytest_rag.pipelines.optimise.reranking import SentenceRerank
    from pytest_rag.pipelines.optimise.trimming import (
        BestAtEnds,
        ContextLimit,
        NearDuplicates,
        ScoreDrop,
    )

__all__ = [
    "BestAtEnds",
    "CachedEmbedding",
    "CachedRetriever",
    "ContextLimit",
    "InferredFilters",
    "NearDuplicates",
    "ScoreDrop",
    "SentenceBudget",
    "SentenceRerank",
]

_HOMES = {
    "caching": ("CachedEmbedding", "CachedRetriever"),
    "inferring": ("InferredFilters",),
    "reducing": ("SentenceBudget",),
    "reranking": ("SentenceRerank",),
    "trimming": ("BestAtEnds", "ContextLimit", "NearDuplicates", "ScoreDrop"),
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
