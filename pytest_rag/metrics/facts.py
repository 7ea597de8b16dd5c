"""Metrics of what an answer states: dates, the items of a list, and the words that matter.

They agree better with people than a comparison of the whole text, which an answer in a full
sentence never equals.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from pytest_rag.metrics import text
from pytest_rag.metrics.answer import AnswerMetric, Asked
from pytest_rag.metrics.dates import Date, dates
from pytest_rag.metrics.quantities import quantities

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.metrics.answer import Found

__all__ = ["FACT_METRICS"]

# --- dates ------------------------------------------------------------------------------------


def _date_match(asked: Asked) -> Found:
    """The date of the argument, or every date of a reference answer, is in the answer."""
    said = dates(asked.answer)
    if asked.argument is not None:
        wanted = [dates(str(asked.argument))]
    else:
        wanted = [found for r in asked.case.answers if (found := dates(r))]
        if not wanted:
            return None, "no reference answer holds a date"
    if any(all(_says(said, readings) for readings in each) for each in wanted):
        return 1.0, None
    lacking = next(readings[0] for readings in wanted[0] if not _says(said, readings))
    return 0.0, f"the answer does not say {lacking}"


def _says(said: Iterable[tuple[Date, ...]], wanted: Sequence[Date]) -> bool:
    return any(want.covers(there) for each in said for there in each for want in wanted)


def _wrong_date(argument: Any) -> str | None:
    written = argument.isoformat() if isinstance(argument, date) else str(argument)
    if isinstance(argument, bool | list | tuple | Mapping) or not dates(written):
        return f"{argument!r} is no date; write it as 2025-05-31, 2025-05 or 31 May 2025"
    return None


# --- lists ------------------------------------------------------------------------------------

_ITEM = re.compile(r"^\s*(?:[-*+•‣\u2013]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+", re.MULTILINE)
_LEAD_IN = re.compile(r"^[^:\n]{1,200}:(?=\s)")
_COMMAS = re.compile(
    r"\s*(?:[;\n]|,(?!\d)(?:\s*(?:and|or|und|oder|e|ou)\b)?|\b(?:and|or|und|oder|e|ou)\b)\s*",
    re.IGNORECASE,
)


def _list_f1(asked: Asked) -> Found:
    """F1 of the items of the answer and those wanted, the best over the reference answers.

    F1 of sets (van Rijsbergen 1979), as QAMPARI (Amouyal et al. 2022) scores questions with many
    answers. An item of the answer is right where it equals a wanted one after SQuAD's
    normalisation, or holds it as whole words.
    """
    said = _items(asked.answer, asked.language)
    if asked.argument is not None:
        wanted = [[str(item) for item in asked.argument]]
    else:
        wanted = [_split(reference) for reference in asked.case.answers]
        if not any(wanted):
            return None, "no reference answer holds an item"
    return max(
        (_f1_of_items(said, each, asked) for each in wanted), key=lambda found: found[0] or 0.0
    )


def _f1_of_items(said: list[list[str]], wanted: Iterable[str], asked: Asked) -> Found:
    sought = {item: text.phrase(item, asked.language) or text.words(item) for item in wanted}
    right = [item for item in said if any(_is(item, words) for words in sought.values())]
    missed = [name for name, words in sought.items() if not any(_is(i, words) for i in said)]
    hits = len(sought) - len(missed)
    value = 2 * hits / (hits + len(missed) + hits + len(said) - len(right)) if hits else 0.0
    return value, f"missing: {', '.join(map(repr, missed))}" if missed else None


def _is(item: list[str], wanted: list[str]) -> bool:
    return text.contains_phrase(item, wanted)


def _items(answer: str, language: text.Language) -> list[list[str]]:
    return [words for item in _split(answer) if (words := text.phrase(item, language))]


def _split(written: str) -> list[str]:
    """Return the marked items of a list, or what commas, semicolons and "and" separate."""
    if len(_ITEM.findall(written)) > 1:
        return [item for line in _ITEM.split(written)[1:] if (item := line.strip(" \n.;,"))]
    bare = _LEAD_IN.sub("", written.strip())
    return [item for part in _COMMAS.split(bare) if part and (item := part.strip(" \n.;,:"))]


def _wrong_items(argument: Any) -> str | None:
    if not isinstance(argument, list | tuple) or not argument:
        return f"{argument!r} is no list of items; write [first, second]"
    for item in argument:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            return f"{item!r} is not text; put it in quotes"
        if not text.words(str(item)):
            return f"{item!r} holds no word"
    return None


# --- the words that matter --------------------------------------------------------------------

_LONG = 8


def _answer_overlap(asked: Asked) -> Found:
    """Max over references r of |A ∩ R| / min(|A|, |R|), or 0 where their numbers contradict.

    The overlap coefficient (Szymkiewicz 1934, Simpson 1960) of the bags of content words of
    answer and reference, without those of the query, each word weighing min(8, its letters).
    Numbers contradict where both name some and neither all of the other's.
    """
    query = set(_content(asked.case.query))
    said = _bag(asked.answer, query)
    if not said:
        return 0.0, "the answer holds no words"
    asked_numbers = _numbers(asked.case.query, asked.language)
    numbers = _numbers(asked.answer, asked.language) - asked_numbers
    best, contrary = 0.0, False
    for reference in asked.case.answers:
        right = _numbers(reference, asked.language) - asked_numbers
        if numbers and right and not (right <= numbers or numbers <= right):
            contrary = True
            continue
        best = max(best, _overlap(said, _bag(reference, query)))
    return best, "its numbers are not the reference answer's" if contrary and not best else None


def _bag(written: str, query: set[str]) -> Counter[str]:
    words = _content(written)
    return Counter([word for word in words if word not in query] or words)


def _content(written: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", written.replace("-", " "))
    return text.content_words("".join(c for c in plain if not unicodedata.combining(c)))


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    smaller = min(_weight(one), _weight(other))
    return _weight(one & other) / smaller if smaller else 0.0


def _weight(bag: Counter[str]) -> int:
    return sum(count * min(len(word), _LONG) for word, count in bag.items())


def _numbers(written: str, language: text.Language) -> set[float]:
    found = quantities(written, language, articles=False)
    return {reading for number in found for reading in number.readings}


_ANSWERS = frozenset({"answers"})


FACT_METRICS = (
    AnswerMetric(name="date_match", compute=_date_match, check=_wrong_date, or_answers=True),
    AnswerMetric(name="list_f1", compute=_list_f1, check=_wrong_items, or_answers=True),
    AnswerMetric(name="answer_overlap", compute=_answer_overlap, needs=_ANSWERS),
)
