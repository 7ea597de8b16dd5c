"""What a YAML scanner complains about, said so that the author of a test set can mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.evalset.problems import show

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_DEPTH", "TOO_DEEP", "syntax_problem"]

MAX_DEPTH = 40
TOO_DEEP = f"Nested deeper than {MAX_DEPTH} levels."

_BACKSLASH = (
    "In double quotes a backslash begins an escape, and this is none. "
    "Use single quotes, or write '\\\\'."
)
_COLON = (
    "A ':' followed by a space begins a value, and none can begin here. "
    "Put a text that holds one in quotes."
)
_INDENT = "This does not continue what stands above it. Check the indentation and the quotes."
_TAB = "A tab cannot indent YAML. Write spaces."
_TAG = "A '!' begins a tag, and tags are not supported. Put a text that begins with it in quotes."

# (part of libyaml's or PyYAML's words, whether the construct's beginning is the place, sentence)
_SENTENCES: tuple[tuple[str, bool, str], ...] = (
    ("nesting depth", False, TOO_DEEP),  # libyaml has a limit of its own since 0.2.6
    ("mapping values are not allowed", False, _COLON),
    ("unexpected end of stream", True, "A quote is opened here and never closed."),
    ("document separator", True, "A quote is opened here and never closed."),
    ("escape", False, _BACKSLASH),
    ("hexadecimal", False, _BACKSLASH),
    ("tab character", False, _TAB),
    ("alphabetic or numeric character", True, ""),
    ("cannot start any token", False, ""),
    ("flow sequence", True, "A '[' is opened here and not closed with ']', or a comma is missing."),
    ("flow mapping", True, "A '{' is opened here and not closed with '}', or a comma is missing."),
    ("tag", True, _TAG),
    ("block mapping", False, _INDENT),
    ("block collection", False, _INDENT),
    ("simple key", False, "A key must be followed by ':' and a space on the same line."),
    ("document start", False, "Something follows here after the end of the file's content."),
)


def syntax_problem(error: yaml.MarkedYAMLError, text: str) -> tuple[str, int | None, int | None]:
    """Return message, line and column of what PyYAML found wrong in ``text``."""
    words = f"{error.context or ''} {error.problem or ''}"
    at_start, sentence = next(
        ((start, said) for part, start, said in _SENTENCES if part in words),
        (False, f"This is not valid YAML: {words.strip()}."),
    )
    mark = (at_start and error.context_mark) or error.problem_mark or error.context_mark
    if mark is None:
        return sentence, None, None
    sentence = sentence or _first_character(text, mark.line, mark.column)
    return sentence, mark.line + 1, mark.column + 1


def _first_character(text: str, line: int, column: int) -> str:
    lines = text.split("\n", line + 1)
    here = lines[line][column:] if line < len(lines) else ""
    if here.startswith("\t"):
        return _TAB
    word = here.split(",")[0].rstrip("]} \r")
    return f"A text cannot begin with {show(here[:1])}. Put it in quotes: {show(word)}."
