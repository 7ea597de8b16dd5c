"""What a page says that a command prints, and what it printed."""

from __future__ import annotations

import difflib
import re

ELIDED = "…"
_TIMES = r"(?:ms|s|min|seconds?)\b"
_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_VARYING = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d[\d.]*)?(\+\d\d:\d\d|Z)?", "DATE"),
    (rf"{_NUMBER}(?: (?:/|to|and) {_NUMBER})* ?{_TIMES}", "TIME"),
    (rf"((?:\w+_ms|embed|retrieve|rerank|synthesize|llm)\"?:) ?{_NUMBER}", r"\1 TIME"),
    (rf"(latency_ms \w+) {_NUMBER}", r"\1 TIME"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b(?:\+)?", "HASH"),
    (r"(TIME\s+TIME\s+)\d\.\d+\s+\[[\d., ]+\]", r"\1RATIO"),
    (rf"{_NUMBER}\s+{_NUMBER}\s+0\s+{_NUMBER}\s+(TIME(?: \[[\d., ]+\])?\s*){{3}}", "STEP "),
    (rf"{_NUMBER} answers a second(?: \[[\d., ]+\])?", "RATE answers a second"),
    (r"with [\d.]+ at a time", "with so many at a time"),
    (r"slowed most: .*", "slowed most"),
    (r"at least [\d.]+ times as long", "longer"),
    (r"forecast: .*", "forecast"),
    (r"([=_~-])\1{3,}", r"\1\1\1"),
    (r"\s*\(\d+:\d\d:\d\d\)", ""),
    (r"\s+", " "),
)


def normal(text: str) -> str:
    """Return a text without what differs from run to run: times, dates, hashes, widths."""
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text)
    return text.strip()


def agrees(said: str, printed: str) -> bool:
    """Tell whether a page's excerpt stands in what was printed, in order, ``…`` for what is cut."""
    whole, at = normal(printed), 0
    for piece in map(str.strip, normal(said).split(ELIDED)):
        found = whole.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def difference(said: str, printed: str) -> str:
    """Return where the page and what was printed part, and all that was printed."""
    lines = said.splitlines()
    good = next((n for n in range(len(lines)) if not agrees("\n".join(lines[: n + 1]), printed)), 0)
    return f"not printed: {lines[good].strip()!r}\n{printed.rstrip()}\n---"


def fitted(said: str, printed: str) -> str:
    """Return a page's excerpt with the figures of what was printed, cut where it was cut.

    Lines between two cuts are looked for by their first and their last one. A line that is itself
    cut stays as it is, and so does everything where an excerpt has no place in the output.
    """
    lines, at, new = printed.splitlines(), 0, []
    for piece in _pieces(said):
        if ELIDED in piece[0]:
            new += piece
            continue
        begin = _nearest(piece[0], lines, at)
        end = _nearest(piece[-1], lines, begin, begin + 2 * len(piece)) + 1
        new += lines[begin:end]
        at = end
    return "\n".join(new) + "\n"


def _pieces(said: str) -> list[list[str]]:
    pieces: list[list[str]] = []
    for line in said.splitlines():
        if pieces and ELIDED not in line and ELIDED not in pieces[-1][0]:
            pieces[-1].append(line)
        else:
            pieces.append([line])
    return pieces


def _nearest(line: str, lines: list[str], begin: int, end: int | None = None) -> int:
    wanted = normal(line)
    among = range(begin, min(len(lines), end or len(lines)))

    def likeness(at: int) -> float:
        return difflib.SequenceMatcher(None, wanted, normal(lines[at]), autojunk=False).ratio()

    return max(among, key=likeness, default=begin)
