"""A folder of Markdown, text, HTML and PDF files as LlamaIndex Documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rag.errors import ConfigError, PipelineError
from pytest_rag.extras import require
from pytest_rag.pipelines.markup import html_to_text, outline, split_front_matter

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core import Document

__all__ = ["PAGE_BREAK", "SUFFIXES", "read_folder"]

PAGE_BREAK = "\f"
"""Stands between the pages of a PDF in a document's text."""

_Read = tuple[dict[str, Any], str]


def read_folder(folder: str | Path, glob: str | None = None) -> list[Document]:
    """Return one Document a file, ordered by id.

    The id is the path relative to the folder with ``/`` between its parts; the metadata is the
    front matter with ``title`` and ``file_type``. Hidden files and folders, and files of a suffix
    that is not in ``SUFFIXES``, are passed over.

    Args:
        folder: Where the corpus lies.
        glob: Pattern below the folder, such as ``people/**/*.md``; None for every file.

    Raises:
        ConfigError: if the folder does not exist or holds nothing that can be read.
        PipelineError: if a file cannot be read; names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"The corpus folder {str(folder)!r} does not exist.")
    paths = {path.relative_to(folder).as_posix(): path for path in _files(folder, glob)}
    documents = [_document(name, paths[name]) for name in sorted(paths)]
    if not documents:
        matching = f" matching {glob!r}" if glob else ""
        kinds = ", ".join(sorted(SUFFIXES))
        raise ConfigError(f"The corpus folder {str(folder)!r} has no {kinds} file{matching}.")
    return documents


def _files(folder: Path, glob: str | None) -> list[Path]:
    try:
        found = list(folder.glob(glob or "**/*"))
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"glob {glob!r} is no pattern below the corpus folder: {error}") from None
    return [
        path
        for path in found
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _document(name: str, path: Path) -> Document:
    from llama_index.core import Document

    kind, read = SUFFIXES[path.suffix.lower()]
    try:
        metadata, text = read(path)
    except UnicodeDecodeError as error:
        raise PipelineError(
            f"{path}: not UTF-8 text (byte {error.start}): {error.reason}"
        ) from error
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: {error}") from error
    metadata = {"title": _title(text, path), **metadata, "file_type": kind}
    return Document(id_=name, text=text, metadata=metadata)


def _title(text: str, path: Path) -> str:
    headings = outline(text) if path.suffix.lower() not in {".txt", ".pdf"} else []
    named = path.stem.replace("-", " ").replace("_", " ").strip()
    return next((h.title for h in headings if h.title), named)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")


def _read_text(path: Path) -> _Read:
    return split_front_matter(_text(path))


def _read_html(path: Path) -> _Read:
    return html_to_text(_text(path))


def _read_pdf(path: Path) -> _Read:
    """Join the pages; ``page_labels`` names them in order."""
    pypdf = require("pypdf", "demo")
    try:
        reader = pypdf.PdfReader(path, strict=False)
        pages = [page.extract_text().strip() for page in reader.pages]
        labels, title = list(reader.page_labels), (reader.metadata or {}).get("/Title")
    except Exception as error:  # a broken file breaks pypdf in many ways
        raise ValueError(f"not a readable PDF: {error}") from error
    found = {"page_labels": labels} | ({"title": str(title)} if title else {})
    return found, PAGE_BREAK.join(pages)


SUFFIXES: dict[str, tuple[str, Callable[[Path], _Read]]] = {
    ".md": ("text/markdown", _read_text),
    ".markdown": ("text/markdown", _read_text),
    ".txt": ("text/plain", _read_text),
    ".html": ("text/html", _read_html),
    ".htm": ("text/html", _read_html),
    ".pdf": ("application/pdf", _read_pdf),
}
"""Suffix → media type and reader."""
