"""A page of the documentation as the fenced blocks it holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
WORDS = ("broken", "by", "data", "fails", "figure", "imports", "slow", "workflow")
_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block.

    Attributes:
        language: The first word behind the fence, empty where there is none.
        words: Those of ``WORDS`` that follow it.
        name: The file that follows it.
        command: What follows a ``$``.
        unknown: What else stands behind the fence, which is nothing.
        body: The text within.
        line: Where the block begins, from 1.
        span: Offsets of the text in the page.
    """

    language: str
    words: frozenset[str]
    name: str
    command: str
    unknown: tuple[str, ...]
    body: str
    line: int
    span: tuple[int, int]


def name(path: Path) -> str:
    """Return a page's path below the repository, without its suffix."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def read(path: Path) -> list[Block]:
    """Return the blocks of a page, those within comments too."""
    text = path.read_text(encoding="utf-8")
    return [_block(text, found) for found in _FENCE.finditer(text)]


def _block(text: str, found: re.Match[str]) -> Block:
    info, _, command = found["info"].partition("$ ")
    language, *rest = info.split() or [""]
    line = text.count("\n", 0, found.start()) + 1
    names = [word for word in rest if word not in WORDS and re.search(r"[./]", word)]
    return Block(
        language=language,
        words=frozenset(word for word in rest if word in WORDS),
        name=next(iter(names), ""),
        unknown=tuple([word for word in rest if word not in (*WORDS, *names[:1])]),
        command=command.strip(),
        body=found["body"],
        line=line,
        span=found.span("body"),
    )
