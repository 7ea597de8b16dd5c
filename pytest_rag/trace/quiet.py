"""A span handler of LlamaIndex's that notes nothing, for those that note a part."""

from __future__ import annotations

from typing import Any

from llama_index_instrumentation.span.base import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler

__all__ = ["QuietSpanHandler"]


class QuietSpanHandler(BaseSpanHandler[BaseSpan]):
    """Neither opens span objects nor keeps any."""

    def span_enter(self, *args: Any, **kwargs: Any) -> None:
        """Note nothing."""

    def span_exit(self, *args: Any, **kwargs: Any) -> None:
        """Note nothing."""

    def span_drop(self, *args: Any, **kwargs: Any) -> None:
        """Note nothing."""

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Open no span object."""

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""

    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep nothing."""
