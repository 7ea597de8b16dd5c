"""LlamaIndex nodes → the documents people name in gold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from pytest_rag.errors import PipelineError
from pytest_rag.registry import did_you_mean
from pytest_rag.types import Retrieved

__all__ = ["document_of", "from_mapping", "from_node", "is_number"]

_SECTION_KEYS = ("sections", "section", "anchor")
_PAGE_KEYS = ("page_label", "page_number", "page")


def from_node(scored: Any, document_key: str | None) -> Retrieved:
    """Map a LlamaIndex ``NodeWithScore`` (or bare node) to its document.

    Args:
        scored: The node.
        document_key: Metadata key that names the document; None for ``ref_doc_id``, and the
            node's own id where it has no source.

    Raises:
        PipelineError: if ``document_key`` is set and the node's metadata lacks it.
    """
    node = getattr(scored, "node", scored)
    metadata = dict(node.metadata)
    return Retrieved(
        id=_document_id(node, metadata, document_key),
        node=str(node.node_id),
        score=_score(getattr(scored, "score", None), f"The retrieved node {node.node_id!r}"),
        text=node.get_content(),
        sections=_words(_first(metadata, _SECTION_KEYS)),
        pages=_words(_first(metadata, _PAGE_KEYS)),
        span=_span(getattr(node, "start_char_idx", None), getattr(node, "end_char_idx", None)),
        metadata=metadata,
    )


def document_of(scored: Any, document_key: str | None) -> str:
    """Return the id of the document that a LlamaIndex node, scored or bare, belongs to.

    A node on its way that lacks ``document_key`` is known by its own id.
    """
    node = getattr(scored, "node", scored)
    if document_key is None:
        return str(node.ref_doc_id or node.node_id)
    return str(node.metadata.get(document_key, node.node_id))


def _document_id(node: Any, metadata: Mapping[str, Any], document_key: str | None) -> str:
    if document_key is None:
        return str(node.ref_doc_id or node.node_id)
    if document_key not in metadata:
        raise PipelineError(
            f"A retrieved node has no metadata {document_key!r}, which document_key in "
            f"[tool.pytest-rag] names.{did_you_mean(document_key, map(str, metadata))}"
        )
    return str(metadata[document_key])


_MAPPING_KEYS = frozenset({"id", "score", "text", "node", "section", "page", "span", "metadata"})


def from_mapping(entry: Any, place: int) -> Retrieved:
    """Read one entry of a callable's ``retrieved`` list.

    Raises:
        PipelineError: if it is no mapping, has no id, or has an unknown key.
    """
    where = f"retrieved[{place}] of the pipeline's answer"
    if type(entry) is not dict and not isinstance(entry, Mapping):  # the usual case first
        raise PipelineError(f"{where} is {entry!r:.80}, not a mapping with an 'id'.")
    if not entry.keys() <= _MAPPING_KEYS:
        key = next(key for key in entry if key not in _MAPPING_KEYS)
        raise PipelineError(f"{where} has a key {key!r}.{did_you_mean(str(key), _MAPPING_KEYS)}")
    document = entry.get("id")
    if is_number(document):
        raise PipelineError(f"{where}: 'id' is {document}, a number: write it as a text.")
    if not isinstance(document, str) or not document:
        raise PipelineError(f"{where} has no 'id': the document's id, a text.")
    metadata = entry.get("metadata") or {}
    return Retrieved(
        id=document,
        node=str(entry.get("node", f"{document}[{place}]")),
        score=_score(entry.get("score"), where),
        text=str(entry.get("text") or ""),
        sections=_words(entry.get("section")),
        pages=_words(entry.get("page")),
        span=_span(*(entry.get("span") or (None, None))),
        metadata=dict(metadata),
    )


def _score(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if not is_number(value):
        raise PipelineError(f"{where} has the score {value!r:.60}, not a number.")
    try:
        score = float(value)
    except OverflowError:
        raise PipelineError(f"{where} has a score that is too large to be ranked.") from None
    if not math.isfinite(score):
        raise PipelineError(f"{where} has the score {score}, which cannot be ranked.")
    return score


def is_number(value: Any) -> bool:
    """Tell whether a value is a number, NumPy's among them; a truth value and a text are none."""
    if isinstance(value, str):  # the usual case, and an abstract class asks slowly
        return False
    return isinstance(value, float) or (isinstance(value, Real) and not isinstance(value, bool))


def _first(metadata: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((metadata[key] for key in keys if metadata.get(key) is not None), None)


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple | set):
        return tuple(str(word) for word in value)
    return (str(value),)


def _span(start: Any, end: Any) -> tuple[int, int] | None:
    return None if start is None or end is None else (int(start), int(end))
