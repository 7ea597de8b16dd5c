"""What builds of local pipelines keep for each other, and that it changes nothing."""

from __future__ import annotations

import pytest
from llama_index.core import Document

from pytest_rag.pipelines.keeping import Kept, keeping
from pytest_rag.pipelines.local import LocalPipeline
from pytest_rag.pipelines.survey import digest, survey

DOCUMENTS = [
    Document(id_=f"{name}.md", text=f"# {name}\n\n" + f"The {name} is told here in words. " * 30)
    for name in ("tide", "gauge", "harbour", "leave", "salary")
]


@pytest.mark.parametrize(
    "params",
    [{}, {"top_k": 2}, {"bm25_k1": 0.9}, {"chunk_size": 80}, {"rerank": "sentences"}],
    ids=str,
)
def test_a_pipeline_of_kept_parts_answers_alike(params):
    """Same nodes, same scores, same answer as one built by itself."""
    parts = Kept()
    with keeping(parts):
        LocalPipeline.from_documents(DOCUMENTS)
        shared = LocalPipeline.from_documents(DOCUMENTS, **params)
    alone = LocalPipeline.from_documents(DOCUMENTS, **params)
    for query in ("What of the harbour?", "salary"):
        one, other = shared.query(query), alone.query(query)
        assert str(one) == str(other)
        pairs = [
            [(hit.node.node_id, hit.score) for hit in each.source_nodes] for each in (one, other)
        ]
        assert pairs[0] == pairs[1]


def test_only_what_a_knob_changes_is_made_again():
    """Another depth makes nothing, other weights an index, other chunks cut and embed."""
    parts = Kept()
    with keeping(parts):
        LocalPipeline.from_documents(DOCUMENTS)
        first, embedded = dict(parts.made), parts.embedded
        LocalPipeline.from_documents(DOCUMENTS, top_k=3, rerank="sentences", dense_weight=0.2)
        assert (parts.made, parts.embedded) == (first, embedded)
        LocalPipeline.from_documents(DOCUMENTS, bm25_b=0.3)
        assert parts.made == {**first, "bm25": 2}
        LocalPipeline.from_documents(DOCUMENTS, chunk_size=60, chunk_overlap=0)
        assert parts.made["nodes"] == 2
        assert parts.embedded > embedded
        LocalPipeline.from_documents(DOCUMENTS[:4])
        assert parts.made["nodes"] == 3


def test_other_documents_are_not_taken_for_these():
    """The same ids with another text are other documents."""
    other = [Document(id_=d.id_, text=d.text.upper()) for d in DOCUMENTS]
    parts = Kept()
    with keeping(parts):
        LocalPipeline.from_documents(DOCUMENTS)
        found = LocalPipeline.from_documents(other).query("harbour")
    assert found.source_nodes[0].node.text.isupper()


@pytest.mark.parametrize(
    "params",
    [
        {"bm25_k1": 0.9},
        {"bm25_b": 0.1},
        {"retriever": "dense"},
        {"chunk_overlap": 1},
        {"index_title": False},
    ],
    ids=str,
)
def test_what_was_retrieved_is_kept_apart_by_every_parameter(params):
    """No knob of retrieval is taken for idle because a cache answered for another value."""
    retrievers = [
        LocalPipeline.from_documents(DOCUMENTS, **more).query_engine.retriever
        for more in ({}, params, params)
    ]
    first, second, third = (digest(survey(each, everything=True).config) for each in retrievers)
    assert first != second
    assert second == third


def test_dense_chunks_of_one_number_are_kept_apart():
    """Nodes as many as others are not those others."""
    one, other = (
        LocalPipeline.from_documents(DOCUMENTS, retriever="dense", index_title=title)
        for title in (True, False)
    )
    told = [survey(p.query_engine.retriever, everything=True).config for p in (one, other)]
    assert told[0] != told[1]
