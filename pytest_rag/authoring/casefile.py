"""A case as YAML text, put behind the others of a file that is otherwise left as it is."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rag import evalset as evalsets
from pytest_rag.errors import EvalSetError, UsageError
from pytest_rag.evalset.problems import Problems
from pytest_rag.evalset.yamlpos import compose
from pytest_rag.files import write_atomically
from pytest_rag.metrics.text import content_words

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from pytest_rag.evalset.yamlpos import Node
    from pytest_rag.types import EvalSet

__all__ = ["add_case", "case_text", "slug_of"]

_BOM = "\ufeff"
_ID_WORDS = 6
_WIDTH = 96


def slug_of(query: str, taken: Collection[str]) -> str:
    """Return an id of the words that matter in a question, and of no other case."""
    plain = unicodedata.normalize("NFKD", " ".join(content_words(query)[:_ID_WORDS]))
    letters = "".join(c for c in plain if not unicodedata.combining(c)).lower()
    first = "-".join(re.findall(r"[^\W_]+", letters))[:60].strip("-") or "case"
    name, number = first, 1
    while name in taken:
        number += 1
        name = f"{first}-{number}"
    return name


def case_text(values: Mapping[str, Any], indent: int) -> str:
    """Return a case as an item of a block list, a key a line, lists and mappings in braces.

    A mapping that is too long for a line has a line a key.

    Args:
        values: By key, in the order they are to have.
        indent: Column of the dash.
    """
    lines: list[str] = []
    for key, value in values.items():
        told = _dumped({key: value}, braces=isinstance(value, list | dict))
        if isinstance(value, dict) and "\n" in told:
            told = _dumped({key: value}, braces=False)
        lines += told.split("\n")
    blank = " " * indent
    return "".join(f"{blank}{'  ' if n else '- '}{line}\n" for n, line in enumerate(lines))


def _dumped(values: Mapping[str, Any], *, braces: bool) -> str:
    import yaml

    style = None if braces else False
    text: str = yaml.safe_dump(
        values, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=style
    )
    return text.rstrip("\n")


def add_case(path: Path, values: Mapping[str, Any]) -> EvalSet:
    """Put a case behind the last one of a file; everything else in it stays byte for byte.

    The file is read now, so that what a person changed meanwhile is kept, and replaced in one step.

    Args:
        path: Of the evalset.
        values: Of the case, by key.

    Returns:
        The evalset as it is then.

    Raises:
        UsageError: if the file cannot take one; it is left as it is.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {error}.") from error
    before = evalsets.load(path, text=text.encode())
    new = _extended(text, path, values)
    after = _loaded(path, new)
    was = [replace(case, line=0) for case in (*before.cases, *before.drafts)]
    now = [replace(c, line=0) for c in (*after.cases, *after.drafts) if c.id != values["id"]]
    if now != was:
        raise _refusal(path, "another case would change by it")
    write_atomically(path, new)
    return after


def _loaded(path: Path, text: str) -> EvalSet:
    try:
        return evalsets.load(path, text=text.encode())
    except EvalSetError as error:
        said = "; ".join(problem.message for problem in error.problems)
        raise _refusal(path, f"it would not load: {said}") from error


def _refusal(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} was left as it is: a case cannot be put behind the last one, {why}")


def _extended(text: str, path: Path, values: Mapping[str, Any]) -> str:
    problems = Problems(path)
    root = compose(text.removeprefix(_BOM), problems)
    entries: Any = None if root is None else root.value
    if not isinstance(entries, dict):
        raise _refusal(path, "it is no mapping.")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    key, cases = entries.get("cases", (None, None))
    if key is None:
        place, new = _end(lines, len(lines)), "cases:\n" + case_text(values, 2)
    else:
        follow = [each.line - 1 for each, _ in entries.values() if each.line > key.line]
        end = min(follow, default=len(lines))
        indent = _indent(lines, cases, path)
        place, new = _end(lines, end, indent=indent), case_text(values, indent)
    added = new.rstrip("\n").replace("\n", newline)
    if place and newline == "\r\n" and not lines[place - 1].endswith("\r"):
        lines[place - 1] += "\r"
    lines[place:place] = [*(added + ("\r" if newline == "\r\n" else "")).split("\n")]
    joined = "\n".join(lines)
    return joined if joined.endswith("\n") else joined + newline


def _indent(lines: list[str], cases: Node, path: Path) -> int:
    """Return the column of the dashes of a block list."""
    items: Any = cases.value
    if not items:
        if lines[cases.line - 1][cases.column - 1 :].startswith("["):
            raise _refusal(path, "since `cases` is []. Write it without the brackets.")
        return 2
    if lines[cases.line - 1][cases.column - 1] == "[":
        raise _refusal(path, "since `cases` stands in brackets. Write a case a line, with a dash.")
    return cases.column - 1


def _end(lines: list[str], end: int, *, indent: int = 0) -> int:
    """Return where the content before a line ends, without blank lines and comments on the next."""
    last = end
    while last and _is_filler(lines[last - 1], indent, at_end=end == len(lines)):
        last -= 1
    return last


def _is_filler(line: str, indent: int, *, at_end: bool) -> bool:
    bare = line.strip(f"{_BOM} \t\r")
    if not bare or bare == "...":
        return True
    return bare.startswith("#") and not at_end and len(line) - len(line.lstrip()) < max(1, indent)
