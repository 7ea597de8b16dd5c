"""The reader that quotes: sentences, citations, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core import Document

from pytest_rag.pipelines.extractive import REFUSALS
from pytest_rag.pipelines.local import LocalPipeline
from pytest_rag.sentences import split_sentences

_LEAVE = """# Vacation

You earn 27 days a year. Up to five unused days carry over into the next year.

## Sick leave

- Call your manager before 9:00.
- From the fourth day a certificate is needed.

| City  | Office days |
| ----- | ----------- |
| Kotka | three       |
| Porto | two         |
"""


def ask(query: str, *texts: str, **params: Any) -> Any:
    """Answer from documents of these texts."""
    documents = [Document(id_=f"d{i}", text=text) for i, text in enumerate(texts)]
    return LocalPipeline.from_documents(documents, **params).query(query)


def test_markdown_is_split_into_sentences_items_and_rows() -> None:
    """Headings are context, list items and table rows are sentences of their own."""
    found = split_sentences(_LEAVE)
    assert [(s.text, s.context) for s in found] == [
        ("You earn 27 days a year.", "Vacation"),
        ("Up to five unused days carry over into the next year.", "Vacation"),
        ("Call your manager before 9:00.", "Sick leave"),
        ("From the fourth day a certificate is needed.", "Sick leave"),
        ("City | Office days", "Sick leave"),
        ("Kotka | three", "Sick leave City | Office days"),
        ("Porto | two", "Sick leave City | Office days"),
    ]
    assert _LEAVE[found[1].start : found[1].end] == found[1].text


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Ask Dr. Smith, e.g. Monday. He knows.", ["Ask Dr. Smith, e.g. Monday.", "He knows."]),
        ("Am 3. Oktober ist zu. Über die Brücke!", ["Am 3. Oktober ist zu.", "Über die Brücke!"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("wrapped\nline. Next\nline.", ["wrapped line.", "Next line."]),
        ("1. First item\n   goes on.\n2. Second.", ["First item goes on.", "Second."]),
        ("See [the **FAQ**](faq.md) now.", ["See the FAQ now."]),
        ("", []),
    ],
)
def test_sentence_boundaries(text: str, sentences: list[str]) -> None:
    """Abbreviations, ordinals and wrapped lines do not end a sentence."""
    assert [s.text for s in split_sentences(text)] == sentences


def test_the_answer_quotes_and_cites() -> None:
    """The answer is a sentence of the text; the citation says where it stands."""
    response = ask("How many unused days carry over?", _LEAVE, "The sauna opens on Thursday.")
    assert response.response == "Up to five unused days carry over into the next year."
    assert response.metadata["refused"] is False
    (citation,) = response.metadata["citations"]
    assert (citation["node"], citation["document"]) == ("d0:0", "d0")
    text = response.source_nodes[0].node.text
    assert text[citation["start"] : citation["end"]] == citation["text"]


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("What is the shoe size of the CEO?", "en"),
        ("Qual é o tamanho do sapato do diretor?", "pt"),
        ("Wie groß ist der Schuh von dem Chef?", "de"),
    ],
)
def test_refusal_in_the_language_of_the_query(query: str, language: str) -> None:
    """Where no passage has what is asked, the answer is a refusal without citations."""
    response = ask(query, _LEAVE, "The sauna opens on Thursday evening.")
    assert response.response == REFUSALS[language]
    assert response.metadata["citations"] == []
    assert response.metadata["refused"] is True
    assert 0 <= response.metadata["evidence"] < 0.2


def test_nothing_retrieved_is_a_refusal() -> None:
    """An empty retrieval is refused in the same words, sync and async."""
    pipeline = LocalPipeline.from_documents([Document(id_="a", text="Sauna on Thursday.")])
    nothing = {"department": "none"}
    assert pipeline.query("When is sauna?", nothing).response == REFUSALS["en"]
    answer = asyncio.run(pipeline.aquery("Wann ist die Sauna?", nothing))
    assert (answer.response, answer.source_nodes) == (REFUSALS["de"], [])
    assert answer.metadata == {"citations": [], "evidence": 0.0, "refused": True}


def test_min_evidence_and_max_sentences_are_knobs() -> None:
    """Evidence of 1 is never reached; more sentences may be quoted, in reading order."""
    query = "How many days?"
    assert ask(query, _LEAVE, min_evidence=1.0).metadata["refused"]
    few = ask(query, "You get five days. You give ten days.", max_sentences=1)
    both = ask(query, "You get five days. You give ten days.", max_sentences=2)
    assert len(few.metadata["citations"]) == 1
    assert both.response == "You get five days. You give ten days."


def test_a_query_without_any_word_does_not_crash() -> None:
    """Punctuation alone, or stop words alone, still gives an answer or a refusal."""
    for query in ("???", "the", " "):
        assert isinstance(ask(query, _LEAVE).response, str)
