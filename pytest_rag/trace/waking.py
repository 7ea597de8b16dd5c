"""Hangs the handlers on LlamaIndex's dispatcher once it opens its first span, and not before.

They need LlamaIndex, which takes seconds to import, and many a pipeline does without.
"""

from __future__ import annotations

from typing import Any

from pytest_rag.trace.quiet import QuietSpanHandler

__all__ = ["Waking"]


class Waking(QuietSpanHandler):
    """Installs the handlers as soon as a span opens.

    The dispatcher goes through its list of handlers as it is, so those see that span as well.
    """

    def span_enter(self, *args: Any, **kwargs: Any) -> None:
        """Install the handlers; to do it again changes nothing."""
        from pytest_rag.trace import install

        install()
