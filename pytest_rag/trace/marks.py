"""Who answered a call: its provider, or a record of an earlier answer."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_rag.types import Origin

__all__ = ["MARK", "STARTED", "Mark"]


@dataclass(slots=True, eq=False)
class Mark:
    """What is known of a call by whoever stands between a pipeline and its models.

    Attributes:
        origin: ``live`` where the provider was asked, at least for a part of it.
        latency_ms: What the call takes when it is live, once it is known; None leaves the trace
            its own measurement.
        recorded: Whether all or part of the answer came out of a record, so that the time
            measured is not the call's.
        started: When the attempt began that answered, on the performance counter; None where
            nothing had to be waited for.
    """

    origin: Origin = "live"
    latency_ms: float | None = None
    recorded: bool = False
    started: float | None = None

    def add(self, other: Mark) -> None:
        """Take in another part of the same call, such as a further batch of texts."""
        self.latency_ms = (self.latency_ms or 0.0) + (other.latency_ms or 0.0)
        self.recorded = self.recorded or other.recorded
        if other.origin == "live":
            self.origin = "live"


MARK: ContextVar[Mark | None] = ContextVar("pytest_rag_mark", default=None)
"""The mark of the call of a language model that is being made in this context."""

STARTED: ContextVar[list[str] | None] = ContextVar("pytest_rag_started", default=None)
"""Takes the names of models whose calls start in this context, where somebody wants them."""
