"""Markdown of strangers, in which nothing comes alive."""

from __future__ import annotations

import re

MOST = 60_000
"""Characters of a report; GitHub takes 65,536 in a comment."""

# Controls, line ends, what turns the direction of text, halves of characters, private use, tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\uf8ff\U000e0000-\U0010ffff]"
)
_ALIVE = tuple(
    re.compile(pattern)
    for pattern in (
        r"<(?=[A-Za-z/!?])",  # tags, comments, autolinks
        r"&(?=#?\w)",  # entities, which may spell any of the others
        r"@(?=\w)(?!(?<=\w@)\d{1,3}(?![\w.-]))",  # mentions, addresses; not nDCG@10
        r"\](?=[(\[:])",  # links, images, footnotes and what defines them
        r":(?=//)",  # bare addresses
        r"(?i:\bwww)(?=\.)",
        r"(?i:\bGH-)(?=\d)",
        r"#(?=\d)",  # issues
        r"(?:`{3,}|~{3,})(?=[ \t]*\w)",  # diagrams
        r"^\s*/(?=\w)",  # commands to bots
    )
)
_FOLD = re.compile(r"<details><summary>[\w ,]{1,60}</summary>|</details>")


def tame(report: str) -> str:
    """Return Markdown without live HTML, links, images, mentions, references and commands.

    A word joiner, which nobody sees, goes where each of them would begin: whether a text stands in
    a code span need not be known. Folds and alerts of our own reports stay.
    """
    kept: list[str] = []
    for line in report.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        tamed = line if _FOLD.fullmatch(line) else tame_line(line[: MOST // 2])
        if sum(map(len, kept)) + len(kept) + len(tamed) > MOST:
            kept.append("\n… cut here.")
            break
        kept.append(tamed)
    folds = [line for line in kept if _FOLD.fullmatch(line)]
    unclosed = len(folds) - 2 * folds.count("</details>")
    return "\n".join([*kept, *["\n</details>"] * unclosed])


def tame_line(line: str) -> str:
    """Return a line, at every place where something would come alive a word joiner."""
    line = _UNSEEN.sub(lambda found: ascii(found.group())[1:-1], line)
    for pattern in _ALIVE:
        line = pattern.sub(lambda found: f"{found.group()}\u2060", line)
    return line
