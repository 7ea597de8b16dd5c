"""pytest-rag: test RAG pipelines like code."""

from __future__ import annotations

__version__ = "0.1.0"
