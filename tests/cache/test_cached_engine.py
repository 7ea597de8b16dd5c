"""CachedQueryEngine answers repeated questions as the engine would have."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import time

import numpy as np
import pytest
from counting_engine import CountingEngine, mark, source
from llama_index.core import Document
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_parts import ChatLLM, WordEmbedding, index, observe
from pydantic import BaseModel

import pytest_rag
from pytest_rag import CachedQueryEngine
from pytest_rag.cache import open_cache
from pytest_rag.config import Price
from pytest_rag.errors import ConfigError

QUERY = "How many days carry over?"


def ask(engine, query=QUERY, *, how="sync"):
    """Ask in one of two ways and read a stream to its end; return the response."""
    if how == "sync":
        response = engine.query(query)
        return response.get_response() if "Streaming" in type(response).__name__ else response

    async def go():
        response = await engine.aquery(query)
        return await response.get_response() if "Async" in type(response).__name__ else response

    return asyncio.run(go())


# --- hits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("first", ["sync", "async"])
@pytest.mark.parametrize("second", ["sync", "async"])
def test_a_repeated_question_asks_nobody(cache, streaming, first, second):
    """Whole or streamed, awaited or not: the second answer is the first one's."""
    inner = CountingEngine("Five days carry over.", streaming=streaming)
    cached = CachedQueryEngine(inner, cache)
    one = ask(cached, how=first)
    two = ask(cached, how=second)
    assert inner.asked == [QUERY]
    assert two.response == one.response
    assert two.source_nodes == one.source_nodes
    assert mark(one) == {}
    assert (mark(two)["cache"], mark(two)["query"]) == ("hit", QUERY)
    assert (cached.stats().hits, cached.stats().misses) == (1, 1)


def test_a_hit_of_a_streaming_engine_streams():
    """It is LlamaIndex's streaming response of either kind, in more than one piece."""
    cached = CachedQueryEngine(CountingEngine("Five days carry over.", streaming=True))
    ask(cached)
    hit = cached.query(QUERY)
    assert isinstance(hit, StreamingResponse)
    pieces = list(hit.response_gen)
    assert len(pieces) > 1
    assert "".join(pieces) == "Five days carry over. "

    async def go():
        hit = await cached.aquery(QUERY)
        assert isinstance(hit, AsyncStreamingResponse)
        return [piece async for piece in hit.async_response_gen()]

    assert asyncio.run(go()) == pieces


def test_an_awaited_stream_is_read_as_the_engines_own_is():
    """An engine that awaits nothing gives a plain iterator even there; so does the hit."""

    class Engine(CountingEngine):
        async def _aquery(self, query_bundle):
            return self._query(query_bundle)

    cached = CachedQueryEngine(Engine("Five days.", streaming=True))

    async def go():
        return [list((await cached.aquery(QUERY)).response_gen) for _ in range(2)]

    first, second = asyncio.run(go())
    assert "".join(first) == "".join(second)
    assert cached.stats().hits == 1


def test_a_response_comes_back_whole(cache):
    """Scores, metadata, relationships and ids are those of the engine; vectors are not kept."""
    node = source(score=np.float32(0.5))
    node.node.embedding = [0.1] * 1000
    node.node.metadata["day"] = datetime.date(2026, 3, 1)
    node.node.metadata["weight"] = np.float64(2.5)

    class Engine(CustomQueryEngine):
        def custom_query(self, query_str: str):
            return Response("Five.", [node, source(score=None)], {"sql": ("a", 1)})

    cached = CachedQueryEngine(Engine(), cache, fingerprint="1")
    cached.query(QUERY)
    hit = cached.query(QUERY)
    first, second = hit.source_nodes
    assert (first.score, second.score) == (0.5, None)
    assert first.node.ref_doc_id == "leave.md"
    assert (first.node.node_id, first.node.text) == ("leave-1", "Five days carry over.")
    assert first.node.metadata == {
        "file_name": "leave.md", "page": 3, "day": "2026-03-01", "weight": 2.5
    }  # fmt: skip
    assert first.node.embedding is None
    assert node.node.embedding is not None
    assert hit.metadata["sql"] == ["a", 1]


def test_hits_do_not_share_what_they_return():
    """Who changes an answer changes it for nobody else."""
    cached = CachedQueryEngine(CountingEngine("Five."))
    cached.query(QUERY)
    one = cached.query(QUERY)
    one.source_nodes[0].node.metadata["file_name"] = "changed"
    one.metadata.clear()
    two = cached.query(QUERY)
    assert two.source_nodes[0].node.metadata["file_name"] == "leave.md"
    assert mark(two)["cache"] == "hit"


def test_a_structured_answer_comes_back_as_its_class(cache):
    """A pydantic answer of a real synthesizer is its class again, not a text."""

    class Days(BaseModel):
        days: int

    llm = ChatLLM(rule={"tool": "Days", "arguments": {"days": 5}})
    cached = CachedQueryEngine(index().as_query_engine(llm=llm, output_cls=Days), cache)
    assert cached.query(QUERY).response == Days(days=5)
    hit = cached.query(QUERY)
    assert isinstance(hit, PydanticResponse)
    assert hit.response == Days(days=5)
    assert mark(hit)["cache"] == "hit"


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("caf\u00e9?", "cafe\u0301?", True),
        ("How?", "  How?\n", True),
        ("How?", "how?", False),
        ("How?", "How ?", False),
        ("How \ud800?", "How \ud800?", True),
        (QueryBundle("How?"), "How?", True),
        (QueryBundle("How?", custom_embedding_strs=["a"]), "How?", False),
        (QueryBundle("How?", embedding=[1.0]), QueryBundle("How?", embedding=[2.0]), False),
    ],
)
def test_which_questions_are_the_same(one, two, same):
    """Composed and decomposed letters are, and space around; case, space within and vectors not."""
    inner = CountingEngine("Five.")
    cached = CachedQueryEngine(inner)
    cached.query(one)
    cached.query(two)
    assert len(inner.asked) == (1 if same else 2)


def test_a_bundle_may_be_used_again():
    """A retriever writes the embedding into the bundle it is given; the caller's stays as it is."""
    cached = CachedQueryEngine(index().as_query_engine(llm=ChatLLM(rule="Five.")))
    bundle = QueryBundle(QUERY)
    cached.query(bundle)
    assert mark(cached.query(bundle))["cache"] == "hit"


# --- what is not kept -------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "answer",
    ["", "  \n", "Empty Response", "I do not know.", "The context does not mention it."],
)
def test_nothing_and_refusals_are_not_kept(answer, streaming):
    """Empty answers never, refusals only where that is asked for."""
    inner = CountingEngine(answer, streaming=streaming)
    cached = CachedQueryEngine(inner)
    ask(cached)
    ask(cached)
    assert len(inner.asked) == 2
    assert cached.stats().not_stored == 2
    willing = CachedQueryEngine(inner, cache_refusals=True)
    ask(willing)
    ask(willing)
    empty = answer.strip() in ("", "Empty Response")
    assert len(inner.asked) == (4 if empty else 3)


def test_nothing_retrieved_is_not_kept():
    """A real engine over an index without nodes says two words that are no answer."""
    empty = type(index())(nodes=[], embed_model=WordEmbedding())
    cached = CachedQueryEngine(empty.as_query_engine(llm=MockLLM()), fingerprint="none")
    assert cached.query(QUERY).response == "Empty Response"
    cached.query(QUERY)
    assert (cached.stats().misses, cached.stats().stored) == (2, 0)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_errors_are_raised_and_not_kept(how):
    """The next one who asks gets an answer."""
    answers = iter([ConnectionError("away"), "Five."])
    cached = CachedQueryEngine(CountingEngine(lambda _: next(answers)))
    with pytest.raises(ConnectionError, match="away"):
        ask(cached, how=how)
    assert ask(cached, how=how).response == "Five."
    assert mark(ask(cached, how=how))["cache"] == "hit"
    assert (cached.stats().errors, cached.stats().misses) == (1, 2)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_half_a_stream_is_not_kept(how):
    """One that broke and one that was left leave nothing behind."""
    answers = iter(["Five BREAK", "Five days.", "Five days."])
    inner = CountingEngine(lambda _: next(answers), streaming=True)
    cached = CachedQueryEngine(inner)
    with pytest.raises(ConnectionError):
        ask(cached, how=how)
    left = cached.query(QUERY)
    next(left.response_gen)
    del left
    assert ask(cached, how=how).response == "Five days. "
    assert len(inner.asked) == 3
    assert mark(ask(cached, how=how))["cache"] == "hit"


def test_what_json_cannot_hold_is_answered_and_not_kept():
    """A score that is no number, and an object in the metadata."""
    answers = iter(
        [
            Response("Five.", [NodeWithScore(node=TextNode(text="a"), score=float("nan"))]),
            Response("Five.", [], {"open": object()}),
        ]
    )

    class Engine(CustomQueryEngine):
        def custom_query(self, query_str: str):
            return next(answers)

    cached = CachedQueryEngine(Engine(), fingerprint="1")
    assert [cached.query(QUERY).response for _ in range(2)] == ["Five.", "Five."]
    assert (cached.stats().not_stored, cached.stats().stored) == (2, 0)


def test_a_secret_of_the_environment_is_not_kept(monkeypatch, tmp_path):
    """An answer that gives a key away does not stay on the disk."""
    monkeypatch.setenv("HOUSE_API_KEY", "zq8-very-secret-indeed")
    cached = CachedQueryEngine(
        CountingEngine("The key is zq8-very-secret-indeed."), f"sqlite:{tmp_path / 'a.db'}"
    )
    cached.query(QUERY)
    assert cached.stats().not_stored == 1
    cached.close()
    assert all(b"zq8-very" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_torn_or_foreign_entry_is_a_miss(cache, engine):
    """It is counted, the engine is asked, and the place is good again."""
    cached = CachedQueryEngine(engine, cache, fingerprint="1")
    cached.query(QUERY)
    ((key, value),) = cache.scan(cached._known().namespace())
    assert json.loads(value)["body"]["answer"] == f"It is about {QUERY}."
    for harm in (value[:-9], b"\x80\x04K\x01.", value.replace(b"about", b"ABOUT")):
        cache.put(key, harm, ttl=60)
        assert cached.query(QUERY).response == f"It is about {QUERY}."
        assert mark(cached.query(QUERY))["cache"] == "hit"
    assert cached.stats().corrupt == 3
    assert len(engine.asked) == 4


# --- time -------------------------------------------------------------------------------------


def test_an_answer_has_its_time(cache, engine):
    """After ``ttl`` the engine is asked again; it may be a timedelta."""
    cached = CachedQueryEngine(engine, cache, ttl=datetime.timedelta(milliseconds=80))
    cached.query(QUERY)
    cached.query(QUERY)
    assert len(engine.asked) == 1
    time.sleep(0.1)
    cached.query(QUERY)
    assert len(engine.asked) == 2


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_stale_answer_is_served_while_one_is_made(cache, how, streaming):
    """Everybody has the old one at once, one new one is made, and then they have that."""
    numbers = iter(range(9))
    inner = CountingEngine(lambda _: f"Answer {next(numbers)}.", streaming=streaming)
    cached = CachedQueryEngine(inner, cache, ttl=0.4, stale=60)
    ask(cached, how=how)
    time.sleep(0.45)
    inner.wait_s = 0.1
    if how == "sync":
        stale = [ask(cached) for _ in range(3)]
        _until(lambda: cached.stats().refreshes and cached.stats().stored == 2)
        fresh = ask(cached)
    else:

        async def go():
            stale = [await cached.aquery(QUERY) for _ in range(3)]
            if streaming:
                stale = [await s.get_response() for s in stale]
            await asyncio.to_thread(_until, lambda: cached.stats().stored == 2)
            fresh = await cached.aquery(QUERY)
            return stale, await fresh.get_response() if streaming else fresh

        stale, fresh = asyncio.run(go())
    assert [(mark(s)["cache"], s.response.strip()) for s in stale] == [("stale", "Answer 0.")] * 3
    assert (mark(fresh)["cache"], fresh.response.strip()) == ("hit", "Answer 1.")
    assert (cached.stats().refreshes, len(inner.asked)) == (1, 2)


def test_a_refresh_that_fails_leaves_the_old_answer(caplog):
    """It is said in the log, tried again later, and nobody's question fails for it."""
    answers = iter(["Five.", ConnectionError("away"), "Six."])
    cached = CachedQueryEngine(
        CountingEngine(lambda _: next(answers)), ttl=0.05, stale=60, lease_s=0.05
    )
    cached.query(QUERY)
    time.sleep(0.06)
    assert cached.query(QUERY).response == "Five."
    _until(lambda: "could not be made anew: away" in caplog.text)
    _until(lambda: cached.query(QUERY).response == "Six.")


def _until(true, seconds=10.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- another corpus, another engine -----------------------------------------------------------


def test_a_changed_index_empties_what_it_must(cache):
    """Insert, replace, delete and a text changed in place: each is seen at the next question."""
    documents = index()
    inner = documents.as_query_engine(llm=ChatLLM(rule="Five."))
    cached = CachedQueryEngine(inner, cache)

    def misses() -> int:
        cached.query(QUERY)
        cached.query(QUERY)
        return cached.stats().misses

    assert misses() == 1
    documents.insert(Document(id_="new.md", text="Leave is new."))
    assert misses() == 2
    documents.update_ref_doc(Document(id_="new.md", text="Leave is newer."))
    assert misses() == 3
    documents.delete_ref_doc("leave.md")
    assert misses() == 4
    (node, *_) = [n for n in documents.docstore.docs.values() if n.ref_doc_id == "parking.md"]
    documents.docstore.add_documents([node.model_copy(update={"metadata": {"v": 2}})])
    assert misses() == 5
    assert cache.stats().entries == 1  # those of the old corpus are gone


def test_two_processes_agree_on_a_corpus():
    """An index that is built again has other ids, and the same documents."""
    one = CachedQueryEngine(index().as_query_engine(llm=ChatLLM(rule="Five.")))
    two = CachedQueryEngine(index().as_query_engine(llm=ChatLLM(rule="Five.")), one.cache)
    one.query(QUERY)
    assert mark(two.query(QUERY))["cache"] == "hit"


@pytest.mark.parametrize(
    "other",
    [
        {"similarity_top_k": 1},
        {"llm": ChatLLM(rule="Six.")},
        {"text_qa_template": PromptTemplate("{context_str} {query_str}!")},
        {"response_mode": "tree_summarize"},
    ],
    ids=["top_k", "llm", "prompt", "mode"],
)
def test_another_configuration_has_other_answers(other):
    """Engines that differ in any setting do not answer for each other."""
    documents = index()
    one = CachedQueryEngine(documents.as_query_engine(llm=ChatLLM(rule="Five.")))
    one.query(QUERY)
    settings = {"llm": ChatLLM(rule="Five."), **other}
    two = CachedQueryEngine(documents.as_query_engine(**settings), one.cache)
    assert mark(two.query(QUERY)) == {}


def test_a_new_prompt_is_seen():
    """Prompts that are updated after the engine was wrapped count."""
    inner = index().as_query_engine(llm=ChatLLM(rule="Five."))
    cached = CachedQueryEngine(inner)
    cached.query(QUERY)
    template = PromptTemplate("{context_str} {query_str} In one word.")
    inner.update_prompts({"response_synthesizer:text_qa_template": template})
    cached.refresh()
    assert mark(cached.query(QUERY)) == {}


def test_a_fingerprint_may_be_given(caplog, engine):
    """As a text or a function; an engine whose documents cannot be seen says so in the log."""
    version = ["a"]
    cached = CachedQueryEngine(engine, fingerprint=lambda: version[0])
    cached.query(QUERY)
    version[0] = "b"
    assert mark(cached.query(QUERY)) == {}
    assert mark(cached.query(QUERY))["cache"] == "hit"
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        CachedQueryEngine(engine)
    assert "documents behind CountingEngine cannot be seen" in caplog.text


def test_filters_are_part_of_the_question():
    """Through the harness: each case's filters have their own answer."""
    inner = index().as_query_engine(llm=ChatLLM(rule=lambda prompt: prompt), similarity_top_k=3)
    cached = CachedQueryEngine(inner)
    seen = [observe(cached, QUERY, {"department": letter}) for letter in ("l", "p", "l", "p")]
    assert [[node.id for node in o.retrieved][:1] for o in seen[::2]] == [["leave.md"]] * 2
    assert "leave.md" not in [node.id for node in seen[1].retrieved]
    assert seen[1].retrieved == seen[3].retrieved
    assert (cached.stats().hits, cached.stats().misses) == (2, 2)


def test_invalidate_forgets_this_engine_only(cache, engine):
    """Another engine's answers in the same cache stay."""
    mine = CachedQueryEngine(engine, cache, namespace="mine")
    other = CachedQueryEngine(engine, cache, namespace="other")
    mine.query(QUERY)
    other.query(QUERY)
    assert len(engine.asked) == 2
    assert mine.invalidate() == 1
    assert mark(mine.query(QUERY)) == {}
    assert mark(other.query(QUERY))["cache"] == "hit"


def test_the_local_pipeline_can_be_wrapped(tmp_path):
    """It is no query engine and has one; its own fingerprint counts."""
    local = pytest_rag.LocalPipeline.from_documents(
        [Document(id_="leave.md", text="Five days of leave carry over.")]
    )
    with CachedQueryEngine(local, f"sqlite:{tmp_path / 'a.db'}") as cached:
        first = cached.query("How many days of leave carry over?")
        again = cached.query("How many days of leave carry over?")
    assert mark(again)["cache"] == "hit"
    assert again.response == first.response


# --- similar questions ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sync", "async"])
def test_similar_questions_only_where_asked_for(cache, engine, how):
    """Such a hit says how similar, and to what; below the floor there is none."""
    plain = CachedQueryEngine(engine, cache, fingerprint="1")
    ask(plain, "leave and travel", how=how)
    assert mark(ask(plain, "travel and leave", how=how)) == {}
    similar = CachedQueryEngine(
        engine, cache, fingerprint="2", semantic=WordEmbedding(), floor=0.99
    )
    ask(similar, "leave and travel", how=how)
    hit = mark(ask(similar, "travel and leave", how=how))
    assert (hit["cache"], hit["query"], hit["similarity"]) == ("semantic", "leave and travel", 1.0)
    assert mark(ask(similar, "parking and leave", how=how)) == {}
    other = CachedQueryEngine(engine, cache, fingerprint="2", semantic=WordEmbedding(), floor=0.99)
    assert mark(ask(other, "travel, leave", how=how))["cache"] == "semantic"
    assert (similar.stats().semantic_hits, similar.stats().misses) == (1, 2)


def test_an_embedding_model_that_fails_fails_no_question(caplog, engine):
    """Similar questions are not found then, and the log says so once."""

    class Broken(WordEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            raise ConnectionError("no vectors today")

    cached = CachedQueryEngine(engine, fingerprint="1", semantic=Broken())
    assert [cached.query(q).response for q in ("a", "b")] == ["It is about a.", "It is about b."]
    assert caplog.text.count("no vectors today") == 1


# --- money and counts -------------------------------------------------------------------------

PRICES = {"scripted-1": Price(input=1.0, output=2.0), "WordEmbedding": Price()}


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_what_a_hit_saved_is_what_the_miss_cost(streaming):
    """By the calls that were traced; the calls go to the hook, those of hits do not."""
    calls = []
    inner = index().as_query_engine(llm=ChatLLM(rule="Five days."), streaming=streaming)
    cached = CachedQueryEngine(inner, prices=PRICES, on_call=calls.append)
    ask(cached)
    ask(cached)
    ask(cached)
    (embed, spoken) = calls
    assert (embed.stage, spoken.stage) == ("embed", "llm")
    expected = (spoken.input_tokens + 2 * spoken.output_tokens) / 1e6
    assert cached.stats().saved_usd == pytest.approx(2 * expected)
    assert cached.stats().unpriced_hits == 0
    assert cached.stats().saved_ms > 0
    told = mark(ask(cached))
    assert told["cost_usd"] == pytest.approx(expected)
    assert [call["model"] for call in told["calls"]] == ["WordEmbedding", "scripted-1"]


def test_an_unknown_price_is_not_nothing():
    """A hit whose cost is unknown is counted as such, with the reason."""
    inner = index().as_query_engine(llm=ChatLLM(rule="Five days."))
    cached = CachedQueryEngine(inner)
    ask(cached)
    told = mark(ask(cached))
    assert told["cost_usd"] is None
    assert "WordEmbedding" in told["cost_reason"]
    assert (cached.stats().saved_usd, cached.stats().unpriced_hits) == (0.0, 1)


def test_calls_of_a_question_that_failed_are_told():
    """What was paid for before it broke reaches the hook; a hook that breaks breaks nothing."""
    calls = []
    failing = ChatLLM(rule=lambda prompt: ConnectionError("away"))
    cached = CachedQueryEngine(index().as_query_engine(llm=failing), on_call=calls.append)
    with pytest.raises(ConnectionError):
        ask(cached)
    assert [call.stage for call in calls] == ["embed", "llm"]
    broken = CachedQueryEngine(
        index().as_query_engine(llm=ChatLLM(rule="Five.")), on_call=lambda call: 1 / 0
    )
    assert ask(broken).response == "Five."


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_the_harness_sees_through_it(streaming):
    """A question under trace has the engine's stages, calls and documents."""
    inner = index().as_query_engine(llm=ChatLLM(rule="Five days."), streaming=streaming)
    bare = observe(inner, QUERY, prices=PRICES)
    seen = observe(CachedQueryEngine(inner), QUERY, prices=PRICES)
    assert seen.cost_usd == bare.cost_usd > 0
    assert [c.stage for c in seen.calls] == [c.stage for c in bare.calls]
    assert seen.timing.stages_ms.keys() == bare.timing.stages_ms.keys()
    assert [r.id for r in seen.retrieved] == [r.id for r in bare.retrieved]
    assert seen.documents == bare.documents


def test_counts_reach_the_cache(tmp_path, engine):
    """They are there for the next process when the engine is closed."""
    url = f"sqlite:{tmp_path / 'a.db'}"
    for _ in range(2):
        with CachedQueryEngine(engine, url, fingerprint="1", namespace="x") as cached:
            cached.query(QUERY)
            cached.query(QUERY)
    opened = open_cache(url)
    totals = opened.stats().totals
    assert (totals["hits"], totals["misses"], totals["stored"]) == (3, 1, 1)
    opened.close()


# --- a person's mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ttl": 0}, "ttl must be"),
        ({"ttl": "1h"}, "ttl must be 0.001 seconds or more, not '1h'"),
        ({"ttl": float("nan")}, "ttl must be"),
        ({"stale": -1}, "stale must be"),
        ({"floor": 95}, "floor must be a similarity of 0 to 1"),
        ({"cache": "memroy"}, "Did you mean 'memory'"),
        ({"namespace": "my app"}, "is no namespace"),
        ({"fingerprint": 5}, "fingerprint"),
    ],
)
def test_a_wrong_setting_is_told_at_once(engine, given, said):
    """Before any question is asked."""
    with pytest.raises(ConfigError, match=said):
        CachedQueryEngine(engine, **given)


def test_what_is_no_engine_is_told():
    """An index has a method that makes one."""
    with pytest.raises(ConfigError, match=r"VectorStoreIndex\.as_query_engine\(\)"):
        CachedQueryEngine(index())
