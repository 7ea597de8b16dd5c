"""From retrieved nodes and gold as people write it to a ranking and qrels of plain ids.

A gold id as written is, in this order of trial:

* the exact id of a document, whatever characters it holds;
* ``doc#section-slug``, ``doc#page=3`` or ``doc#page=3-5`` (RFC 8118), ``doc#char=120,340``
  (RFC 5147, a half-open span of characters that a node must overlap): a *fragment*;
* a glob over document ids with ``fnmatch``'s ``*``, ``?`` and ``[...]``, case-sensitive.

An exact id is one that the index holds or that was retrieved. Where the pipeline cannot list its
documents only the latter is known, and a glob stands for one relevant document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from itertools import chain
from math import isnan
from operator import gt
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pytest_rag.types import Retrieved

__all__ = ["NOT_TOLD", "CannotTellError", "Resolved", "matches", "resolve"]

NOT_TOLD = "the pipeline does not tell what it retrieved"
Ids = TypeVar("Ids", str, tuple[str, ...])
_GLOB = re.compile(r"[*?[]")
_PAGES = re.compile(r"(\d+)-(\d+)")
_SPAN = re.compile(r"(\d*),(\d*)|(\d+)")
_CARRIES = {"section": "section metadata", "page": "page labels", "char": "character spans"}


class CannotTellError(Exception):
    """The nodes do not carry what a fragment gold asks about; its text is a Score's reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What ranking measures work on.

    Attributes:
        ranking: Distinct ids, best first: gold ids as written (globs expanded where the index is
            known), otherwise document ids.
        qrels: Grade by the same ids.
        missing: Gold as written that no document of the index matches: the label broke.
    """

    ranking: tuple[str, ...]
    qrels: dict[str, int]
    missing: tuple[str, ...] = ()


def matches(pattern: str, document: str) -> bool:
    """Tell whether a document id is the one written, or one of those a glob stands for."""
    return document == pattern or (
        _GLOB.search(pattern) is not None and re.match(translate(pattern), document) is not None
    )


def resolve(
    retrieved: Sequence[Retrieved],
    relevant: Mapping[str, int],
    documents: Collection[str] | None,
) -> Resolved:
    """Map nodes to gold ids, remove duplicates, and order as trec_eval does.

    A node takes every gold id it matches, the highest grade first; one that matches none takes its
    document's id, and stands in the ranking unjudged. Nodes are ordered by descending score, ties
    by descending id; where a node has no score the pipeline's order is kept. Of a repeated id the
    best position counts.

    Args:
        retrieved: Nodes in the pipeline's order.
        relevant: Grade by gold id as written.
        documents: Ids of every document of the index, or None where they are not known.

    Raises:
        CannotTellError: if a fragment gold's document was retrieved, but none of its nodes carries
            sections, pages or a span to match it with.
    """
    ids = [node.id for node in retrieved]
    distinct = set(ids)
    labels = _read(relevant, distinct, documents)
    _check_told(labels.fragments, retrieved)
    scores = [node.score for node in retrieved]
    ranking: Iterable[str]
    if labels.fragments or labels.globs:
        units = [_ids(node, labels) for node in retrieved]
        ranking = dict.fromkeys(chain.from_iterable(_best_first(scores, units)))
    else:  # a node is its document, and nothing else
        ordered = _best_first(scores, ids)
        ranking = ordered if len(distinct) == len(ids) else dict.fromkeys(ordered)
    return Resolved(ranking=tuple(ranking), qrels=labels.qrels, missing=labels.missing)


def _best_first(scores: list[Any], units: list[Ids]) -> list[Ids]:
    """Order by descending score and id; a missing or NaN score keeps the given order."""
    in_order = None in scores or all(map(gt, scores, scores[1:]))
    if in_order or any(map(isnan, scores)):
        return units
    return [ids for _, ids in sorted(zip(scores, units, strict=True), reverse=True)]


# --- reading the labels -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A part of a document: ``kind`` says how ``wanted`` is to be read."""

    written: str
    document: str
    kind: Literal["section", "page", "char"]
    wanted: str

    def told_by(self, node: Retrieved) -> bool:
        """Tell whether the node carries what is needed to match it."""
        if self.kind == "char":
            return node.span is not None
        return bool(node.pages if self.kind == "page" else node.sections)

    def holds(self, node: Retrieved) -> bool:
        """Tell whether a node of the document touches this part of it."""
        if self.kind == "section":
            return self.wanted in node.sections
        if self.kind == "page":
            return self.wanted in node.pages or any(map(self._in_range, node.pages))
        return node.span is not None and _overlap(_span(self.wanted), node.span)

    def _in_range(self, label: str) -> bool:
        pages = _PAGES.fullmatch(self.wanted)
        return (
            pages is not None and label.isdecimal() and int(pages[1]) <= int(label) <= int(pages[2])
        )


def _span(wanted: str) -> tuple[float, float]:
    """Read ``120,340``, ``120,`` (to the end), ``,340`` or a single position ``120``."""
    found = _SPAN.fullmatch(wanted)
    if found is None:
        raise CannotTellError(f"'#char={wanted}' is no span of characters such as '#char=120,340'")
    if found[3]:
        return float(found[3]), float(found[3]) + 1
    return float(found[1] or 0), float(found[2] or "inf")


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return max(a[0], b[0]) < min(a[1], b[1])


@dataclass(frozen=True, slots=True)
class _Labels:
    """The gold of a case, read: what nodes are matched with, and the qrels that come of it."""

    qrels: dict[str, int]
    fragments: dict[str, list[_Fragment]]
    globs: dict[str, re.Pattern[str]]
    missing: tuple[str, ...]


def _read(
    relevant: Mapping[str, int], seen: set[str], documents: Collection[str] | None
) -> _Labels:
    """Sort gold into exact ids, fragments and globs; expand globs where the index is known."""

    def known(document: str) -> bool:
        return document in seen or (documents is not None and document in documents)

    qrels: dict[str, int] = {}
    fragments: dict[str, list[_Fragment]] = {}
    globs: dict[str, int] = {}
    missing = []
    for written, grade in relevant.items():
        if known(written):
            qrels[written] = grade
            continue
        document, found, _ = written.rpartition("#")
        if not (found and known(document)):
            if _GLOB.search(written):
                globs[written] = grade
                continue
            missing.append(written)
        qrels[written] = grade
        if found:
            fragments.setdefault(document, []).append(_fragment(written))
    if documents is None:
        return _one_each(globs, _Labels(qrels, fragments, {}, ()))
    missing += _expand(globs, {*documents, *seen} if globs else set(), qrels)
    return _Labels(qrels, fragments, {}, tuple(missing))


def _fragment(written: str) -> _Fragment:
    document, _, part = written.rpartition("#")
    key, equals, wanted = part.partition("=")
    if equals and key == "page":
        return _Fragment(written, document, "page", wanted)
    if equals and key == "char":
        return _Fragment(written, document, "char", wanted)
    return _Fragment(written, document, "section", part)


def _one_each(globs: Mapping[str, int], labels: _Labels) -> _Labels:
    """Let every glob count as one relevant document under its own name: the index is unknown."""
    compiled = {written: re.compile(translate(written)) for written in globs}
    return _Labels({**labels.qrels, **globs}, labels.fragments, compiled, ())


def _expand(
    globs: Mapping[str, int], documents: Collection[str], qrels: dict[str, int]
) -> list[str]:
    """Grade every document a glob matches and no gold names; return globs that match nothing."""
    expanded: dict[str, int] = {}
    missing = []
    for written, grade in globs.items():
        match = re.compile(translate(written)).match
        found = sorted(filter(match, documents))
        expanded |= {i: max(grade, expanded.get(i, grade)) for i in found}
        if not found:
            missing.append(written)
            qrels[written] = grade
    qrels |= {document: grade for document, grade in expanded.items() if document not in qrels}
    return missing


# --- matching nodes ---------------------------------------------------------------------------


def _ids(node: Retrieved, labels: _Labels) -> tuple[str, ...]:
    """Return the ids a node stands for: all gold it matches, or its document, or nothing."""
    found = [part.written for part in labels.fragments.get(node.id, ()) if part.holds(node)]
    if node.id in labels.qrels:
        found.append(node.id)
    else:
        found += [written for written, glob in labels.globs.items() if glob.match(node.id)]
    return tuple(sorted(found, key=lambda i: -labels.qrels[i])) or (node.id,)


def _check_told(fragments: Mapping[str, list[_Fragment]], retrieved: Sequence[Retrieved]) -> None:
    """Raise where a fragment's document was retrieved in nodes that say nothing of that kind."""
    for document, parts in fragments.items():
        nodes = [node for node in retrieved if node.id == document]
        for part in parts:
            if nodes and not any(part.told_by(node) for node in nodes):
                raise CannotTellError(f"nodes of {document!r} carry no {_CARRIES[part.kind]}")
