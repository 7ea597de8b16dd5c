"""What the building of pipelines asked of models, as to embed the documents of an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pytest_rag.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Bills", "Building", "numbered"]

Bills = list[tuple[str, list[dict[str, Any]]]]
"""Evalsets' names, with the calls that building their pipelines took, as a record has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """One building of a pipeline; the ledger knows it as the run of a case without a name.

    Attributes:
        evalset: Whose pipeline.
        repeat: Of several in a run, as where each worker builds its own; from 0.
        calls: Those that are not free, as a result has them.
        case: Always empty.
    """

    evalset: str
    repeat: int = 0
    calls: list[dict[str, Any]]
    case: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as a record has it, secrets redacted."""
        told = {"evalset": self.evalset, "number": self.repeat, "calls": self.calls}
        return dict(redact(told))

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Read what a record has."""
        return cls(evalset=told["evalset"], repeat=told["number"], calls=list(told["calls"]))


def numbered(bills: Iterable[tuple[str, list[dict[str, Any]]]], before: int) -> list[Building]:
    """Return buildings of a run in the order they came.

    Args:
        bills: Evalsets' names, with calls.
        before: How many the run has already.
    """
    return [
        Building(evalset=name, repeat=number, calls=calls)
        for number, (name, calls) in enumerate(bills, before)
    ]
