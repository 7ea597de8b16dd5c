"""The embedded pipeline: LlamaIndex parts over a folder of files; offline, no key, repeatable.

    pipeline = LocalPipeline.from_folder("handbook", top_k=5)
    print(pipeline.query("How many vacation days carry over?", {"department": "hr"}))

A question runs through a retriever (BM25, dense or both), postprocessors (rerank, cut-offs,
context limits) and a synthesiser inside a ``RetrieverQueryEngine``. Nothing is written after the
build, so questions with different filters may run at once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_rag.errors import ConfigError, PipelineError
from pytest_rag.extras import require
from pytest_rag.pipelines.keeping import kept
from pytest_rag.pipelines.params import LocalParams

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from llama_index.core import Document
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.core.response_synthesizers import BaseSynthesizer

    from pytest_rag.pipelines.retrievers import LexicalRetriever, NodeStore

__all__ = ["LocalParams", "LocalPipeline", "build"]

_ANSWER_PROMPT = """\
Context:
{context_str}

Answer the question from the context alone, as briefly as it allows. If the context does not
hold the answer, say "I don't know." and nothing else.
Question: {query_str}
Answer: """


def build(base: Path, root: Path | None = None, /, **params: Any) -> LocalPipeline:
    """Build what ``pipeline: {local: {corpus: handbook, …}}`` describes.

    Args:
        base: The folder ``corpus`` is relative to, and the first place for import paths.
        root: The second place for import paths.
        **params: Fields of ``LocalParams``.

    Raises:
        ConfigError: for a wrong parameter or a corpus that is missing or empty.
        PipelineError: for a file that cannot be read.
        MissingExtraError: where the ``demo`` extra is not installed.
    """
    checked = LocalParams.of(params)
    if checked.corpus is None:
        raise ConfigError("The local pipeline needs a corpus: the folder its documents lie in.")
    from pytest_rag.pipelines.corpus import read_folder

    documents = read_folder(Path(base) / checked.corpus, checked.glob)
    return LocalPipeline(documents, checked, folders=[p for p in (base, root) if p is not None])


class LocalPipeline:
    """A question-answering pipeline over documents held in memory.

    Attributes:
        params: What it was built with.
        query_engine: The LlamaIndex engine, for ``query`` and ``aquery`` alike.
        documents: Ids of all documents.
        fingerprint: SHA-256 over ids, texts and metadata of the documents and the parameters.
        corpus_fingerprint: The same without the parameters.
        deterministic: The same question always gives the same answer: no language model answers.
    """

    query_engine: RetrieverQueryEngine

    def __init__(
        self, documents: Sequence[Document], params: LocalParams, folders: Sequence[Path] = ()
    ) -> None:
        """Build from checked parameters; modules of import paths are looked for in ``folders``.

        Raises:
            PipelineError: if there are no documents, two of one id, or none with text.
        """
        require("llama_index.retrievers.bm25", "demo")
        self.params = params
        self.deterministic = params.synthesizer == "extractive"
        self.documents = _ids(documents)
        self.corpus_fingerprint = _fingerprint(documents, None)
        self.fingerprint = _fingerprint(documents, params)
        self.query_engine = _engine(_Corpus(documents, self.corpus_fingerprint), params, folders)

    @classmethod
    def from_folder(cls, path: str | Path, **params: Any) -> LocalPipeline:
        """Build over the Markdown, text, HTML and PDF files below a folder.

        Args:
            path: The folder; a document's id is its file's path below it.
            **params: Fields of ``LocalParams``.
        """
        return build(Path(), corpus=str(path), **params)

    @classmethod
    def from_documents(cls, documents: Sequence[Document], **params: Any) -> LocalPipeline:
        """Build over LlamaIndex documents; a document's id is its ``id_``.

        Args:
            documents: With ``title`` and ``language`` in their metadata where known.
            **params: Fields of ``LocalParams`` but ``corpus`` and ``glob``.
        """
        for name in ("corpus", "glob"):
            if name in params:
                raise ConfigError(f"{name} is for a folder; from_documents has its documents.")
        return cls(list(documents), LocalParams.of(params))

    def query(self, query: str, filters: Mapping[str, Any] | None = None) -> Any:
        """Answer a question; returns a LlamaIndex ``Response``.

        Args:
            query: The question.
            filters: Metadata key → the value a node must have, or a list of which it must have
                one. A key or value that no node has retrieves nothing.
        """
        return self.query_engine.query(_bundle(query, filters))

    async def aquery(self, query: str, filters: Mapping[str, Any] | None = None) -> Any:
        """Answer a question as ``query`` does, without blocking on remote models."""
        return await self.query_engine.aquery(_bundle(query, filters))


def _bundle(query: str, filters: Mapping[str, Any] | None) -> Any:
    from pytest_rag.pipelines.retrievers import FilteredQuery

    return FilteredQuery(query, filters=dict(filters or {}))


def _ids(documents: Sequence[Document]) -> frozenset[str]:
    if not documents:
        raise PipelineError("The local pipeline was given no documents.")
    counts = Counter(document.id_ for document in documents)
    name, count = counts.most_common(1)[0]
    if count > 1:
        raise PipelineError(f"{count} documents have the same id {name!r}.")
    return frozenset(counts)


def _fingerprint(documents: Sequence[Document], params: LocalParams | None) -> str:
    described = [[d.id_, d.text, d.metadata] for d in sorted(documents, key=lambda d: d.id_)]
    told = None if params is None else params.describe()
    content = json.dumps([told, described], sort_keys=True, default=_plain)
    return hashlib.sha256(content.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


class _Corpus(NamedTuple):
    documents: Sequence[Document]
    fingerprint: str


def _engine(corpus: _Corpus, params: LocalParams, folders: Sequence[Path]) -> RetrieverQueryEngine:
    from llama_index.core.query_engine import RetrieverQueryEngine

    store, key = _store(corpus, params)
    embed_model = _cached(_embed_model(params.embed_model, folders), params)
    lexical = _lexical(store, key, params)
    return RetrieverQueryEngine(
        retriever=_wrapped(_retriever(store, lexical, embed_model, params), store, params),
        response_synthesizer=_llm_synthesizer(params.llm, folders)
        if params.synthesizer == "llm"
        else _reader(store, lexical, embed_model, params),
        node_postprocessors=_postprocessors(embed_model, params),
    )


def _store(corpus: _Corpus, params: LocalParams) -> tuple[NodeStore, Hashable]:
    """Return the nodes, and what tells them from those of other documents and chunks."""
    from pytest_rag.pipelines.chunks import Chunker
    from pytest_rag.pipelines.retrievers import NodeStore

    chunker = Chunker(
        size=params.chunk_size,
        overlap=params.chunk_overlap,
        language=params.language,
        index_title=params.index_title,
        llm_title=params.synthesizer == "llm",
    )
    key = (corpus.fingerprint, chunker)
    nodes = kept("nodes", key, lambda: chunker.nodes(corpus.documents))
    if not nodes:
        raise PipelineError("The corpus holds no text: every document is empty.")
    of = (corpus.fingerprint, params.language)
    languages = kept("languages", of, lambda: chunker.languages(corpus.documents))
    store = NodeStore(nodes, languages=languages, default_filters=params.filters, made_of=repr(key))
    return store, key


def _lexical(store: NodeStore, key: Hashable, params: LocalParams) -> LexicalRetriever:
    from pytest_rag.pipelines.retrievers import LexicalIndex, LexicalRetriever

    index = kept(
        "bm25",
        (key, params.bm25_k1, params.bm25_b),
        lambda: LexicalIndex.of(
            kept("terms", key, store.terms), k1=params.bm25_k1, b=params.bm25_b
        ),
    )
    return LexicalRetriever(store, index, top_k=_depth(params, "bm25"))


def _depth(params: LocalParams, half: str) -> int:
    return params.top_k if params.retriever == half else max(params.candidates, params.top_k)


def _retriever(
    store: NodeStore, lexical: LexicalRetriever, embed_model: BaseEmbedding, params: LocalParams
) -> BaseRetriever:
    from pytest_rag.pipelines.retrievers import DenseRetriever, HybridRetriever

    if params.retriever == "bm25":
        return lexical
    dense = DenseRetriever(store, embed_model=embed_model, top_k=_depth(params, "dense"))
    if params.retriever == "dense":
        return dense
    return HybridRetriever(
        lexical,
        dense,
        fusion=params.fusion,
        dense_weight=params.dense_weight,
        top_k=params.top_k,
    )


def _wrapped(retriever: BaseRetriever, store: NodeStore, params: LocalParams) -> BaseRetriever:
    """Return the retriever behind its filters and its cache, the cache outermost."""
    if params.infer_filters:
        from pytest_rag.pipelines.optimise import InferredFilters

        retriever = InferredFilters(retriever, store.nodes)
    if params.retrieval_cache is not None:
        from pytest_rag.pipelines.optimise import CachedRetriever

        retriever = CachedRetriever(retriever, params.retrieval_cache)
    return retriever


def _postprocessors(embed_model: BaseEmbedding, params: LocalParams) -> list[BaseNodePostprocessor]:
    from llama_index.core.postprocessor import SimilarityPostprocessor

    from pytest_rag.pipelines import optimise

    steps: list[BaseNodePostprocessor | None] = [
        optimise.SentenceRerank(embed_model=embed_model) if params.rerank == "sentences" else None,
        _if(params.similarity_cutoff, lambda n: SimilarityPostprocessor(similarity_cutoff=n)),
        _if(params.score_drop, lambda n: optimise.ScoreDrop(drop=n)),
        _if(params.duplicates, lambda n: optimise.NearDuplicates(overlap=n)),
        _if(
            params.sentence_tokens,
            lambda n: optimise.SentenceBudget(tokens=n, embed_model=embed_model),
        ),
        optimise.ContextLimit(tokens=params.context_tokens),
        optimise.BestAtEnds() if params.order == "best_at_ends" else None,
    ]
    return [step for step in steps if step is not None]


def _if(value: Any, make: Callable[[Any], BaseNodePostprocessor]) -> BaseNodePostprocessor | None:
    return None if value is None else make(value)


def _reader(
    store: NodeStore, lexical: LexicalRetriever, embed_model: BaseEmbedding, params: LocalParams
) -> BaseSynthesizer:
    from pytest_rag.pipelines.extractive import ExtractiveSynthesizer
    from pytest_rag.pipelines.relevance import Vocabulary

    return ExtractiveSynthesizer(
        Vocabulary(store.languages, len(store.nodes), lexical.document_frequency),
        embed_model=embed_model,
        min_evidence=params.min_evidence,
        max_sentences=params.max_sentences,
    )


def _llm_synthesizer(llm: Any, folders: Sequence[Path]) -> BaseSynthesizer:
    from llama_index.core import PromptTemplate
    from llama_index.core.llms import LLM
    from llama_index.core.response_synthesizers import get_response_synthesizer

    return get_response_synthesizer(
        llm=_made("llm", llm, LLM, folders), text_qa_template=PromptTemplate(_ANSWER_PROMPT)
    )


def _embed_model(value: Any, folders: Sequence[Path]) -> BaseEmbedding:
    if value == "wordllama":
        from pytest_rag.pipelines.embedding import WordLlamaEmbedding

        return WordLlamaEmbedding()
    from llama_index.core.base.embeddings.base import BaseEmbedding

    made: BaseEmbedding = _made("embed_model", value, BaseEmbedding, folders)
    return made


def _cached(embed_model: BaseEmbedding, params: LocalParams) -> BaseEmbedding:
    if params.retrieval_cache is None:
        return embed_model
    from pytest_rag.pipelines.optimise import CachedEmbedding

    return CachedEmbedding(embed_model, params.retrieval_cache)


def _made(name: str, value: Any, kind: type, folders: Sequence[Path]) -> Any:
    """Return the object itself, or what the factory at an import path gives."""
    if isinstance(value, str):
        from pytest_rag.pipelines.factory import load_object

        found = load_object(value, folders)
        value = found if isinstance(found, kind) or not callable(found) else found()
    if not isinstance(value, kind):
        raise ConfigError(f"{name} must be a LlamaIndex {kind.__name__}, not {value!r}.")
    return value
