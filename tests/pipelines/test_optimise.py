"""Parts that optimise: what they keep, in which order, and what they do with what is odd."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode
from llama_parts import ChatLLM, FixedRetriever, WordEmbedding, index, node, observe

from pytest_rag.errors import ConfigError, PipelineError
from pytest_rag.pipelines import optimise as parts
from pytest_rag.pipelines.embedding import WordLlamaEmbedding
from pytest_rag.pipelines.local import LocalPipeline

QUERY = QueryBundle("How many days of leave carry over?")
LEAVE = """\
# Leave

This page is for everybody who works in Kotka. It was written in spring.

## Carrying over

Up to five days of leave carry over. The rest is lost on 1 July.

Needed are:

- a form
- the signature of your manager, for days of leave that carry over

The sauna is open on Thursdays.
"""
MODELS = [None, WordLlamaEmbedding()]


def hits(*scores: float | None, texts: Any = None) -> list[NodeWithScore]:
    """Return nodes with these scores."""
    return [
        NodeWithScore(node=node(f"{i}.md", texts[i] if texts else f"Text {i}."), score=score)
        for i, score in enumerate(scores)
    ]


def both(part: Any, nodes: list[NodeWithScore], query: Any = QUERY) -> list[NodeWithScore]:
    """Return what a postprocessor returns, which is the same synchronously and awaited."""
    found = part.postprocess_nodes(nodes, query_bundle=query)
    awaited = asyncio.run(part.apostprocess_nodes(nodes, query_bundle=query))
    assert [(h.node.get_content(), h.score) for h in awaited] == [
        (h.node.get_content(), h.score) for h in found
    ]
    return list(found)


def scores(found: list[NodeWithScore]) -> list[float | None]:
    """Return the scores in order."""
    return [hit.score for hit in found]


# --- score drop, duplicates, order -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "drop", "least", "kept"),
    [
        ([0.9, 0.8, 0.4, 0.2], 0.5, 1, [0.9, 0.8]),
        ([0.9, 0.8, 0.4, 0.2], 0.5, 3, [0.9, 0.8, 0.4]),
        ([0.9, 0.8, 0.4, 0.2], 1.0, 1, [0.9, 0.8, 0.4, 0.2]),
        ([0.9, 0.8], 0.0, 0, [0.9]),
        ([0.4, 0.9, 0.8], 0.2, 1, [0.9, 0.8]),
        ([-1.0, -1.4, -3.0], 0.5, 1, [-1.0, -1.4]),
        ([0.0, 0.0], 0.5, 1, [0.0, 0.0]),
        ([0.9, None, 0.1], 0.5, 1, [0.9, None, 0.1]),
        ([], 0.5, 1, []),
    ],
)
def test_the_score_sets_top_k(given: Any, drop: float, least: int, kept: Any) -> None:
    """What lies too far below the best goes; unknown scores, and none at all, change nothing."""
    assert scores(both(parts.ScoreDrop(drop=drop, least=least), hits(*given))) == kept


def test_a_score_that_is_no_number_drops_nothing() -> None:
    """Nothing can be said of a ranking with one."""
    assert len(both(parts.ScoreDrop(), hits(1.0, float("inf"), 0.1))) == 3


def test_what_was_said_before_goes() -> None:
    """A copy and a part of a better node go; a longer node that says more stays, and empty ones."""
    long = "Five days of leave carry over into the next year, and the rest of them is lost in July."
    texts = [long[:60], long[:60].upper(), long, long[10:50], " ", " ", "Parking is free."]
    kept = both(parts.NearDuplicates(), hits(*[1.0] * 7, texts=texts))
    assert [hit.node.get_content() for hit in kept] == [
        long[:60],
        long,
        " ",
        " ",
        "Parking is free.",
    ]


def test_duplicates_are_told_without_spaces_between_words() -> None:
    """In a language that has none, runs of characters are compared."""
    texts = [
        "休暇は五日まで翌年に繰り越すことができます。",
        "休暇は五日まで翌年に繰り越すことができます",
        "駐車場は無料です。",
    ]
    kept = both(parts.NearDuplicates(), hits(1.0, 0.9, 0.8, texts=texts))
    assert scores(kept) == [1.0, 0.8]


@pytest.mark.parametrize(
    ("given", "order"), [([5, 4, 3, 2, 1], [5, 3, 1, 2, 4]), ([2, 1], [2, 1]), ([], [])]
)
def test_the_best_stand_at_the_ends(given: Any, order: Any) -> None:
    """First and last are the two best; scores stay, so rankings are measured as before."""
    assert scores(both(parts.BestAtEnds(), hits(*given))) == order


def test_the_reranker_takes_nodes_without_scores() -> None:
    """A node without a score is the worst of retrieval; its sentences may still put it first."""
    texts = ["Parking is free.", "Five days of leave carry over.", ""]
    rerank = parts.SentenceRerank(embed_model=WordLlamaEmbedding())
    for given in ([None] * 3, [-2.0, -2.1, -9.0], [0.5, 0.5, None]):
        assert both(rerank, hits(*given, texts=texts))[0].node.get_content() == texts[1]


# --- fewer sentences ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=["words", "vectors"])
def test_the_sentences_that_answer_stay(model: Any) -> None:
    """They keep their words, their order and what they hang on; the node given is untouched."""
    given = hits(0.9, 0.5, texts=[LEAVE, "Parking is free for everybody. It has ten places."])
    first, second = both(parts.SentenceBudget(tokens=36, embed_model=model), given)
    left = first.node.get_content()
    assert "## Carrying over\n\nUp to five days of leave carry over." in left
    item = "- the signature of your manager, for days of leave that carry over"
    assert left.endswith(f"Needed are:\n{item}")
    assert "sauna" not in left
    assert second.node.get_content()  # it can still be cited
    assert (first.score, first.node.node_id) == (0.9, given[0].node.node_id)
    assert first.node.ref_doc_id == "0.md"
    pieces = [LEAVE[a:b] for a, b in first.node.metadata["pytest_rag_kept"]]
    assert "Up to five days of leave carry over." in pieces
    assert "pytest_rag_kept" not in first.node.get_content(metadata_mode="llm")
    assert given[0].node.get_content() == LEAVE
    assert given[0].node.metadata == {}


def test_every_piece_is_cut_from_the_text_within_the_budget() -> None:
    """At every budget: pieces in order, no word that was not there, and no more than asked."""
    for tokens in range(5, 80, 5):
        kept = both(parts.SentenceBudget(tokens=tokens), hits(1.0, 0.5, texts=[LEAVE, LEAVE[60:]]))
        words = sum(len(re.findall(r"\w+", hit.node.get_content())) for hit in kept)
        assert words <= max(tokens, 14)
        for hit, text in zip(kept, [LEAVE, LEAVE[60:]], strict=False):
            spans = hit.node.metadata.get("pytest_rag_kept", [])
            assert spans == sorted(spans)
            assert all(piece in text for piece in hit.node.get_content().split("\n"))


class OneChunk(FixedRetriever):
    """Finds one long passage; awaits where it is asked to."""

    async def _aretrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        return self._retrieve(query_bundle)


@pytest.mark.parametrize("is_async", [True, False])
def test_what_it_cut_is_seen_by_the_trace(is_async: bool) -> None:
    """Awaited or in a thread: a stage of its own, and the text that was handed on."""
    budget = parts.SentenceBudget(tokens=20, embed_model=WordLlamaEmbedding())
    rerank = parts.SentenceRerank(embed_model=WordLlamaEmbedding())
    engine = RetrieverQueryEngine.from_args(
        OneChunk(node("leave.md", LEAVE)), llm=ChatLLM(), node_postprocessors=[rerank, budget]
    )
    target = engine if is_async else lambda query: engine.query(query)
    seen = observe(target, QUERY.query_str)
    assert "sauna" not in seen.retrieved[0].text
    assert [step.part for step in seen.steps if step.stage == "rerank"] == [
        "SentenceRerank",
        "SentenceBudget",
    ]


def test_a_context_that_fits_is_not_touched() -> None:
    """The very nodes come back; as they do where there is no query."""
    given = hits(1.0, texts=[LEAVE])
    assert both(parts.SentenceBudget(tokens=500), given) == given
    assert both(parts.SentenceBudget(tokens=1), given, None) == given


@pytest.mark.parametrize("model", MODELS, ids=["words", "vectors"])
def test_odd_nodes_are_survived(model: Any) -> None:
    """Nothing, blanks, a picture, headings alone, no metadata, and text that never ends."""
    budget = parts.SentenceBudget(tokens=20, embed_model=model)
    assert both(budget, []) == []
    only = hits(1.0, texts=["# A heading " + "that goes on " * 20])
    assert both(budget, only) == only
    picture = NodeWithScore(node=ImageNode(image="aGk="), score=0.1)
    bare = NodeWithScore(node=TextNode(text="Leave is long. " * 30), score=None)
    bare.node.__dict__["metadata"] = None
    huge = hits(0.5, texts=["Leave carries over, and so on. " * 3000])
    kept = both(budget, [bare, picture, *hits(0.2, texts=[" \n "]), *huge])
    assert picture in kept
    assert sum(len(hit.node.get_content().split()) for hit in kept) <= 20


@pytest.mark.parametrize(
    ("query", "text", "said"),
    [
        (
            "Quantos dias de férias tem cada trabalhador?",
            "O Douro sobe. Cada trabalhador tem 24 dias de férias. A sauna é à quinta.",
            "Cada trabalhador tem 24 dias de férias.",
        ),
        (
            "Wie viele Urlaubstage verfallen im Juli?",
            "Der Park ist auf. Alle übrigen Urlaubstage verfallen im Juli. Die Sauna ist zu.",
            "Alle übrigen Urlaubstage verfallen im Juli.",
        ),
    ],
)
def test_other_languages_are_read_by_their_own_stems(query: str, text: str, said: str) -> None:
    """The language is that of the query."""
    (kept,) = both(parts.SentenceBudget(tokens=9), hits(1.0, texts=[text]), QueryBundle(query))
    assert kept.node.get_content() == said


# --- filters -----------------------------------------------------------------------------------

PAGES = {
    "hr/leave.md": ("hr", "en", "Five days of leave carry over. Ask the HR department."),
    "hr/pay.md": ("hr", "en", "Salaries are paid on the last day. Ask HR or Atlas support."),
    "atlas/a.md": ("Atlas", "en", "Atlas runs on batteries. It carries over its settings."),
    "atlas/b.md": ("Atlas", "en", "Atlas is charged by cable, at the office."),
    "atlas/c.md": ("Atlas", "en", "An Atlas that is wet must be dried."),
    "office/a.md": ("office", "en", "The office opens at eight. Leave your boots outside."),
    "office/b.md": ("office", "en", "Parking at the office is free."),
    "pt/a.md": ("hr", "pt", "Cada trabalhador tem 24 dias de férias por ano."),
}


def pages() -> VectorStoreIndex:
    """Return an index of pages of departments, in two languages."""
    documents = [
        Document(id_=name, text=text, metadata={"department": department, "language": language})
        for name, (department, language, text) in PAGES.items()
    ]
    return VectorStoreIndex.from_documents(documents, embed_model=WordLlamaEmbedding())


def narrowed(**options: Any) -> parts.InferredFilters:
    """Return a retriever that reads filters out of the query."""
    made = pages()
    nodes = made.docstore.docs.values()
    return parts.InferredFilters(made.as_retriever(similarity_top_k=4), nodes, **options)


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ("What does the HR department say of leave?", {"department": ["hr"]}),
        ("leave, department: hr", {"department": ["hr"]}),
        ("Can one charge the Atlas at night?", {}),  # three of the four that name it have it
        ("Where at the office may I park?", {}),  # pages of others name it as well
        ("Which department is it?", {}),
        ("Leave, but not in the HR department?", {}),
        ("HR department or office department?", {"department": ["hr", "office"]}),
        ("Do HR or the office department know?", {"department": ["hr", "office"]}),
        ("Quantos dias de férias tem cada trabalhador por ano?", {"language": ["pt"]}),
        ("", {}),
        ("(((", {}),
    ],
)
def test_filters_are_read_out_of_the_query(query: str, filters: Any) -> None:
    """A value beside its key, and a language that is not the usual one; never on a negation."""
    assert narrowed().infer(query) == filters


def test_a_value_that_is_a_word_of_its_group_needs_no_key() -> None:
    """With the one page gone that names it from outside, the product's name is enough."""
    nodes = [n for n in pages().docstore.docs.values() if n.ref_doc_id != "hr/pay.md"]
    wrapped = parts.InferredFilters(pages().as_retriever(), nodes)
    assert wrapped.infer("Can one charge the Atlas at night?") == {"department": ["Atlas"]}
    assert wrapped.candidates("Can one charge the Atlas at night?") == 3
    assert wrapped.candidates("Is it open?") == 7


def test_keys_go_by_other_names() -> None:
    """What people call a key can be told."""
    wrapped = narrowed(names={"department": ["team", "Abteilung"]})
    assert wrapped.infer("What does the HR team pay?") == {"department": ["hr"]}


def test_a_key_that_a_node_lacks_is_no_filter() -> None:
    """The node would be lost."""
    nodes = [*pages().docstore.docs.values(), TextNode(text="Without metadata.")]
    wrapped = parts.InferredFilters(pages().as_retriever(), nodes)
    assert wrapped.infer("What does the HR department say?") == {}


def test_only_what_passes_is_searched_and_the_rest_stands_behind_where_that_is_little() -> None:
    """Synchronously and awaited; the wrapped retriever keeps its own filters."""
    query = "What does the HR department say of desks and of parking?"
    for least, documents in ((1, {"hr"}), (4, {"hr", "office", "Atlas"})):
        wrapped = narrowed(least=least)
        found = wrapped.retrieve(query)
        assert {h.metadata["department"] for h in found} <= documents
        assert [h.metadata["department"] for h in found[:3]] == ["hr"] * 3
        assert (len(found) > 3) == (least > 3)
        awaited = asyncio.run(wrapped.aretrieve(query))
        assert [h.node_id for h in awaited] == [h.node_id for h in found]


def test_a_retriever_without_a_place_for_filters_is_refused() -> None:
    """When it is wrapped, and not at the first question."""
    with pytest.raises(PipelineError, match="takes none at query time"):
        parts.InferredFilters(FixedRetriever(), [])
    with pytest.raises(ConfigError, match="least must be an integer"):
        narrowed(least=-1)


# --- caches ------------------------------------------------------------------------------------


class CountingEmbedding(WordEmbedding):
    """Counts the queries it embeds."""

    asked: int = 0

    def _get_query_embedding(self, query: str) -> list[float]:
        self.asked += 1
        return super()._get_query_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


@pytest.mark.parametrize("cache", ["memory", "sqlite"])
def test_a_query_is_embedded_once(cache: str, tmp_path: Any) -> None:
    """From either side, also through SQLite; another query is another vector."""
    url = cache if cache == "memory" else f"sqlite:{tmp_path / 'c.db'}"
    model = CountingEmbedding()
    cached = parts.CachedEmbedding(model, url)
    first = cached.get_query_embedding("leave")
    assert cached.get_query_embedding("leave") == first == model._vector("leave")
    assert asyncio.run(cached.aget_query_embedding("leave")) == first
    assert model.asked == 1
    assert cached.get_query_embedding("parking") != first
    assert cached.get_text_embedding("pension") == model._vector("pension")
    assert model.asked == 2


def test_a_vector_from_the_cache_is_no_call() -> None:
    """The trace has the model's call the first time, and none the second."""
    made = VectorStoreIndex.from_documents(
        [Document(id_="leave.md", text="Five days of leave.")], embed_model=WordEmbedding()
    )
    retriever = made.as_retriever(embed_model=parts.CachedEmbedding(CountingEmbedding()))
    first, second = observe(retriever, "leave"), observe(retriever, "leave")
    assert [len(first.calls), len(second.calls)] == [1, 0]
    assert [r.id for r in second.retrieved] == ["leave.md"]


def test_nodes_are_retrieved_once_until_the_documents_change() -> None:
    """The same nodes with the same scores; a new document empties the cache."""
    made, model = index(), CountingEmbedding()
    cached = parts.CachedRetriever(made.as_retriever(embed_model=model, similarity_top_k=9))
    first = cached.retrieve("leave")
    again = cached.retrieve("leave")
    assert [(h.node, h.score) for h in again] == [(h.node, h.score) for h in first]
    assert len(asyncio.run(cached.aretrieve("leave"))) == 3
    assert model.asked == 1
    made.insert(Document(id_="new.md", text="More leave."))
    cached.retrieve("leave")
    assert model.asked == 2


def test_a_broken_entry_is_a_miss() -> None:
    """Whatever the cache says."""
    cached = parts.CachedRetriever(index().as_retriever())
    first = cached.retrieve("leave")
    key, _ = next(cached._shelf.cache.scan(cached._key(QueryBundle("leave")).namespace))
    cached._shelf.cache.put(key, b"torn")
    assert [h.node_id for h in cached.retrieve("leave")] == [h.node_id for h in first]


def test_filters_of_a_case_reach_through_all_of_them() -> None:
    """Cache around inferred filters around an index: a case's filters hold, each for itself."""
    cached = parts.CachedRetriever(narrowed())
    for department in ("hr", "office", "hr"):
        seen = observe(cached, "What is free?", {"department": department})
        assert {r.metadata["department"] for r in seen.retrieved} == {department}


# --- in the local pipeline ---------------------------------------------------------------------


def local(**params: Any) -> LocalPipeline:
    """Return a local pipeline over the pages."""
    documents = [
        Document(id_=name, text=text, metadata={"department": department, "language": language})
        for name, (department, language, text) in PAGES.items()
    ]
    return LocalPipeline.from_documents(documents, **params)


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid"])
def test_the_local_pipeline_infers_filters(retriever: str) -> None:
    """Beside those of the case, which win; the cache tells them apart."""
    pipeline = local(retriever=retriever, infer_filters=True, retrieval_cache="memory")
    query = "What does the HR department say of leave, and of desks?"
    for filters, departments in (({}, {"hr"}), ({"department": "office"}, {"office"})) * 2:
        found = pipeline.query(query, filters).source_nodes
        assert {hit.node.metadata["department"] for hit in found} == departments
    found = asyncio.run(pipeline.aquery(query)).source_nodes
    assert {hit.node.metadata["department"] for hit in found} == {"hr"}


def test_all_of_them_together_answer() -> None:
    """Every part at once, and the answer is what it was."""
    query = "How many days of leave carry over?"
    every = local(
        rerank="sentences",
        score_drop=0.9,
        duplicates=0.8,
        sentence_tokens=20,
        order="best_at_ends",
        infer_filters=True,
        retrieval_cache="memory",
    )
    expected = "Five days of leave carry over."
    assert [every.query(query).response, asyncio.run(every.aquery(query)).response] == [
        expected
    ] * 2


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"score_drop": 2}, "score_drop must be a number between 0 and 1, not 2."),
        ({"duplicates": 0}, "duplicates must be a number between"),
        ({"sentence_tokens": 1.5}, "sentence_tokens must be an integer of at least 1"),
        ({"order": "best_at_end"}, "Did you mean 'best_at_ends'?"),
        ({"infer_filters": "yes"}, "infer_filters must be true or false"),
        ({"retrieval_cache": "memry"}, "Did you mean 'memory'?"),
    ],
)
def test_wrong_parameters_are_told(params: Any, said: str) -> None:
    """Each in one sentence."""
    with pytest.raises(ConfigError) as error:
        local(**params)
    assert said in str(error.value)


@pytest.mark.parametrize("name", parts.__all__)
def test_every_part_can_be_had(name: str) -> None:
    """What the package promises is there and documented."""
    assert getattr(parts, name).__doc__
    assert name in dir(parts)
