"""Text to comparable words: language guess, SQuAD's normalisation in three languages, tokens."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

__all__ = [
    "Language",
    "contains_phrase",
    "contains_text",
    "content_words",
    "folded",
    "guess_language",
    "normalise",
    "phrase",
    "tokens",
    "words",
]

Language = Literal["en", "pt", "de"]

# Words of one language that mean nothing in the other two, so a name such as "Die Hard", "Rio de
# Janeiro" or "Von Neumann" casts no vote. They decide the language and count as no content.
_MARKER_LISTS: dict[Language, str] = {
    "en": (
        "the of and is are what how many much which who whom whose when where why did does has"
        " have with for from that this these those can could should would will been were it its"
        " their they there on at by if or not to be you your i my we our he she his her"
    ),
    "pt": (
        "que não uma umas dos em é são foi foram qual quais quanto quanta quantos quantas onde"
        " quando quem como por para pelo pela pelos pelas ao aos às mais ou seu sua seus suas isso"
        " este esta ele ela eles elas há tem têm ser sobre até pode devo meu minha você nos nas"
        " num numa também"
    ),
    "de": (
        "der das und ist sind wie viel viele welche welcher welches welchen wer wen wem wo wann"
        " warum ein eine einen einem einer eines nicht mit von für auf dem des wird werden wurde"
        " wurden im zu zum zur bei nach hat haben sich auch als aus oder kein keine ich sie er wir"
        " ihr mein muss kann darf über bis gibt welchem hiess wessen weshalb worüber worum wovon"
        " wofür womit unter laut bedeutet wurde hatte"
    ),
}
_MARKERS: dict[Language, frozenset[str]] = {
    language: frozenset(listed.split()) for language, listed in _MARKER_LISTS.items()
}
_LETTERS: dict[Language, str] = {"en": "", "pt": "ãõç", "de": "äöü"}
_ARTICLES: dict[Language, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "pt": re.compile(r"\b(?:os?|as?|uma?s?|uns)\b"),
    "de": re.compile(r"\b(?:der|die|das|den|dem|des|ein(?:e[nmrs]?)?)\b"),
}
# Articles, forms of "be", prepositions and "and": they stand in every text and ground nothing.
# Pronouns and verbs stay: with them the agreement with people's verdicts is higher.
_FUNCTION_WORD_LIST = (
    "a an the is are was were of in to and for on by with as at from"
    " o a os as um uma uns umas é são foi foram de do da dos das em no na nos nas ao e para por com"
    " der die das den dem des ein eine einen einem einer eines ist sind war waren von im zu zum zur"
    " und für auf mit bei aus am"
)
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())
_NOT_WORD = re.compile(r"[^\w\s]|_")
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|[%‰€$£¥§+#&@=<>°]")
_DASHES = str.maketrans("—…", "  ")


def _fold(text: str) -> str:
    """Return the text in one Unicode form without case; ``ß`` becomes ``ss``, umlauts stay."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text.translate(_DASHES)).casefold()
    return unicodedata.normalize("NFKC", folded)


def _without_mark(match: re.Match[str]) -> str:
    """Drop punctuation, symbols and invisible format characters; keep combining marks."""
    character = match.group()
    category = unicodedata.category(character)
    return "" if category[0] in "PS" or category == "Cf" else character


def guess_language(*texts: str) -> Language:
    """Return the language whose marker words are most frequent; English where none leads.

    Deterministic and deliberately simple: it chooses which articles are dropped and nothing else.
    Give it the query as well as the reference answer, which alone is often a mere name.
    """
    found = _NOT_WORD.sub(" ", _fold(" ".join(texts))).split()

    def votes(language: Language) -> int:
        letters = _LETTERS[language]
        return sum(w in _MARKERS[language] or any(c in w for c in letters) for w in found)

    return max(_MARKERS, key=votes)


def normalise(text: str, language: Language = "en") -> str:
    """Return lower-case words without punctuation and articles, one space between them.

    English ASCII text gives what SQuAD v1.1's official ``normalize_answer`` gives (Rajpurkar et
    al. 2016); other text is brought to NFKC and casefolded first, and Portuguese and German drop
    their own articles. A hyphen joins (``e-mail`` = ``email``), an em dash or ellipsis separates.
    """
    bare = _NOT_WORD.sub(_without_mark, _fold(text))
    return " ".join(_ARTICLES[language].sub(" ", bare).split())


def tokens(text: str, language: Language = "en") -> list[str]:
    """Return the words of :func:`normalise`."""
    return normalise(text, language).split()


def words(text: str) -> list[str]:
    """Return casefolded words, numbers and telling signs.

    ``1.5`` stays one word, which is neither ``15`` nor ``1``; ``40%`` and ``C++`` keep their signs.
    """
    return _WORD.findall(_fold(text).replace("\u2019", "'"))


def phrase(text: str, language: Language = "en") -> list[str]:
    """Return :func:`words` without articles, to be looked for in the phrase of another text."""
    return [word for word in words(text) if not _ARTICLES[language].fullmatch(word)]


def folded(text: str) -> str:
    """Return the text in one case and width, without Markdown's emphasis, single-spaced."""
    plain = re.sub(r"\*\*|__|`", "", text)
    return " ".join(unicodedata.normalize("NFKC", plain).casefold().split())


def contains_text(haystack: str, needle: str) -> bool:
    """Tell whether a phrase stands in folded text; a number in it is never part of a longer one."""
    wanted = re.escape(folded(needle))
    before = r"(?<![\d])(?<!\d[.,])" if wanted[:1].isdigit() else ""
    behind = r"(?![\d])(?![.,]\d)" if wanted[-1:].isdigit() else ""
    return bool(wanted) and re.search(f"{before}{wanted}{behind}", haystack) is not None


def contains_phrase(haystack: list[str], needle: list[str]) -> bool:
    """Tell whether the words of ``needle`` stand in ``haystack`` side by side; never if empty."""
    size = len(needle)
    starts = range(len(haystack) - size + 1) if size else ()
    return any(haystack[start : start + size] == needle for start in starts)


def content_words(text: str) -> list[str]:
    """Return the words that carry content, or all words where none does."""
    found = words(text)
    return [word for word in found if word not in _FUNCTION_WORDS] or found
