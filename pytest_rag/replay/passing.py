"""Who answers a call where nothing is kept: the model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_rag.replay.answers import Answer
    from pytest_rag.replay.requests import Request
    from pytest_rag.replay.scope import Take
    from pytest_rag.types import Origin

__all__ = ["Passing"]


class Passing:
    """Lets every call through and keeps nothing."""

    origin: Origin = "live"
    strict = False
    passes = True

    def find(self, request: Request, take: Take, nth: int) -> Answer | None:
        """Know nothing."""

    def keep(self, request: Request, take: Take, nth: int, answer: Answer) -> None:
        """Keep nothing."""

    def ended(self, take: Take, *, whole: bool) -> None:
        """Keep nothing."""
