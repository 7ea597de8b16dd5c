"""Tokens counted here where the provider's count does not reach us: by the model's own tokenizer.

Only OpenAI's encodings can be had offline, since LlamaIndex carries them. The tokens of any other
model stay unknown.
"""

from __future__ import annotations

import functools
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["of_answer", "of_prompt", "of_texts"]

_OURS = frozenset({"cl100k_base", "o200k_base", "o200k_harmony"})
_OWNERS = ("openai/", "azure/")
# What frames each message and opens the answer, by OpenAI's cookbook "How to count tokens".
_A_MESSAGE = 3
_THE_ANSWER = 3


def of_texts(model: str, texts: Iterable[str]) -> int | None:
    """Count the tokens of embedded texts as OpenAI does; None for a model of anyone else."""
    if not model.startswith("text-embedding-"):
        return None
    count = _encode("cl100k_base")
    return sum(len(count(text)) for text in texts)


def of_prompt(model: str, asked: Any) -> int | None:
    """Count the tokens of a prompt; None for a model whose tokenizer is not at hand.

    Args:
        model: As the component or the provider names it.
        asked: A text, or LlamaIndex's chat messages.
    """
    encode = _encoder(model)
    if encode is None or asked is None:
        return None
    if isinstance(asked, str):
        return len(encode(asked))
    each = (f"{_role(message)}{message.content or ''}" for message in asked)
    return sum(len(encode(text)) + _A_MESSAGE for text in each) + _THE_ANSWER


def of_answer(model: str, response: Any) -> int | None:
    """Count the tokens of a LlamaIndex response; None where there is none, or no tokenizer."""
    encode = _encoder(model)
    if encode is None or response is None:
        return None
    message = getattr(response, "message", None)
    if message is None:
        return len(encode(str(getattr(response, "text", ""))))
    called = getattr(message, "additional_kwargs", {}).get("tool_calls") or ()
    return len(encode(message.content or "")) + sum(len(encode(str(call))) for call in called)


def _role(message: Any) -> str:
    return str(getattr(message.role, "value", message.role))


def _encoder(model: str) -> Callable[[str], list[int]] | None:
    name = _encoding_of(model)
    return None if name is None else _encode(name)


@functools.lru_cache(maxsize=256)
def _encoding_of(model: str) -> str | None:
    from tiktoken.model import encoding_name_for_model

    for owner in _OWNERS:
        model = model.removeprefix(owner)
    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return None
    return name if name in _OURS else None


@functools.cache
def _encode(encoding: str) -> Callable[[str], list[int]]:
    """Return an encoding, from the copy that LlamaIndex carries."""
    import llama_index.core
    import tiktoken

    carried = Path(llama_index.core.__path__[0], "_static", "tiktoken_cache")
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = before or str(carried)
    try:
        return partial(tiktoken.get_encoding(encoding).encode, disallowed_special=())
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
