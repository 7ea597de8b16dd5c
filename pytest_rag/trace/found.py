"""What a run retrieved, put together from its retrievers and postprocessors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from pytest_rag.types import Stage

__all__ = ["Found", "FoundStep"]


class FoundStep(NamedTuple):
    """What a retriever or postprocessor of a class was given, and what it returned."""

    stage: Stage
    part: str
    given: Sequence[Any]
    nodes: Sequence[Any]


class Found:
    """The nodes that are left once every retriever and postprocessor has had its say.

    A retriever adds its nodes, in the order retrievers were asked; a postprocessor's result takes
    the place of the nodes it was given.

    Attributes:
        steps: What each of them did, in the order they ended.
    """

    def __init__(self) -> None:
        self.steps: list[FoundStep] = []
        self._lists: list[tuple[float, list[Any]]] = []
        self._ids: set[str] = set()

    def add(self, asked: float, nodes: list[Any], part: str = "") -> None:
        """Take in what a retriever that was asked at a time returned."""
        self.steps.append(FoundStep("retrieve", part, (), nodes))
        self._lists.append((asked, nodes))
        self._ids.update(map(_id, nodes))

    def replace(self, asked: float, given: Sequence[Any], nodes: list[Any], part: str = "") -> None:
        """Take in what a postprocessor made of the nodes it was given."""
        self.steps.append(FoundStep("rerank", part, given, nodes))
        gone = set(map(_id, given))
        kept = []
        for time, some in self._lists:
            left = [node for node in some if _id(node) not in gone]
            if len(left) < len(some):
                asked = min(asked, time)
            if left:
                kept.append((time, left))
        self._lists = [*kept, (asked, nodes)]
        self._ids.update(map(_id, nodes))

    @property
    def ids(self) -> Set[str]:
        """Ids of all nodes seen."""
        return self._ids

    @property
    def nodes(self) -> list[Any] | None:
        """LlamaIndex ``NodeWithScore`` objects, each node once; None where no retriever ran.

        Where several lists are left, the nodes are bare: their scores do not compare.
        """
        if not self._lists:
            return None
        lists = [some for _, some in sorted(self._lists, key=lambda each: each[0]) if some]
        if len(lists) < 2:
            return lists[0] if lists else []
        joined: dict[str, Any] = {}
        for node in (node for some in lists for node in some):
            joined.setdefault(_id(node), getattr(node, "node", node))
        return list(joined.values())


def _id(node: Any) -> str:
    return str(getattr(node, "node", node).node_id)
