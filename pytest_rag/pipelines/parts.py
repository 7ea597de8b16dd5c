"""An evalset's documents, and the part of one that a gold id names: a section, a page, a span."""

from __future__ import annotations

from glob import escape
from typing import TYPE_CHECKING, Any

from pytest_rag.pipelines.corpus import PAGE_BREAK, read_folder
from pytest_rag.pipelines.markup import outline

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from pytest_rag.types import EvalSet

__all__ = ["document_of", "documents_of", "part_of", "read_documents"]


def read_documents(path: Path, glob: str | None = None) -> list[Any]:
    """Return the documents of a folder, or the one that a file is, as LlamaIndex has them.

    Args:
        path: The folder or file.
        glob: Pattern below the folder; None for every file.

    Raises:
        ConfigError: if nothing is there that can be read.
        PipelineError: if a file cannot be read.
    """
    if path.is_file():
        return read_folder(path.parent, escape(path.name))
    return read_folder(path, glob)


def documents_of(evalset: EvalSet, folder: Path | None) -> list[Any] | None:
    """Return an evalset's documents: of a folder, or of its local pipeline; None for neither.

    Raises:
        ConfigError: if nothing is there that can be read.
        PipelineError: if a file cannot be read.
    """
    if folder is not None:
        return read_documents(folder)
    spec = evalset.pipeline
    if spec is None or spec.factory is not None:
        return None
    return read_documents(evalset.path.parent / str(spec.params["corpus"]), spec.params.get("glob"))


def document_of(gold: str, documents: Collection[str]) -> tuple[str, str] | None:
    """Return the document a gold id names and what stands behind its ``#``; None for no document.

    Args:
        gold: As written in a case; a glob names none here.
        documents: The ids there are.
    """
    if gold in documents:
        return gold, ""
    document, found, fragment = gold.rpartition("#")
    return (document, fragment) if found and document in documents else None


def part_of(text: str, metadata: Mapping[str, Any], fragment: str) -> str | None:
    """Return a part of a document's text; None where it has none of this name.

    Args:
        text: Of the whole document.
        metadata: With ``page_labels`` where it has pages.
        fragment: ``section-slug``, ``page=3``, ``page=3-5`` or ``char=120,340``; empty for all.
    """
    key, equals, wanted = fragment.partition("=")
    if not fragment:
        return text
    if equals and key == "char":
        return _span(text, wanted)
    if equals and key == "page":
        return _pages(text, metadata.get("page_labels"), wanted)
    return next((text[h.start : h.end] for h in outline(text) if h.slug == fragment), None)


def _span(text: str, wanted: str) -> str | None:
    start, comma, end = wanted.partition(",")
    if not comma or any(part and not part.isdecimal() for part in (start, end)):
        return None
    return text[int(start or 0) : int(end) if end else None] or None


def _pages(text: str, labels: Any, wanted: str) -> str | None:
    pages = dict(zip(map(str, labels or ()), text.split(PAGE_BREAK), strict=False))
    first, dash, last = wanted.partition("-")
    if dash and first.isdecimal() and last.isdecimal() and wanted not in pages:
        numbers = range(int(first), min(int(last), int(first) + len(pages)) + 1)
        return PAGE_BREAK.join(pages[str(n)] for n in numbers if str(n) in pages) or None
    return pages.get(wanted)
