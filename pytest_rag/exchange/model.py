"""What every layout is read into and written from: questions, documents, and what was lost."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Collection", "ConvertError", "Document", "Question", "file_of", "hashed"]

_UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
_LONGEST = 80
_HASH = 8


class ConvertError(UsageError):
    """A file that is not of its layout, or a layout that cannot hold what is there."""

    @classmethod
    def at(cls, path: Path, line: int | None, message: str) -> ConvertError:
        """Return an error with its place."""
        return cls(f"{path}:{line}: {message}" if line else f"{path}: {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question with its judgements.

    Attributes:
        id: As its layout calls it.
        query: The question.
        answers: Reference answers.
        relevant: Grade by document id.
        answerable: False where a refusal is right.
        meta: What our format has no key for, kept for the way back.
    """

    id: str
    query: str
    answers: tuple[str, ...] = ()
    relevant: Mapping[str, int] = field(default_factory=dict)
    answerable: bool = True
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document.

    Attributes:
        id: As its layout calls it.
        text: Without its title.
        title: Empty where it has none.
    """

    id: str
    text: str
    title: str = ""


@dataclass(slots=True, kw_only=True)
class Collection:
    """Questions and, where the layout has them, documents.

    Attributes:
        questions: In the order of the file.
        documents: To be gone through once; None where there are none.
        source: What it is, for a comment: ``beir scifact, split test``.
        left_out: How often something could not be taken over, by reason.
    """

    questions: list[Question]
    documents: Iterable[Document] | None = None
    source: str = ""
    left_out: Counter[str] = field(default_factory=Counter)


def hashed(text: str) -> str:
    """Return eight characters that tell a text from others."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]


def file_of(document: str) -> str:
    """Return the name of the file a document is kept in, which is then its id: ``4983.txt``.

    An id that cannot name a file is spelt as far as it can, and told from others by a hash.
    """
    parts = [_safe(part) for part in document.split("/")]
    if "" in parts:
        parts = [_safe(document.replace("/", "_"))]
    name = "/".join(parts)
    if name != document or len(name) > _LONGEST or _RESERVED.match(parts[-1]):
        name = f"{name[:_LONGEST]}-{hashed(document)}"
    return f"{name}.txt"


def _safe(part: str) -> str:
    return _UNSAFE.sub("_", part).lstrip(".").rstrip(".")
