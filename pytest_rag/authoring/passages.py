"""Documents → passages that a question can be asked of, in an order that a seed decides."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.metrics.text import content_words
from pytest_rag.pipelines.corpus import PAGE_BREAK
from pytest_rag.pipelines.markup import outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Passage", "in_order", "passages_of"]

_LONGEST = 1600
_FEWEST_WORDS = 12
_MARKUP = frozenset({"text/markdown", "text/html"})
_BREAK = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A part of a document.

    Attributes:
        document: Its id.
        gold: The id of the part: the document's, with ``#section`` or ``#page=3`` where it has one.
        title: Of the document.
        start: Its first character in the document.
        text: As the document has it.
    """

    document: str
    gold: str
    title: str
    start: int
    text: str


def passages_of(documents: Iterable[Any]) -> list[Passage]:
    """Return the sections and pages of LlamaIndex documents, long ones cut between paragraphs."""
    return [
        Passage(
            document=document.id_,
            gold=f"{document.id_}#{part}" if part else document.id_,
            title=str(document.metadata.get("title", "")),
            start=start,
            text=document.text[start:end],
        )
        for document in documents
        for part, first, last in _parts(document)
        for start, end in _pieces(document.text, first, last)
        if len(content_words(document.text[start:end])) >= _FEWEST_WORDS
    ]


def _parts(document: Any) -> Iterator[tuple[str, int, int]]:
    text, kind = document.text, document.metadata.get("file_type")
    labels = document.metadata.get("page_labels")
    if labels:
        start = 0
        for label, page in zip(labels, text.split(PAGE_BREAK), strict=False):
            yield f"page={label}", start, start + len(page)
            start += len(page) + len(PAGE_BREAK)
        return
    headings = outline(text) if kind in _MARKUP else []
    starts = [(heading.slug, heading.start) for heading in headings]
    bounds = [("", 0), *starts] if not starts or starts[0][1] else starts
    for (slug, start), (_, end) in zip(bounds, [*bounds[1:], ("", len(text))], strict=True):
        yield slug, start, end


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield bounds of at most 1,600 characters that lie between paragraphs where they can."""
    while end - start > _LONGEST:
        breaks = [m.start() for m in _BREAK.finditer(text, start + 1, start + _LONGEST)]
        cut = breaks[-1] if breaks else text.rfind(" ", start + 1, start + _LONGEST)
        cut = cut if cut > start else start + _LONGEST
        yield start, cut
        start = cut
    yield start, end


def in_order(passages: Iterable[Passage], seed: int) -> list[Passage]:
    """Return passages in the order they are asked of: one of every document, then the next.

    The order is that of hashes, so that a new document moves no other passage.
    """
    by_document: dict[str, list[tuple[str, Passage]]] = defaultdict(list)
    for passage in passages:
        by_document[passage.document].append((_hash(passage, seed), passage))
    ranked = [
        (rank, digest, passage)
        for each in by_document.values()
        for rank, (digest, passage) in enumerate(sorted(each, key=lambda pair: pair[0]))
    ]
    return [passage for _, _, passage in sorted(ranked, key=lambda each: each[:2])]


def _hash(passage: Passage, seed: int) -> str:
    told = f"{seed}\0{passage.document}\0{passage.start}\0{passage.text}"
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
