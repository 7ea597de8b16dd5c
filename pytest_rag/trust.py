"""What is known of judges, as those see it who ask whether a score may decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pytest_rag.types import Score

__all__ = ["Trust"]


class Trust(Protocol):
    """Says which scores may decide, and what people would say of the others."""

    def advice(self, metric: str, score: Score) -> str | None:
        """Return why a score of a metric decides nothing; None where it may."""
        ...

    def labelled(self, metric: str, version: str) -> Any:
        """Return what corrects a mean of these scores by human labels, or None."""
        ...
