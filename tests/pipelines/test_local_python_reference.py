"""The example pipeline over the language reference that CPython ships."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module beside the evalset, found as the evalset's loader finds it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "evalsets"))
    return importlib.import_module("python_reference.pipeline")


def test_every_topic_is_a_document(example: Any) -> None:
    """Ids are the topics' names; ruled headings became Markdown, the first one is the title."""
    documents = {document.id_: document for document in example.documents()}
    assert {"assert", "lambda", "import", "typesseq"} <= set(documents)
    assert documents["assert"].metadata["title"] == "The assert statement"
    assert documents["assert"].text.startswith('# The "assert" statement\n')
    assert not any("\n****" in document.text for document in documents.values())


def test_it_answers(example: Any) -> None:
    """A question finds its topic, and parameters reach the pipeline."""
    pipeline = example.build(top_k=3)
    response = pipeline.query("What do two leading dots mean in a relative import?")
    assert len(response.source_nodes) == 3
    assert response.source_nodes[0].node.ref_doc_id == "import"
    assert "dots" in response.response
