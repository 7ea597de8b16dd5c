"""How much of what was retrieved an answer can have drawn on, in tokens."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

from pytest_rag.metrics.text import content_words
from pytest_rag.sentences import split_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["about_tokens", "used_tokens"]

_BYTES = 4
_LONGEST = 400_000  # characters of one text that are searched
_KEPT = 20_000  # characters of one whose words are remembered


def about_tokens(text: str) -> int:
    """Return about how many tokens a text has: one for every four bytes of UTF-8."""
    return ceil(len(text.encode("utf-8", "replace")) / _BYTES)


def used_tokens(answer: str, texts: Sequence[str]) -> list[int]:
    """Return, for each text, about how many tokens of it the answer can have drawn on.

    Those are the tokens of a small set of sentences that holds every content word of the answer
    that the texts hold at all. It is found greedily: the sentence with most words that no other
    has given yet comes next, the earlier of two that are equal. A heading counts for the
    sentences below it.
    """
    left = set(content_words(answer))
    found = [0] * len(texts)
    sentences = [
        (place, tokens, shared)
        for place, text in enumerate(texts)
        for tokens, words in (_sentences if len(text) <= _KEPT else _read)(text[:_LONGEST])
        if (shared := left & words)
    ]
    while sentences:
        place, tokens, words = max(sentences, key=lambda each: len(each[2] & left))
        if not words & left:
            break
        left -= words
        found[place] += tokens
    return [min(each, about_tokens(text)) for each, text in zip(found, texts, strict=True)]


def _read(text: str) -> tuple[tuple[int, frozenset[str]], ...]:
    """Return the tokens and the words of each sentence."""
    return tuple(
        (about_tokens(each.text), frozenset(content_words(f"{each.context} {each.text}")))
        for each in split_sentences(text)
    )


_sentences = lru_cache(maxsize=256)(_read)  # the same texts are retrieved again and again
