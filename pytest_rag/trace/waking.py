"""Hangs the handlers on LlamaIndex's dispatcher once it opens its first span, and not before.

They need LlamaIndex, which takes seconds to import, and many a pipeline does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index_instrumentation.span.base import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler

if TYPE_CHECKING:
    import inspect

__all__ = ["Waking"]


class Waking(BaseSpanHandler[BaseSpan]):
    """Installs the handlers as soon as a span opens.

    The dispatcher goes through its list of handlers as it is, so those see that span as well.
    """

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Install the handlers; to do it again changes nothing."""
        from pytest_rag.trace import install

        install()

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
