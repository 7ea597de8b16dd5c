"""Documents → nodes: sections first, then sentences, with exact character spans."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeRelationship, TextNode

from pytest_rag.pipelines.corpus import PAGE_BREAK
from pytest_rag.pipelines.language import LANGUAGES, count_words, detect
from pytest_rag.pipelines.markup import Heading, outline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llama_index.core import Document
    from llama_index.core.schema import RelatedNodeInfo

__all__ = ["Chunker"]

_NO_OUTLINE = frozenset({"text/plain", "application/pdf"})
_SENTENCE = re.compile(r"(?<=[.!?…。！？])(?=\s)|(?<=\n)(?=\s*\S)")  # noqa: RUF001
_SMALL = 4  # a section shorter than this part of a chunk is joined with the next
_GAP = re.compile(r"(?<=[.!?…。！？])\s+|\n\s*")  # noqa: RUF001


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunker:
    """Cuts documents into nodes.

    A section of its own heading starts a node; a short one is joined with the next, a long one
    is cut between sentences. No node crosses the pages of a PDF.

    Attributes:
        size: Words (runs of letters and digits) a node has at most.
        overlap: Words that neighbouring nodes of one section share at most.
        language: A code of ``LANGUAGES`` for every document, or ``auto``.
        index_title: The title is part of what is embedded and indexed.
        llm_title: The title is part of what a language model reads.
    """

    size: int
    overlap: int
    language: str = "auto"
    index_title: bool = True
    llm_title: bool = False

    def nodes(self, documents: Sequence[Document]) -> list[TextNode]:
        """Return the nodes of all documents in order; their ids are ``DOCUMENT:NUMBER``."""
        # Without overlap its chunks follow each other, so each is found where the last one ended;
        # found by its text alone, a chunk of a text that repeats itself would be misplaced.
        splitter = SentenceSplitter(
            chunk_size=self.size - self.overlap,
            chunk_overlap=0,
            tokenizer=_words_or_one,
            chunking_tokenizer_fn=_SENTENCE.split,
        )
        return [node for document in documents for node in self._of(document, splitter)]

    def languages(self, documents: Sequence[Document]) -> dict[str, str]:
        """Return the language of every document by id.

        It is what the metadata ``language`` declares (``de``, ``pt-BR``), or else what the text
        seems to be in; where that is not clear, what most documents are in.
        """
        if self.language != "auto":
            return {document.id_: self.language for document in documents}
        guesses = Counter(detect(document.text, LANGUAGES) for document in documents)
        usual = max(sorted(guesses), key=lambda code: guesses[code])
        declared = [str(doc.metadata.get("language") or "").lower()[:2] for doc in documents]
        return {
            document.id_: code if code in LANGUAGES else detect(document.text, LANGUAGES, usual)
            for code, document in zip(declared, documents, strict=True)
        }

    def _of(self, document: Document, splitter: SentenceSplitter) -> Iterator[TextNode]:
        text, metadata = document.text, dict(document.metadata)
        labels = metadata.pop("page_labels", None)
        headings = [] if metadata.get("file_type") in _NO_OUTLINE else outline(text)
        source = document.as_related_node_info()
        for number, (start, end) in enumerate(self._spans(text, headings, splitter)):
            extra: dict[str, Any] = {"sections": _sections(headings, start, end)}
            if labels:
                extra["page_label"] = str(labels[text.count(PAGE_BREAK, 0, start)])
            node_id = f"{document.id_}:{number}"
            yield self._node(node_id, text, (start, end), metadata | extra, source)

    def _node(
        self,
        node_id: str,
        text: str,
        span: tuple[int, int],
        metadata: dict[str, Any],
        source: RelatedNodeInfo,
    ) -> TextNode:
        start, end = span
        return TextNode(
            id_=node_id,
            text=text[start:end],
            start_char_idx=start,
            end_char_idx=end,
            metadata=metadata,
            excluded_embed_metadata_keys=_all_but_title(metadata, keep=self.index_title),
            excluded_llm_metadata_keys=_all_but_title(metadata, keep=self.llm_title),
            metadata_template="{value}",
            relationships={NodeRelationship.SOURCE: source},
        )

    def _spans(
        self, text: str, headings: Sequence[Heading], splitter: SentenceSplitter
    ) -> Iterator[tuple[int, int]]:
        for start, end in self._joined(text, _pieces(text, headings)):
            previous = position = start
            for chunk in splitter.split_text(text[start:end]):
                found = text.index(chunk, position)
                yield self._reach_back(text, previous, found), found + len(chunk)
                previous, position = found, found + len(chunk)

    def _reach_back(self, text: str, previous: int, start: int) -> int:
        """Return where the overlap begins: whole sentences of the chunk before."""
        begin = start
        for mark in reversed([m.end() for m in _GAP.finditer(text, previous, start)]):
            if len(count_words(text[mark:start])) > self.overlap:
                break
            begin = mark
        return begin

    def _joined(self, text: str, pieces: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Join pieces to their successors while they are short and fit into one node."""
        current: tuple[int, int] | None = None
        words = 0
        for start, end in pieces:
            count = len(count_words(text[start:end]))
            crosses = PAGE_BREAK in text[max(0, start - 1) : start]
            if (
                current
                and words * _SMALL < self.size
                and words + count <= self.size
                and not crosses
            ):
                current, words = (current[0], end), words + count
                continue
            if current:
                yield current
            current, words = (start, end), count
        if current:
            yield current


def _words_or_one(text: str) -> list[str]:
    # The splitter repeats pieces of size 0, such as a lone bracket, even where it may not overlap.
    return count_words(text) or [text]


def _all_but_title(metadata: dict[str, Any], *, keep: bool) -> list[str]:
    return [key for key in metadata if not (keep and key == "title")]


def _pieces(text: str, headings: Sequence[Heading]) -> list[tuple[int, int]]:
    """Cut before every heading and behind every page break."""
    cuts = {0, len(text), *(h.start for h in headings)}
    cuts |= {match.end() for match in re.finditer(PAGE_BREAK, text)}
    places = sorted(cuts)
    return [(a, b) for a, b in pairwise(places) if text[a:b].strip()]


def _sections(headings: Sequence[Heading], start: int, end: int) -> list[str]:
    last = bisect_right([h.start for h in headings], end - 1)
    return [h.slug for h in headings[:last] if h.touches(start, end)]
