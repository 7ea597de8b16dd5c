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
    nodes = list(_nodes(target))
    if not nodes:
        return None
    if document_key is None:
        return frozenset(str(node.ref_doc_id or node.node_id) for node in nodes)
    return frozenset(str(n.metadata[document_key]) for n in nodes if document_key in n.metadata)


def _nodes(component: Any) -> Iterable[Any]:
    """Yield the nodes behind a LlamaIndex engine or retriever."""
    attributes = getattr(component, "__dict__", {})
    for name in ("_retriever", "_index"):
        if attributes.get(name) is not None:
            yield from _nodes(attributes[name])
            return
    for retriever in attributes.get("_retrievers") or ():
        yield from _nodes(retriever)
    docstore = attributes.get("_docstore")
    if docstore is not None:
        yield from docstore.docs.values()
