"""The knobs of the local pipeline: one frozen dataclass, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from pytest_rag.cache import check_url
from pytest_rag.errors import ConfigError
from pytest_rag.pipelines.language import LANGUAGES
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LocalParams"]

Retriever = Literal["bm25", "dense", "hybrid"]
Fusion = Literal["weighted", "rrf"]
Rerank = Literal["none", "sentences"]
Order = Literal["best_first", "best_at_ends"]
Synthesizer = Literal["extractive", "llm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalParams:
    """Every parameter of the local pipeline; each can be written in YAML and swept.

    A token here is a run of letters or digits, a word: about 0.75 of a language model's token.

    Attributes:
        corpus: The folder; relative to the evalset's.
        glob: Pattern below the folder that picks files, such as ``people/**/*.md``.
        language: Code for stemming and stop words of every document; ``auto`` takes each
            document's ``language`` metadata, or else guesses from its text.
        chunk_size: Tokens a node has at most.
        chunk_overlap: Tokens neighbouring nodes of one section share at most.
        index_title: The title is embedded and indexed with every node.
        retriever: ``bm25``, ``dense`` or ``hybrid``.
        top_k: Nodes retrieved; several may belong to one document.
        candidates: Nodes each half of the hybrid retriever contributes; at least ``top_k``.
        fusion: ``weighted`` adds scaled scores, ``rrf`` adds reciprocal ranks.
        dense_weight: Part of the dense half in ``weighted``, 0 to 1.
        bm25_k1: Saturation of term frequency.
        bm25_b: Normalisation by length, 0 to 1.
        embed_model: ``wordllama``, a LlamaIndex embedding, or the import path of a factory.
        rerank: ``none``, or ``sentences``: by the node's best sentence.
        similarity_cutoff: Nodes that score less are dropped. The scale is that of the last step:
            BM25 is unbounded, dense is a cosine, ``weighted`` and ``sentences`` lie in 0 to 1,
            ``rrf`` below 0.033.
        score_drop: Nodes are dropped whose score lies below the best by more than this part of
            it, 0 to 1.
        duplicates: A node is dropped if so much of it stands in one before it, 0 to 1.
        sentence_tokens: Tokens of the sentences that are kept of all nodes together: those that
            best answer the query.
        context_tokens: Tokens of all nodes handed to the synthesiser together.
        order: ``best_first``, or ``best_at_ends``: the second best is last.
        filters: Metadata every retrieved node must have, under those of the query.
        infer_filters: Metadata that the query names is a filter too.
        retrieval_cache: ``memory`` or another cache's URL, where retrieved nodes and the vectors
            of queries are kept.
        synthesizer: ``extractive`` quotes sentences, ``llm`` asks a language model.
        llm: A LlamaIndex LLM, or the import path ``package.module:factory`` of one.
        min_evidence: The extractive reader refuses below it, 0 to 1.
        max_sentences: Sentences the extractive reader quotes at most.
    """

    corpus: str | None = None
    glob: str | None = None
    language: str = "auto"
    chunk_size: int = 200
    chunk_overlap: int = 30
    index_title: bool = True
    retriever: Retriever = "hybrid"
    top_k: int = 10
    candidates: int = 100
    fusion: Fusion = "weighted"
    dense_weight: float = 0.5
    bm25_k1: float = 1.2
    bm25_b: float = 0.75
    embed_model: Any = "wordllama"
    rerank: Rerank = "none"
    similarity_cutoff: float | None = None
    score_drop: float | None = None
    duplicates: float | None = None
    sentence_tokens: int | None = None
    context_tokens: int = 3000
    order: Order = "best_first"
    filters: Mapping[str, Any] = field(default_factory=dict)
    infer_filters: bool = False
    retrieval_cache: str | None = None
    synthesizer: Synthesizer = "extractive"
    llm: Any = None
    min_evidence: float = 0.2
    max_sentences: int = 2

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> LocalParams:
        """Return the parameters of a mapping such as YAML gives.

        Raises:
            ConfigError: for an unknown name or a value out of range; names the nearest.
        """
        for name in params:
            cls.knows(name)
        return cls(**params)

    @classmethod
    def knows(cls, name: str, *values: Any) -> None:
        """Check a parameter's name, and values of it each for itself.

        Raises:
            ConfigError: for an unknown name or a value out of range; names the nearest.
        """
        known = [f.name for f in fields(cls)]
        if name not in known:
            raise ConfigError(
                f"The local pipeline has no parameter {name!r}.{did_you_mean(str(name), known)}"
            )
        for value in values:
            _check(name, value)

    def __post_init__(self) -> None:
        for name in (*_CHOICES, *_RANGES):
            _check(name, getattr(self, name))
        _of_type("corpus", self.corpus, str, "a folder", optional=True)
        _of_type("glob", self.glob, str, "a pattern such as '**/*.md'", optional=True)
        _of_type("index_title", self.index_title, bool, "true or false")
        _of_type("filters", self.filters, Mapping, "a mapping of metadata to values")
        _of_type("infer_filters", self.infer_filters, bool, "true or false")
        _of_type("retrieval_cache", self.retrieval_cache, str, "a cache's URL", optional=True)
        if self.retrieval_cache is not None:
            check_url(self.retrieval_cache)
        self._agree()

    def _agree(self) -> None:
        if self.chunk_overlap >= self.chunk_size:
            raise ConfigError(
                f"chunk_overlap ({self.chunk_overlap}) must be less than chunk_size "
                f"({self.chunk_size})."
            )
        if (self.synthesizer == "llm") != (self.llm is not None):
            raise ConfigError(
                "synthesizer: llm and llm: package.module:factory belong together; one is missing."
            )

    def describe(self) -> dict[str, Any]:
        """Return what changes results as plain JSON values; the folder's place does not."""
        aside = ("corpus", "retrieval_cache")
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in aside}
        return named | {key: _name(named[key]) for key in ("llm", "embed_model")}


_CHOICES: dict[str, tuple[str, ...]] = {
    "language": ("auto", *LANGUAGES),
    "retriever": get_args(Retriever),
    "fusion": get_args(Fusion),
    "rerank": get_args(Rerank),
    "order": get_args(Order),
    "synthesizer": get_args(Synthesizer),
}
_RANGES: dict[str, tuple[type, float | None, float | None]] = {
    "chunk_size": (int, 1, None),
    "chunk_overlap": (int, 0, None),
    "top_k": (int, 1, None),
    "candidates": (int, 1, None),
    "score_drop": (float, 0, 1),
    "duplicates": (float, 0.01, 1),
    "sentence_tokens": (int, 1, None),
    "context_tokens": (int, 1, None),
    "max_sentences": (int, 1, None),
    "dense_weight": (float, 0, 1),
    "bm25_k1": (float, 0, None),
    "bm25_b": (float, 0, 1),
    "min_evidence": (float, 0, 1),
    "similarity_cutoff": (float, None, None),
}
_OPTIONAL = frozenset({"similarity_cutoff", "score_drop", "duplicates", "sentence_tokens"})


def _check(name: str, value: Any) -> None:
    if name in _CHOICES:
        _one_of(name, value, _CHOICES[name])
    elif name in _RANGES:
        _within(name, value, *_RANGES[name])


def _one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    if value not in (allowed := list(allowed)):
        raise ConfigError(f"{name} cannot be {value!r}.{did_you_mean(str(value), allowed)}")


def _within(name: str, value: Any, kind: type, low: float | None, high: float | None) -> None:
    if value is None and name in _OPTIONAL:
        return
    kinds = (int,) if kind is int else (int, float)
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if not number or not (low is None or value >= low) or not (high is None or value <= high):
        between = f" of at least {low}" if low is not None and high is None else ""
        between = f" between {low} and {high}" if high is not None else between
        noun = "an integer" if kind is int else "a number"
        raise ConfigError(f"{name} must be {noun}{between}, not {value!r}.")


def _of_type(name: str, value: Any, kind: Any, what: str, *, optional: bool = False) -> None:
    if not (isinstance(value, kind) or (optional and value is None)):
        raise ConfigError(f"{name} must be {what}, not {value!r}.")


def _name(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    model = getattr(getattr(value, "metadata", value), "model_name", "")
    return f"{type(value).__name__}:{model}"
