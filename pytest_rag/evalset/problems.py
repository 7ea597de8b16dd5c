"""What is wrong in a file: collected with its place, and said in whole sentences."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_rag.errors import EvalSetError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pytest_rag.evalset.yamlpos import Node

__all__ = ["MAX_PROBLEMS", "MAX_SHOWN", "Problems", "Source", "first_twice", "show"]

MAX_SHOWN = 100
MAX_PROBLEMS = 1000

Loc = tuple[int | str, ...]

# Hostile values are deep or long; their repr must be neither.
_BOUNDED = reprlib.Repr()
_BOUNDED.maxlevel = 3
_BOUNDED.maxstring = _BOUNDED.maxlong = _BOUNDED.maxother = 60


def show(value: object, width: int = 60) -> str:
    """Return ``repr(value)`` on one line, cut to ``width`` characters."""
    text = repr(value[: width + 1]) if isinstance(value, (str, bytes)) else _BOUNDED.repr(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def first_twice(names: Iterable[str]) -> str | None:
    """Return the first name that was there before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


@dataclass(slots=True)
class Problems:
    """The problems of one load; those of every file it reads share one list.

    Attributes:
        path: The file that is being read.
        found: Every problem so far, of all files.
    """

    path: Path
    found: list[Problem] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether so much is wrong that reading on helps nobody."""
        return len(self.found) >= MAX_PROBLEMS

    def of(self, path: Path) -> Problems:
        """Return a collector for another file that adds to the same list."""
        return Problems(path, self.found)

    def add(self, message: str, line: int | None = None, column: int | None = None) -> None:
        """Remember one problem."""
        place = Problem(message=message, path=str(self.path), line=line, column=column)
        self.found.append(place)

    def at(self, node: Node, message: str) -> None:
        """Remember one problem at a node."""
        self.add(message, node.line, node.column)

    def throw(self) -> NoReturn:
        """Raise everything found, in the order of the files; the text shows the first few.

        Raises:
            EvalSetError: always.
        """
        found = sorted(
            dict.fromkeys(self.found), key=lambda p: (p.path, p.line or 0, p.column or 0)
        )
        error = EvalSetError(found)
        if len(found) > MAX_SHOWN:
            lines = [str(problem) for problem in found[:MAX_SHOWN]]
            error.args = ("\n".join([*lines, f"… and {len(found) - MAX_SHOWN} more"]),)
        raise error


@dataclass(frozen=True, slots=True)
class Source:
    """Where one piece of a file stands, so that a problem in it gets line and column.

    Attributes:
        problems: The collector of the file.
        node: The piece in YAML; None for a row of a bulk file.
        line: 1-based line of the row; not used where there is a node.
        owner: What the piece is called in messages: ``a case``.
        columns: What a row calls our keys, where it calls them something else.
        is_row: Whether ``line`` counts rows of a table, which has no lines.
    """

    problems: Problems
    node: Node | None = None
    line: int = 0
    owner: str = "the file"
    columns: Mapping[str, str] = field(default_factory=dict)
    is_row: bool = False

    @property
    def place(self) -> str:
        """Where the piece begins: ``line 3``, ``row 3``."""
        number = self.node.line if self.node else self.line
        return f"{'row' if self.is_row else 'line'} {number}"

    def report(self, message: str, loc: Loc = (), *, key: bool = False) -> None:
        """Remember a problem at ``loc`` below this piece: at the value, or at its key."""
        node = self.node and _descend(self.node, loc, key=key)
        if node:
            self.problems.at(node, message)
        elif self.is_row:
            self.problems.add(f"{self.place.capitalize()}: {message}")
        else:
            self.problems.add(message, self.line)

    def named(self, loc: Loc) -> str:
        """Return ``loc`` as people read it: ``'relevant.leave.md'``, ``'tags[1]'``."""
        first = self.columns.get(str(loc[0]), loc[0]) if loc else ""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[1:])
        return show(f"{first}{text}")


def _descend(node: Node, loc: Loc, *, key: bool) -> Node:
    for depth, part in enumerate(loc, start=1):
        children: Any = node.value
        if isinstance(children, dict) and part in children:
            name, value = children[part]
            node = name if key and depth == len(loc) else value
        elif isinstance(children, list) and isinstance(part, int):
            node = children[part]
    return node
