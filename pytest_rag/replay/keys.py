"""Placeholders for keys that are not set, so that models can be made that nobody will ask."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PLACEHOLDER", "fill_in", "filled_in", "take_out"]

PLACEHOLDER = "placeholder-of-replay-mode"

_NAMES = (
    "AI21_API_KEY",
    "ANTHROPIC_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "CEREBRAS_API_KEY",
    "COHERE_API_KEY",
    "CO_API_KEY",
    "DASHSCOPE_API_KEY",
    "DEEPSEEK_API_KEY",
    "FIREWORKS_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GROQ_API_KEY",
    "HF_TOKEN",
    "JINAAI_API_KEY",
    "JINA_API_KEY",
    "MISTRAL_API_KEY",
    "NVIDIA_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "PERPLEXITY_API_KEY",
    "REPLICATE_API_TOKEN",
    "TOGETHER_API_KEY",
    "VOYAGE_API_KEY",
    "XAI_API_KEY",
)


def fill_in() -> list[str]:
    """Set every known provider's key that is not set, in this process; return their names."""
    missing = [name for name in _NAMES if not os.environ.get(name)]
    os.environ.update(dict.fromkeys(missing, PLACEHOLDER))
    return missing


@contextmanager
def filled_in() -> Iterator[None]:
    """Set the keys that are not set while something is built inside."""
    names = fill_in()
    try:
        yield
    finally:
        take_out(names)


def take_out(names: list[str]) -> None:
    """Unset the keys that `fill_in` set."""
    for name in names:
        if os.environ.get(name) == PLACEHOLDER:
            del os.environ[name]
