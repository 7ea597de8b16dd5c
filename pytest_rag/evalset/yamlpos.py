"""Strict YAML: events composed into nodes that know line and column, and nothing executed.

Of YAML 1.2 only what a data file needs is kept. Tags, merge keys, a second document, keys
that are not text and duplicate keys are problems; anchors work, within bounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from pytest_rag.evalset.problems import show
from pytest_rag.evalset.yamlerrors import MAX_DEPTH, TOO_DEEP, syntax_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_rag.evalset.problems import Problems

__all__ = ["MAX_DEPTH", "MAX_NODES", "Node", "as_text", "compose", "decode", "plain"]

MAX_NODES = 1_000_000

# Only the loader's events are used, never its constructors.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FIRST = frozenset("+-.0123456789")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(slots=True)
class Node:
    """A value of the file and its place; not frozen, because children arrive after it.

    Attributes:
        value: The text of a scalar, the nodes of a list, or ``{key: (key node, node)}``.
        line: 1-based.
        column: 1-based.
        plain: Whether a scalar stood without quotes, and so may be a number.
    """

    value: str | list[Node] | dict[str, tuple[Node, Node]]
    line: int
    column: int
    plain: bool = False


class _Stop(Exception):  # noqa: N818 - control flow inside this module
    """Reading on makes no sense; the problem is reported already."""


# --- bytes → text -----------------------------------------------------------------------------


def decode(data: bytes, problems: Problems) -> str | None:
    """Return the text of UTF-8 bytes, with or without a byte order mark; None if it is none."""
    if data.startswith(_WIDE):
        problems.add("The file is saved as UTF-16. Save it as UTF-8.", 1, 1)
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = show(data[error.start : error.start + 1])
        message = f"Byte {bad} is not UTF-8. Save the file as UTF-8."
        problems.add(message, *_place(data[: error.start].decode("utf-8-sig", "replace")))
        return None
    found = _CONTROL.search(text)
    if found:
        message = f"Control character {show(found[0])} is not allowed. Remove it."
        problems.add(message, *_place(text[: found.start()]))
        return None
    return text


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


# --- text → nodes -----------------------------------------------------------------------------


_NO_CASES = "Write at least one case under 'cases'."


def compose(text: str, problems: Problems, *, empty: str = _NO_CASES) -> Node | None:
    """Return the root of the only document, or None where there is none to work with.

    Args:
        text: Of the file.
        problems: Where they are told.
        empty: What to do where the file is empty, in a sentence.
    """
    composer = _Composer(problems)
    try:
        for event in _events(text):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        problems.add(*syntax_problem(error, text))
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML's own parser lets chr() and int() complain about escapes and directives.
        problems.add("The file holds an escape or a directive that is not valid YAML. Remove it.")
    except _Stop:
        return None
    else:
        if not composer.root:
            problems.add(f"The file is empty. {empty}", 1, 1)
    return composer.root[0] if composer.finished else None


def _events(text: str) -> Iterator[Any]:
    loader = _Loader(text)
    try:
        while (event := loader.get_event()) is not None:
            yield event
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    node: Node
    anchor: str | None
    start: int
    height: int = 1
    key: Node | None = None


@dataclass(frozen=True, slots=True)
class _Anchor:
    """What an alias stands for, and what it adds to the document."""

    node: Node
    size: int = 1
    height: int = 0


class _Composer:
    """Builds nodes from events without recursion, and bounds what aliases can unfold to."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.root: list[Node] = []
        self.finished = False
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchor] = {}
        self._count = 0
        self._takers = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.DocumentStartEvent: self._document,
            yaml.StreamEndEvent: self._finish,
        }

    def take(self, event: Any) -> None:
        taker = self._takers.get(type(event))
        if taker:
            taker(event)

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        node = Node(event.value, mark.line + 1, mark.column + 1, event.implicit[0])
        if event.tag is not None:
            self._tag(event.tag, node)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(node)
        self._grow(1, node)
        self._attach(node)

    def _start(self, event: Any) -> None:
        mark = event.start_mark
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        node = Node(value, mark.line + 1, mark.column + 1)
        if event.tag is not None:
            self._tag(event.tag, node)
        self._attach(node)
        self._stack.append(_Open(node, event.anchor, self._count))
        self._deep(0, node)
        self._grow(1, node)

    def _end(self, _event: Any) -> None:
        closed = self._stack.pop()
        if closed.anchor is not None:
            size = self._count - closed.start
            self._anchors[closed.anchor] = _Anchor(closed.node, size, closed.height)
        self._raise_height(closed.height + 1)

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        here = Node("", mark.line + 1, mark.column + 1)
        if any(each.anchor == event.anchor for each in self._stack):
            self._stop(here, f"Alias '*{event.anchor}' stands inside what it refers to.")
        found = self._anchors.get(event.anchor)
        if found is None:
            name = f"*{event.anchor}"
            hint = f"If a text is meant, put it in quotes: {show(name)}."
            self._stop(here, f"Alias {show(name)} refers to no anchor above it. {hint}")
        self._deep(found.height, here)
        self._raise_height(found.height + 1)
        self._grow(found.size, here)
        self._attach(found.node)

    def _document(self, event: Any) -> None:
        if self.root:
            here = Node("", event.start_mark.line + 1, event.start_mark.column + 1)
            self._stop(here, "A second document begins here. Put it into a file of its own.")

    def _finish(self, _event: Any) -> None:
        self.finished = bool(self.root)

    def _attach(self, node: Node) -> None:
        if not self._stack:
            self.root.append(node)
            return
        parent = self._stack[-1]
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key = self._key(node)
        else:
            self._entry(parent, parent.key, node)
            parent.key = None

    def _key(self, node: Node) -> Node:
        if not isinstance(node.value, str):
            self._stop(node, "A key must be a text, not a list or a mapping.")
        if node.plain and node.value == "<<":
            hint = "Put shared keys under 'defaults', or write them out."
            self._stop(node, f"Merge keys ('<<') are not supported. {hint}")
        return node

    def _entry(self, parent: _Open, key: Node, value: Node) -> None:
        entries: Any = parent.node.value
        first = entries.setdefault(key.value, (key, value))
        if first[0] is not key:
            line = first[0].line
            message = f"Key {show(key.value)} is given twice: in line {line} and here."
            self.problems.at(key, f"{message} Remove one.")

    def _tag(self, tag: str, node: Node) -> None:
        tag = tag.replace("tag:yaml.org,2002:", "!!")
        hint = "Remove it, or put the text in quotes."
        self.problems.at(node, f"Tag {show(tag)} is not supported. {hint}")

    def _raise_height(self, height: int) -> None:
        if self._stack and self._stack[-1].height < height:
            self._stack[-1].height = height

    def _deep(self, height: int, node: Node) -> None:
        if len(self._stack) + height > MAX_DEPTH:
            self._stop(node, TOO_DEEP)

    def _grow(self, size: int, node: Node) -> None:
        self._count += size
        if self._count > MAX_NODES:
            hint = "Move the cases to a JSONL file and name it under 'cases_from'."
            self._stop(node, f"The file holds more than {MAX_NODES:,} values. {hint}")

    def _stop(self, node: Node, message: str) -> NoReturn:
        self.problems.at(node, message)
        raise _Stop


# --- nodes → values ---------------------------------------------------------------------------


def plain(node: Node, problems: Problems) -> Any:
    """Return the Python value of a node: YAML 1.2's null, booleans and finite numbers, or text."""
    value = node.value
    if isinstance(value, str):
        return _scalar(node, value, problems) if node.plain else value
    if isinstance(value, list):
        return [plain(item, problems) for item in value]
    return {key: plain(item, problems) for key, (_, item) in value.items()}


def as_text(node: Node, problems: Problems) -> Any:
    """Return a node whose scalars are texts as they were typed: ``2.10`` stays ``"2.10"``.

    Only a missing value stays None; the values of a mapping are read as `plain` reads them.
    """
    value = node.value
    if isinstance(value, str):
        return None if node.plain and _WORDS.get(value, value) is None else value
    if isinstance(value, list):
        return [as_text(item, problems) for item in value]
    return plain(node, problems)


def _scalar(node: Node, text: str, problems: Problems) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _FIRST:
        return text
    number = _number(text)
    if number is not None:
        return number
    hint = "If it is a text, put it in quotes."
    problems.at(node, f"{show(text)} is not a finite number. {hint}")
    return 1  # stands in, so that nothing more is said about it


def _number(text: str) -> int | float | str | None:
    """Return the number ``text`` stands for, None for one out of range, or ``text`` itself."""
    if _BASED.fullmatch(text):
        return int(text, 0) if len(text) <= 20 else None
    if _NOT_FINITE.fullmatch(text):
        return None
    if not _NUMBER.fullmatch(text):
        return text
    if text.lstrip("+-").isdigit():
        return int(text) if len(text) <= 100 else None
    value = float(text)
    return value if abs(value) != float("inf") else None
