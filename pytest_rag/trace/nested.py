"""The trace of a part of a run, which may go on after the call that began it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_rag.trace.hub import HUB
from pytest_rag.trace.model import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from pytest_rag.trace.intervals import Interval
    from pytest_rag.trace.marks import Mark
    from pytest_rag.trace.parts import Part
    from pytest_rag.types import Stage

__all__ = ["NestedTrace"]


class NestedTrace(Trace):
    """Sees what is opened `inside` it until it is closed, and hands all of it on.

    Spans of threads without context are none of its own: it cannot know whose they are.
    """

    def __init__(self, around: Trace | None) -> None:
        super().__init__()
        self._around = around
        self._others = 0 if around is None else around.roots
        HUB.open(self, adopts=False)

    @property
    def is_seen_by_others(self) -> bool:
        """Whether a trace around this one sees the same."""
        return self._around is not None

    def inside(self) -> AbstractContextManager[None]:
        """Let spans opened inside belong to this trace, also when they end later."""
        return HUB.inside(self)

    def close(self) -> None:
        """Stop the clock and see nothing more; what is still open goes on around it."""
        self.end()
        HUB.close(self, heir=self._around)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was opened meanwhile that may belong here and was not seen."""
        return self._around is None or self._around.roots - self._others == self.roots

    def spoil(self, error: Exception) -> None:
        """Refuse this trace and the one around it."""
        super().spoil(error)
        if self._around is not None:
            self._around.spoil(error)

    def enter(
        self,
        span_id: str,
        parent_id: str | None,
        stage: Stage | None,
        given: Any = None,
        *,
        remembers: bool = False,
    ) -> None:
        """Note that a span opened."""
        super().enter(span_id, parent_id, stage, given, remembers=remembers)
        if self._around is not None:
            self._around.enter(span_id, parent_id, stage, given, remembers=remembers)

    def mark_call(self, span_id: str, mark: Mark) -> None:
        """Note who answered a call."""
        super().mark_call(span_id, mark)
        if self._around is not None:
            self._around.mark_call(span_id, mark)

    def leave(self, span_id: str, result: Any = None) -> None:
        """Note that a span ended."""
        super().leave(span_id, result)
        if self._around is not None:
            self._around.leave(span_id, result)

    def start_call(self, span_id: str | None, stage: Stage, model: str) -> None:
        """Note that a model was called."""
        super().start_call(span_id, stage, model)
        if self._around is not None:
            self._around.start_call(span_id, stage, model)

    def end_call(self, span_id: str | None, response: Any, texts: Sequence[str] = ()) -> None:
        """Note a model's answer."""
        super().end_call(span_id, response, texts)
        if self._around is not None:
            self._around.end_call(span_id, response, texts)

    def add_call(
        self, span_id: str, model: str, mark: Mark | None, asked: Any, response: Any
    ) -> None:
        """Note a call that told nobody of itself."""
        if self._around is not None:
            self._around.add_call(span_id, model, mark, asked, response)
        super().add_call(span_id, model, mark, asked, response)

    def restore(self, span_id: str, part: Part) -> None:
        """Let a span stand for a part of an earlier run."""
        super().restore(span_id, part)
        if self._around is not None:
            self._around.restore(span_id, part)

    def wait(self, span_id: str | None, interval: Interval) -> None:
        """Note that a call waited."""
        super().wait(span_id, interval)
        if self._around is not None:
            self._around.wait(span_id, interval)

    def note_prompt(self, span_id: str | None, asked: Any) -> None:
        """Note what a model was asked."""
        super().note_prompt(span_id, asked)
        if self._around is not None:
            self._around.note_prompt(span_id, asked)
