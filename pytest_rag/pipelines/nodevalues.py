"""LlamaIndex's nodes ↔ JSON values; imported only once LlamaIndex is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from llama_index.core.schema import NodeWithScore
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["content_of", "dumped", "fresh", "loaded", "mark_of"]


def content_of(node: Any) -> str:
    """Return a digest of all there is in a node but ids that were made at random."""
    told = {
        k: v for k, v in node.to_dict().items() if k not in ("id_", "relationships", "embedding")
    }
    ids = [node.node_id, *sorted(_related(node))]
    kept = [told, [each for each in ids if not is_random(each)]]
    text = json.dumps(kept, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def mark_of(hit: Any) -> list[Any]:
    """Return what tells a node with its score from others."""
    return [content_of(hit.node), None if hit.score is None else repr(float(hit.score))]


def _related(node: Any) -> Iterable[str]:
    for found in node.relationships.values():
        for each in found if isinstance(found, list) else [found]:
            yield each.node_id


def is_random(name: str) -> bool:
    """Tell whether an id is one of those that LlamaIndex gives to what has none."""
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def dumped(hits: Iterable[Any], given: Sequence[Any], marks: Sequence[list[Any]]) -> list[Any]:
    """Return nodes with scores as JSON.

    Args:
        hits: The nodes.
        given: Nodes of which some are taken over as they are: told by their places.
        marks: Of those, before anybody could change them.

    Raises:
        ValueError: if one does not come back as it was.
        TypeError: if one is of a kind that has no JSON.
    """
    places = {id(hit.node): place for place, hit in reversed(list(enumerate(given)))}
    return [_dumped(hit, places, marks) for hit in hits]


def _dumped(hit: Any, places: Mapping[int, int], marks: Sequence[list[Any]]) -> dict[str, Any]:
    if type(hit) is not NodeWithScore:
        raise TypeError(f"{type(hit).__name__} is no node with a score.")
    score = None if hit.score is None else float(hit.score)
    place = places.get(id(hit.node))
    if place is not None and marks[place][0] == content_of(hit.node):
        return {"given": place, "score": score}
    told = doc_to_json(hit.node)
    again = json.loads(json.dumps(told, allow_nan=False))
    back = json_to_doc(again)
    if type(back) is not type(hit.node) or back.to_dict() != hit.node.to_dict():
        raise ValueError(f"{type(hit.node).__name__} does not come back as it was.")
    return {"node": again, "score": score}


def loaded(told: Iterable[Mapping[str, Any]], given: Sequence[Any]) -> list[Any]:
    """Return the nodes that were dumped.

    Raises:
        KeyError, IndexError, ValueError: if they are not what was dumped.
    """
    return [
        NodeWithScore(
            node=given[hit["given"]].node if "given" in hit else json_to_doc(hit["node"]),
            score=hit["score"],
        )
        for hit in told
    ]


def fresh(hits: Sequence[Any], corpus: Iterable[Any]) -> list[Any] | None:
    """Return nodes with the ids that they have in an index which was built anew.

    Returns:
        None where one is in the index more than once, or not at all.
    """
    if not any(is_random(hit.node.node_id) for hit in hits):
        return list(hits)
    now: dict[str, list[Any]] = {}
    ids = set()
    for node in corpus:
        ids.add(node.node_id)
        now.setdefault(content_of(node), []).append(node)
    found = []
    for hit in hits:
        same = now.get(content_of(hit.node), [])
        if not is_random(hit.node.node_id) or hit.node.node_id in ids:
            found.append(hit)
        elif len(same) == 1:
            node = same[0].model_copy(deep=True)
            node.embedding = hit.node.embedding
            found.append(NodeWithScore(node=node, score=hit.score))
        elif same or ids:
            return None
        else:
            found.append(hit)
    return found
