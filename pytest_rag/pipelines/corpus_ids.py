"""The ids of every document an index holds, where the pipeline can tell."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

__all__ = ["document_ids"]


def document_ids(target: Any, document_key: str | None) -> frozenset[str] | None:
    """Return the ids of all indexed documents, or None where the pipeline cannot tell.

    A pipeline may say it itself with an attribute ``documents``, a set of ids; of a LlamaIndex
    object the docstore of its index is read.

    Args:
        target: The object under test.
        document_key: Metadata key that names a node's document, or None for ``ref_doc_id``.
    """
    told = getattr(target, "documents", None)
    if isinstance(told, Set):
        return frozenset(str(name) for name in told)
    nodes = _nodes(target)
    if not nodes:
        return None
    if document_key is None:
        return frozenset(str(node.ref_doc_id or node.node_id) for node in nodes)
    return frozenset(str(n.metadata[document_key]) for n in nodes if document_key in n.metadata)


_BEHIND = ("_retriever", "_vector_retriever", "_query_engine", "_index")
_BEHIND_MANY = ("_retrievers", "_query_engines")


def _nodes(component: Any) -> list[Any] | None:
    """Return the nodes behind a LlamaIndex engine or retriever; None where one part cannot tell."""
    attributes = getattr(component, "__dict__", {})
    for name in _BEHIND:
        if attributes.get(name) is not None:
            return _nodes(attributes[name])
    for name in _BEHIND_MANY:
        parts = attributes.get(name)
        if parts:
            return _of_all(parts.values() if isinstance(parts, dict) else parts)
    docstore = attributes.get("_docstore")
    return None if docstore is None else list(docstore.docs.values()) or None


def _of_all(parts: Iterable[Any]) -> list[Any] | None:
    every: list[Any] = []
    for part in parts:
        nodes = _nodes(part)
        if nodes is None:
            return None
        every += nodes
    return every
