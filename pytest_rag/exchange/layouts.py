"""Layouts by name: which one a file has, and how each is read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_rag.exchange import beir, contexts, squad, trec
from pytest_rag.exchange.model import ConvertError
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_rag.exchange.model import Collection

__all__ = ["LAYOUTS", "Layout", "layout_named", "layout_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One layout.

    Attributes:
        name: As people type it.
        looks_so: Tells whether a file or folder has it.
        read: Reads one: its path, a split, a file of queries, and one of documents.
        write: Writes a collection into a folder that is there.
        files: What it writes.
        parts: Whether gold may be a part of a document.
    """

    name: str
    looks_so: Callable[[Path], bool]
    read: Callable[[Path, str, Path | None, Path | None], Collection]
    write: Callable[[Collection, Path], None]
    files: tuple[str, ...]
    parts: bool = False


_ALL = (
    Layout(
        name="beir",
        looks_so=beir.is_beir,
        read=lambda path, split, _queries, _corpus: beir.read_beir(path, split),
        write=beir.write_beir,
        files=("queries.jsonl", "qrels", "corpus.jsonl"),
    ),
    Layout(
        name="squad",
        looks_so=squad.is_squad,
        read=lambda path, _split, _queries, _corpus: squad.read_squad(path),
        write=squad.write_squad,
        files=("squad.json",),
    ),
    Layout(
        name="llamaindex",
        looks_so=contexts.is_llamaindex,
        read=lambda path, _split, _queries, _corpus: contexts.read_llamaindex(path),
        write=contexts.write_llamaindex,
        files=("rag_dataset.json",),
        parts=True,
    ),
    Layout(
        name="trec",
        looks_so=trec.is_trec,
        read=lambda path, _split, queries, corpus: trec.read_trec(path, queries, corpus),
        write=trec.write_trec,
        files=("qrels.txt", "queries.tsv", "corpus.jsonl"),
    ),
    Layout(
        name="ragas",
        looks_so=contexts.is_ragas,
        read=lambda path, _split, _queries, _corpus: contexts.read_ragas(path),
        write=contexts.write_ragas,
        files=("ragas.jsonl",),
        parts=True,
    ),
)
LAYOUTS = {layout.name: layout for layout in _ALL}


def layout_named(name: str) -> Layout:
    """Return a layout by its name.

    Raises:
        ConvertError: if there is none.
    """
    if name not in LAYOUTS:
        raise ConvertError(f"There is no layout {name!r}.{did_you_mean(name, LAYOUTS)}")
    return LAYOUTS[name]


def layout_of(path: Path, name: str | None = None) -> Layout:
    """Return the layout that a file or folder has, or is said to have.

    Raises:
        ConvertError: if it is not there, or has none that is known.
    """
    if not path.exists():
        raise ConvertError(f"There is no file or folder {str(path)!r}.")
    if name is not None:
        return layout_named(name)
    for layout in _ALL:
        if layout.looks_so(path):
            return layout
    names = ", ".join(LAYOUTS)
    raise ConvertError(f"{path} has none of the layouts {names}. If it has: --from LAYOUT.")
