"""A passage of Markdown or plain text → sentences with their positions and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Sentence", "split_sentences"]

# A full stop ends a sentence where white space and no lower-case letter follow.
_END = re.compile(r"""(?<=[.!?…])["'”’»)\]*_]*\s+(?=["'“‘„«(\[*_]*[^\W_a-zà-öø-ÿ])|(?<=[。！？])""")  # noqa: RUF001
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|No|Nr|Art|Abs|Fig|vs|etc|approx|ca|bzw|Sr|Sra|Mt|Jr|Inc"
    r"|Gen|Col|Lt|Sgt|Rev|[Ss]ec|p\.ex|z\.\s?B|e\.g|i\.e|U\.S)\.|\b\d{1,2}\.)$"
)
_ITEM = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s+(?:\[[ xX]\]\s+)?")
_TABLE_RULE = re.compile(r"[\s|:+=-]+$")
_LINK = re.compile(r"!?\[([^\]]+)\]\([^)]*\)")
_STRONG = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")
_QUOTE = re.compile(r"\A(?:>\s?)+|\n(?:>\s?)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence, list item or table row of a passage.

    Attributes:
        text: On one line, without list marks and emphasis.
        start: Its first character in the passage.
        end: One behind its last character.
        context: Heading, list lead-in or table head above it; empty where there is none.
    """

    text: str
    start: int
    end: int
    context: str = ""


def split_sentences(passage: str) -> list[Sentence]:
    """Return the sentences of a passage in order; headings are context and not sentences."""
    found: list[Sentence] = []
    heading = lead = ""
    for start, block, kind in _blocks(passage):
        if kind == "heading":
            heading, lead = _clean(block).lstrip("# "), ""
            continue
        lead = lead if kind in {"item", "row"} else ""
        context = f"{heading} {lead}".strip()
        sentences = [
            Sentence(text=text, start=start + a, end=start + b, context=context)
            for a, b in (_bounds(block) if kind != "row" else [(0, len(block))])
            if (text := _clean(block[a:b]))
        ]
        if sentences and (kind == "paragraph" or (kind == "row" and not lead)):
            lead = sentences[-1].text
        found.extend(sentences)
    return found


def _blocks(passage: str) -> Iterator[tuple[int, str, str]]:
    """Yield paragraphs, list items, table rows and headings with their first character."""
    start, kind, position = 0, "", 0
    for line in passage.splitlines(keepends=True):
        found = _kind(line)
        if kind and (found != "paragraph" or kind not in {"paragraph", "item"}):
            yield start, passage[start:position], kind
            kind = ""
        if found != "blank" and not kind:
            start, kind = position, found
        position += len(line)
    if kind:
        yield start, passage[start:position], kind


def _kind(line: str) -> str:
    text = line.strip()
    if not text or _TABLE_RULE.fullmatch(text) or text.startswith(("```", "~~~")):
        return "blank"
    if re.match(r"#{1,6}\s", text):
        return "heading"
    if text.startswith("|"):
        return "row"
    return "item" if _ITEM.match(line) else "paragraph"


def _bounds(block: str) -> Iterator[tuple[int, int]]:
    item = _ITEM.match(block)
    start = item.end() if item else 0
    for match in _END.finditer(block, start):
        if _ABBREVIATION.search(block[start : match.start()]):
            continue
        yield _trim(block, start, match.end())
        start = match.end()
    yield _trim(block, start, len(block))


def _trim(block: str, start: int, end: int) -> tuple[int, int]:
    text = block[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def _clean(text: str) -> str:
    text = _STRONG.sub(r"\2", _LINK.sub(r"\1", _QUOTE.sub(" ", text)))
    return (
        " ".join(text.split()).strip("| ")
        if text.lstrip().startswith("|")
        else " ".join(text.split())
    )
