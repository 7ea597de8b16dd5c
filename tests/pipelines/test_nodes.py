"""Nodes as LlamaIndex's own readers and parsers make them → the documents that gold names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document, SimpleDirectoryReader
from llama_index.core.node_parser import MarkdownNodeParser, TokenTextSplitter
from llama_index.core.schema import IndexNode, TextNode
from llama_parts import FixedRetriever, observe

from pytest_rag import metrics
from pytest_rag.errors import PipelineError
from pytest_rag.pipelines.local import LocalPipeline
from pytest_rag.types import Case

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = """\
# Guide

Welcome.

## Carry over

Five days of leave carry over.

### For part-time staff

Three days carry over.

## Parking & trains

Parking is free.
"""


def recall(retrieved: list[Any], gold: str, key: str | None = None) -> float | None:
    """Return the recall of one gold id when these nodes are retrieved."""
    seen = observe(FixedRetriever(*retrieved), "q", document_key=key)
    case = Case(id="a", query="q", relevant={gold: 1})
    return metrics.get("R@5").score(case, seen).value


def test_chunks_belong_to_their_document():
    """By ``ref_doc_id``, wherever they were cut, with the characters they cover."""
    document = Document(id_="guide.md", text=GUIDE * 20)
    nodes = TokenTextSplitter(chunk_size=100, chunk_overlap=0).get_nodes_from_documents([document])
    assert len(nodes) > 3
    seen = observe(FixedRetriever(*nodes), "q")
    assert {node.id for node in seen.retrieved} == {"guide.md"}
    for node in seen.retrieved:
        start, end = node.span
        assert document.text[start:end] == node.text
    start = nodes[2].start_char_idx
    assert recall([nodes[2]], f"guide.md#char={start},{start + 5}") == 1
    assert recall([nodes[2]], f"guide.md#char={start - 9},{start}") == 0


def test_a_node_without_a_source_is_its_own_document():
    """As in indexes built of nodes alone."""
    assert recall([TextNode(id_="n-1", text="x"), IndexNode(index_id="i", text="y")], "n-1") == 1


def test_files_are_named_by_their_metadata(tmp_path):
    """A directory reader gives random ids; ``document_key`` takes the file's name instead."""
    (tmp_path / "guide.md").write_text(GUIDE)
    documents = SimpleDirectoryReader(str(tmp_path)).load_data()
    nodes = TokenTextSplitter().get_nodes_from_documents(documents)
    assert recall(nodes, "guide.md") == 0
    assert recall(nodes, "guide.md", key="file_name") == 1
    with pytest.raises(PipelineError, match=r"no metadata 'filename'.*Did you mean 'file_name'"):
        recall(nodes, "guide.md", key="filename")


def test_pages_are_gold_as_readers_label_them():
    """LlamaIndex's PDF reader makes a document a page, its label beside the file's name."""
    texts = ("Leave.", "Parking.", "Pension.")
    pages = [
        Document(text=text, metadata={"file_name": "handbook.pdf", "page_label": str(number)})
        for number, text in enumerate(texts, 1)
    ]
    nodes = TokenTextSplitter().get_nodes_from_documents(pages)
    second = [node for node in nodes if "Parking" in node.text]
    assert recall(second, "handbook.pdf#page=2", key="file_name") == 1
    assert recall(second, "handbook.pdf#page=2-3", key="file_name") == 1
    assert recall(second, "handbook.pdf#page=1", key="file_name") == 0


def test_pages_of_a_pdf_are_gold(tmp_path):
    """A real file of three pages through the local pipeline."""
    _pdf(tmp_path / "handbook.pdf", ["Leave carries over.", "Parking is free.", "Pension plan."])
    seen = observe(LocalPipeline.from_folder(tmp_path, top_k=1), "Is parking free?")
    assert [(node.id, node.pages) for node in seen.retrieved] == [("handbook.pdf", ("2",))]
    for gold, value in (("handbook.pdf#page=2", 1), ("handbook.pdf#page=1", 0)):
        case = Case(id="a", query="q", relevant={gold: 1})
        assert metrics.get("R@5").score(case, seen).value == value


def _pdf(path: Path, pages: list[str]) -> None:
    """Write a PDF of one line a page."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    kids = []
    for text in pages:
        stream = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET"
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {len(objects)} 0 R"
            "/Resources<</Font<</F1 3 0 R>>>>>>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>"
    body, offsets = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj{each}endobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\n"
    path.write_text(f"{body}{end}startxref\n{len(body)}\n%%EOF\n")


def test_sections_of_a_markdown_parser_cannot_be_told():
    """Its ``header_path`` names the headings above a node and not its own: no guess is made."""
    document = Document(id_="guide.md", text=GUIDE)
    nodes = MarkdownNodeParser().get_nodes_from_documents([document])
    assert recall(nodes, "guide.md") == 1
    seen = observe(FixedRetriever(*nodes), "q")
    case = Case(id="a", query="q", relevant={"guide.md#carry-over": 1})
    score = metrics.get("R@5").score(case, seen)
    assert score.value is None
    assert "carry no section metadata" in score.reason


def test_sections_in_the_metadata_are_gold():
    """A pipeline that writes ``section`` into its nodes is understood."""
    nodes = [TextNode(id_="n", text="x", metadata={"section": "carry-over"})]
    assert recall(nodes, "n#carry-over") == 1
    assert recall(nodes, "n#parking") == 0
