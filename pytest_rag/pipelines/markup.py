"""Front matter, headings and HTML as plain text with known positions; no LlamaIndex."""

from __future__ import annotations

import datetime as dt
import json
import re
import unicodedata
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

__all__ = ["Heading", "github_slug", "html_to_text", "outline", "split_front_matter"]

_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(?<!\w)(_{1,2})(\S(?:.*?\S)?)\1(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """One heading of a text.

    Attributes:
        title: Its text without markup.
        slug: Its anchor as GitHub makes it, unique in the text.
        level: 1 to 6.
        start: Character where its line begins.
        end: Character where its section ends: at the next heading of its level or above.
    """

    title: str
    slug: str
    level: int
    start: int
    end: int

    def touches(self, start: int, end: int) -> bool:
        """Tell whether the section shares a character with ``[start, end)``."""
        return self.start < end and start < self.end


def github_slug(heading: str) -> str:
    """Return the anchor GitHub gives a heading: ``Férias & faltas`` → ``férias--faltas``.

    Letters of every script, digits, ``_`` and ``-`` stay, spaces become hyphens, all else goes.
    """
    text = plain_inline(unicodedata.normalize("NFC", heading)).strip().lower()
    return "".join(c for c in text if c.isalnum() or c in "-_ " or _is_mark(c)).replace(" ", "-")


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M") and char != "\ufe0f"


def plain_inline(text: str) -> str:
    """Return Markdown without links, emphasis and code marks."""
    text = _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", text))
    return text.replace("`", "").replace("**", "").replace("*", "")


def outline(text: str) -> list[Heading]:
    """Return the ATX headings of a Markdown text in order; those in fenced code are none.

    Duplicates get ``-1``, ``-2`` as on GitHub.
    """
    found = list(_atx_lines(text))
    taken: dict[str, int] = {}
    headings = []
    for i, (start, level, title) in enumerate(found):
        end = next((s for s, other, _ in found[i + 1 :] if other <= level), len(text))
        slug = _unique(github_slug(title), taken)
        shown = plain_inline(title).strip()
        headings.append(Heading(title=shown, slug=slug, level=level, start=start, end=end))
    return headings


def _atx_lines(text: str) -> Any:
    position, fence = 0, ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            closes = mark and mark[1].startswith(fence) and not line.strip().strip(fence[0])
            fence = "" if closes else fence
        elif mark:
            fence = mark[1]
        elif heading := _HEADING.match(line.rstrip("\r\n\f")):
            yield position, len(heading[1]), heading[2] or ""
        position += len(line)


def _unique(slug: str, taken: dict[str, int]) -> str:
    result = slug
    while result in taken:
        taken[slug] += 1
        result = f"{slug}-{taken[slug]}"
    taken[result] = 0
    return result


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the YAML front matter as plain metadata, and the body behind it.

    Dates become ISO strings; anything nested deeper than a list becomes JSON text.

    Raises:
        ValueError: if the front matter is no YAML mapping.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    return _mapping(match[1]), text[match.end() :].lstrip("\n")


def _mapping(source: str) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise ValueError(f"its front matter is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError("its front matter is not a mapping of names to values")  # noqa: TRY004
    return {str(key): _plain(value) for key, value in data.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return [_plain(item) for item in value]
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i"}
    | {"img", "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strong", "sub"}
    | {"sup", "time", "tt", "u", "var", "wbr"}
)


class _Html(HTMLParser):
    """Writes Markdown-like text: ``#`` headings, ``-`` items, ``|`` between cells."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.language: str | None = None
        self.parts: list[str] = []
        self._skip = self._pre = 0
        self._in_title = False
        self._cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "html":
            self.language = dict(attrs).get("lang")
        elif tag == "title":
            self._in_title = not self.title
        if tag in _SKIPPED:
            self._skip += 1
        elif not self._skip:
            self._open(tag)

    def _open(self, tag: str) -> None:
        if tag in _HEADINGS:
            self.parts.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag == "br":
            self.parts.append("\n")
        elif tag in {"td", "th"}:
            self.parts.append(" | " if self._cells else "| ")
            self._cells += 1
        elif tag not in _INLINE:
            self._cells = 0
            self._pre += tag == "pre"
            self.parts.append({"li": "\n- ", "tr": "\n"}.get(tag, "\n\n"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in _SKIPPED:
            self._skip = max(0, self._skip - 1)
        elif not self._skip and tag in _HEADINGS:
            self.parts.append("\n\n")
        elif not self._skip and tag not in _INLINE and tag not in {"td", "th"}:
            self._pre = max(0, self._pre - (tag == "pre"))
            self.parts.append({"li": "", "tr": " |"}.get(tag, "\n\n"))

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._skip:
            self.parts.append(data if self._pre else re.sub(r"\s+", " ", data))


def html_to_text(source: str) -> tuple[dict[str, Any], str]:
    """Return title and language of an HTML page as metadata, and its visible text.

    Headings become Markdown headings, so sections work as in Markdown; scripts, styles and the
    head are dropped.
    """
    reader = _Html()
    reader.feed(source)
    reader.close()
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in "".join(reader.parts).split("\n")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
    found = {"title": " ".join(reader.title.split()), "language": reader.language}
    return {key: value for key, value in found.items() if value}, text
