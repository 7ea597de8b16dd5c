"""What the parts save on the handbook, and that it costs no quality."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.llms.openai_like import OpenAILike
from openai_server import Server

from pytest_rag import CachedQueryEngine, load_evalset
from pytest_rag.pipelines.local import LocalPipeline
from pytest_rag.pipelines.optimise import InferredFilters
from pytest_rag.stats.paired import sign_flip_test

if TYPE_CHECKING:
    from collections.abc import Iterator

EVALSETS = Path(__file__).parents[2] / "evalsets"
PROMPT = re.compile(
    r"Context:\n(.*)\n\nAnswer the question from.*\nQuestion: (.*)\nAnswer:", re.DOTALL
)


SENT: list[int] = []
"""Words of each prompt that the server was sent."""


def read(prompt: str) -> str:
    """Answer as a reader of few words would: the line that shares most words with the question."""
    SENT.append(len(prompt.split()))
    found = PROMPT.search(prompt)
    assert found is not None, prompt
    asked = set(re.findall(r"\w{3,}", found[2].lower()))
    pieces = re.split(r"(?<=[.!?])\s+|\n", found[1])
    return max(pieces, key=lambda piece: len(asked & set(re.findall(r"\w{3,}", piece.lower()))))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A model behind OpenAI's protocol."""
    made = Server(say=read)
    yield made
    made.close()


def handbook(server: Server, **params: Any) -> LocalPipeline:
    """Return the handbook read by that model."""
    llm = OpenAILike(model="few-words", api_base=server.url, api_key="k", is_chat_model=True)
    return LocalPipeline.from_folder(EVALSETS / "handbook", synthesizer="llm", llm=llm, **params)


def cases() -> list[Any]:
    """Return the cases of the handbook."""
    return list(load_evalset(EVALSETS / "handbook.rag.yaml").cases)


def overlap(answer: str, references: tuple[str, ...]) -> float:
    """Return the best F1 of words."""
    said = Counter(re.findall(r"\w+", answer.lower()))
    best = 0.0
    for reference in references:
        wanted = Counter(re.findall(r"\w+", reference.lower()))
        common = (said & wanted).total()
        best = max(best, 2 * common / (said.total() + wanted.total()))
    return best


def test_fewer_sentences_save_tokens_and_lose_nothing(server: Server) -> None:
    """More than 40 % of the input tokens, at answers that are not significantly worse."""
    asked = [case for case in cases() if case.answers]
    seen: list[tuple[list[float], int]] = []
    for params in ({}, {"sentence_tokens": 300}):
        pipeline, before = handbook(server, **params), sum(SENT)
        answers = [pipeline.query(case.query, case.filters).response for case in asked]
        quality = [overlap(a, case.answers) for a, case in zip(answers, asked, strict=True)]
        seen.append((quality, sum(SENT) - before))
    (base, tokens_before), (head, tokens_after) = seen
    differences = [now - then for now, then in zip(head, base, strict=True)]
    assert len(asked) > 70
    assert tokens_after < 0.6 * tokens_before
    assert sum(base) / len(base) > 0.1  # the reader does find answers
    assert sum(differences) / len(differences) > -0.01
    assert sign_flip_test(differences) > 0.05


def test_fewer_sentences_leave_the_ranking_alone() -> None:
    """Every document that was found is still there to be cited, in its place."""
    whole = LocalPipeline.from_folder(EVALSETS / "handbook")
    reduced = LocalPipeline.from_folder(EVALSETS / "handbook", sentence_tokens=350)
    for case in cases()[::6]:
        before, after = (
            list(dict.fromkeys(h.node.ref_doc_id for h in p.query(case.query).source_nodes))
            for p in (whole, reduced)
        )
        assert after == [name for name in before if name in after]
        assert after[:3] == before[:3]


def test_a_question_asked_again_calls_nobody(server: Server) -> None:
    """The answer cache asks neither retriever nor model; without it the nodes come from theirs."""
    query = "How many unused vacation days carry over?"
    inner = handbook(server, retrieval_cache="memory")
    cached = CachedQueryEngine(inner, "memory", ledger=False)
    first = cached.query(query)
    calls = len(server.keys)
    again = cached.query(query)
    assert again.response == first.response
    assert [h.node_id for h in again.source_nodes] == [h.node_id for h in first.source_nodes]
    assert len(server.keys) == calls
    assert str(inner.query(query)) == first.response
    assert len(server.keys) == calls + 1


def wrapped() -> tuple[InferredFilters, dict[str, dict[str, str]], dict[str, set[str]]]:
    """Return the handbook's retriever, its documents' metadata, and documents by value."""
    pipeline = LocalPipeline.from_folder(EVALSETS / "handbook", infer_filters=True)
    retriever = pipeline.query_engine.retriever
    assert isinstance(retriever, InferredFilters)
    metadata = {
        str(n.ref_doc_id): {k: n.metadata[k] for k in ("department", "language")}
        for n in retriever.nodes
    }
    by_value: dict[str, set[str]] = {}
    for name, held in metadata.items():
        for value in held.values():
            by_value.setdefault(value, set()).add(name)
    return retriever, metadata, by_value


def test_filters_cut_the_candidates_and_lose_no_gold() -> None:
    """As the cases are written, and with the departments of their gold named in the question."""
    retriever, metadata, by_value = wrapped()
    searched: dict[str, list[float]] = {"as written": [], "named": []}
    for case in cases():
        patterns = [name.partition("#")[0] for name in case.relevant]
        gold = {name for name in metadata for each in patterns if fnmatch(name, each)}
        told = " or the ".join(sorted({metadata[name]["department"] for name in gold}))
        for kind, query in (
            ("as written", case.query),
            ("named", f"{case.query} Ask the {told} department."),
        ):
            filters = retriever.infer(query)
            if filters.keys() & ({"language"} if kind == "as written" else {"department"}):
                searched[kind].append(retriever.candidates(query) / len(retriever.nodes))
            for values in filters.values():
                assert gold <= set().union(*(by_value[value] for value in values)), query
    assert len(searched["as written"]) >= 20  # the Portuguese questions
    assert len(searched["named"]) >= 60
    assert max(searched["as written"]) < 0.2
    assert max(searched["named"]) < 0.6
    assert sum(searched["named"]) < 0.3 * len(searched["named"])
