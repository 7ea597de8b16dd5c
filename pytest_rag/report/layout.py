"""How figures and rows are written in every text report."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_rag.checks import duration
from pytest_rag.costs.money import money

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "LABEL",
    "MOST",
    "Line",
    "Style",
    "block",
    "cost_so_far",
    "count",
    "cut",
    "duration",
    "harmless",
    "labelled",
    "money",
    "printable",
]

Style = Literal["", "good", "bad", "dim", "bold"]

LABEL = 14
"""Columns of a row's label."""

MOST = 400
"""Characters of a text that are shown."""


# Controls of the terminal, line ends, what turns the direction of text, what nobody sees, halves
# of a character. The joiners U+200C and U+200D stay: words and emoji are spelled with them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


_FORMULA = ("=", "+", "-", "@", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a formula begins in a spreadsheet; some read full-width signs as well."""


class Line(NamedTuple):
    """One line of a report and how it may be styled."""

    text: str
    style: Style = ""


def printable(line: str) -> str:
    """Return one line with what would steer a terminal written out as escapes."""
    return _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], line)


def harmless(text: str) -> str:
    """Return a text on one line that no spreadsheet takes for a formula."""
    line = printable(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def cut(text: str, most: int = MOST) -> str:
    """Return a text on one line, its end replaced by ``…`` where it is longer than ``most``."""
    words = " ".join(text[: 2 * most].split())
    if len(words) <= most and len(text) <= 2 * most:
        return words
    head = words[: most - 2]
    return f"{head.rpartition(' ')[0] or head} …"


def cost_so_far(usd: float, *, partly: bool) -> str:
    """Write what a run has cost: ``$0.31``, ``at least $0.31`` where only a part is known."""
    if partly:
        return f"at least {money(usd)}" if usd else "cost unknown"
    return money(usd)


def count(n: int, noun: str) -> str:
    """Write a number of things: ``1 case``, ``93 cases``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def labelled(label: str, text: str, width: int, style: Style = "") -> Iterator[Line]:
    """Yield a labelled text, wrapped under itself; a no-break space holds words together."""
    room = max(width - 2 - LABEL, 40)
    for part in wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]:
        yield Line(f"  {label:<{LABEL}}{part}".replace("\xa0", " "), style)
        label = ""


def block(label: str, parts: Iterable[str], width: int) -> Iterator[Line]:
    """Yield parts behind one label, no part broken where it fits."""
    room = width - 2 - LABEL
    held = [part.replace(" ", "\xa0") if len(part) < room - 2 else part for part in parts]
    if held:
        yield from labelled(label, "\xa0· ".join(held), width)
