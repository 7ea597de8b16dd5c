"""How much of what was retrieved an answer can have drawn on, in tokens."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from pytest_rag.metrics.text import content_words
from pytest_rag.sentences import split_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["about_tokens", "used_tokens"]

_BYTES = 4
_LONGEST = 400_000  # characters of one text that are searched


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
        (place, s.text, left.intersection(content_words(f"{s.context} {s.text}")))
        for place, text in enumerate(texts)
        for s in split_sentences(text[:_LONGEST])
    ]
    while left:
        _, best = max(
            ((len(words & left), -n) for n, (_, _, words) in enumerate(sentences)), default=(0, 0)
        )
        place, text, words = sentences[-best] if sentences else (0, "", set())
        if not words & left:
            break
        left -= words
        found[place] += about_tokens(text)
    return [min(each, about_tokens(text)) for each, text in zip(found, texts, strict=True)]
