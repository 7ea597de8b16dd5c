"""Which language a text is in, and its index terms: words without stop words, stemmed."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_rag.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LANGUAGES", "count_words", "detect", "stem_words", "terms"]

LANGUAGES = {
    "da": "danish",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}
"""ISO 639-1 code → name of the Snowball stemmer and of bm25s' list of stop words."""

# The commonest words of each language that no other listed language shares often.
_COMMON = {
    "da": "og af ikke på til der det som med være hvordan hvilken",
    "de": "der die das und ist nicht ein eine wie wer wann welche wird für mit von zu im auf was",
    "en": "the of and is are what how which who when where does do with for to was in can my",
    "es": "el los las y es no una cuál qué cómo cuándo quién dónde con por para del se su",
    "fr": "le les et est une des du que quel quelle comment quand qui où pour avec dans sur pas",
    "it": "il gli di che è una come quando quale chi dove per con del della nel sono non si",
    "nl": "het een en van is niet wat hoe wie wanneer welke waar voor met op zijn wordt dat",
    "no": "og av ikke på til det som med er hva hvordan hvilken når hvem",
    "pt": "o os as e é não uma um qual que como quando quem onde com por para do da dos das em ao",
    "ru": "и в не на что как кто где когда какой для по из это",
    "sv": "och av inte på till det som med är vad hur vilken när vem",
    "tr": "ve bir bu ne kim nerede hangi için ile değil",
}
_COMMON_SETS = {code: frozenset(words.split()) for code, words in _COMMON.items()}
_WORD = re.compile(r"\w\w+|\d")
_COUNTED = re.compile(r"\w+")


def count_words(text: str) -> list[str]:
    """Return the runs of letters and digits of a text: the unit chunks are measured in."""
    return _COUNTED.findall(text)


def detect(text: str, among: Iterable[str], default: str = "en") -> str:
    """Return the code of the language whose commonest words the text has most of.

    Args:
        text: A question or a passage; its first 2,000 characters are looked at.
        among: The codes to choose from.
        default: What to return unless another language has at least half as many such words
            more.
    """
    words = Counter(_COUNTED.findall(text[:2000].lower()))
    hits = {c: sum(words[w] for w in _COMMON_SETS[c]) for c in sorted(among) if c in _COMMON_SETS}
    best = max(hits, key=lambda code: hits[code], default=default)
    return best if hits.get(best, 0) > 1.5 * hits.get(default, 0) else default


def terms(text: str, language: str) -> list[str]:
    """Return the index terms of a text in order: lower case, no stop words, stemmed, no accents."""
    words = [word for word in _WORD.findall(text.lower()) if word not in _stopwords(language)]
    return stem_words(words, language)


def stem_words(words: Sequence[str], language: str) -> list[str]:
    """Return the Snowball stem of each word, without accents."""
    # A stemmer is not thread-safe and cheap to make: one a call.
    stemmer = require("Stemmer", "demo").Stemmer(LANGUAGES[language])
    return [_fold(stem) for stem in stemmer.stemWords(list(words))]


@functools.lru_cache(maxsize=65536)
def _fold(word: str) -> str:
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


@functools.cache
def _stopwords(language: str) -> frozenset[str]:
    lists: Any = require("bm25s.stopwords", "demo")
    # bm25s' short English list keeps "how", "what", "does": on questions that costs BM25 0.01 to
    # 0.08 nDCG@10. Its other lists are long ones.
    name = "EN_PLUS" if language == "en" else LANGUAGES[language].upper()
    return frozenset(getattr(lists, f"STOPWORDS_{name}"))
