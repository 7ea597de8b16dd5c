"""What ``pytest-rag doctor EVALSET`` finds in the cases of an evalset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.authoring.flags import Corpus, Twins, flags_of
from pytest_rag.cli.findings import Finding
from pytest_rag.report.layout import count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_rag.types import EvalSet

__all__ = ["cases"]


def cases(evalset: EvalSet, folder: Path | None) -> Iterator[Finding]:
    """Yield what is suspicious about the cases of an evalset, and what it was looked at with.

    Args:
        evalset: With the cases nobody has reviewed.
        folder: The documents; those of its local pipeline where it is None.

    Raises:
        ConfigError: if the folder is not there.
    """
    every = (*evalset.cases, *evalset.drafts)
    corpus, twins = _corpus(evalset, folder), Twins()
    drafts = f", {len(evalset.drafts):,} not reviewed" if evalset.drafts else ""
    yield Finding(state="ok", name="cases", text=f"{len(every):,}{drafts}")
    if corpus is None:
        text = "not known, so gold and answers were not looked for: --corpus DOCS"
        yield Finding(state="note", name="documents", text=text)
    else:
        yield Finding(state="ok", name="documents", text=count(len(corpus.documents), "document"))
    yield Finding(state="ok", name="near-duplicates", text=f"by {twins.method}")
    for flag in flags_of(every, corpus, twins):
        state = "broken" if flag.broken else "note"
        yield Finding(state=state, name=flag.case, text=flag.text)  # type: ignore[arg-type]


def _corpus(evalset: EvalSet, folder: Path | None) -> Corpus | None:
    from pytest_rag.pipelines.parts import documents_of

    found: list[Any] | None = documents_of(evalset, folder)
    return None if found is None else Corpus({document.id_: document for document in found})
