"""Numbers in running text: digits, words and scales, with units, in English, Portuguese, German.

``1.234`` is 1234 in German and 1.234 in English, and a text does not always tell. Such a number
keeps both readings, and a comparison succeeds if either matches: a test that goes red because of
a separator would be wrong more often than one that passes by a factor of a thousand.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_rag.metrics.text import Language

__all__ = ["Quantity", "canonical_unit", "is_unit", "quantities"]

_SMALL = (
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen""",
    """zero um dois três quatro cinco seis sete oito nove dez onze doze treze catorze quinze
    dezesseis dezessete dezoito dezenove""",
    """null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn
    fünfzehn sechzehn siebzehn achtzehn neunzehn""",
)
_TENS = (
    "twenty thirty forty fifty sixty seventy eighty ninety",
    "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
)
_HUNDREDS = "duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos"
_VARIANTS = {
    "uma": 1, "ein": 1, "eine": 1, "einen": 1, "einem": 1, "einer": 1, "a": 1, "an": 1,
    "duas": 2, "zwo": 2, "quatorze": 14, "dezasseis": 16, "dezassete": 17, "dezanove": 19,
    "dreissig": 30, "cem": 100, "cento": 100,
}  # fmt: skip
# Articles: numbers only where a unit or a scale follows ("one day", "eine Million").
_ARTICLES = frozenset({"a", "an", "one", "um", "uma", "ein", "eine", "einen", "einem", "einer"})
_SCALES: dict[str, float] = {
    "hundred": 100, "hundert": 100,
    "thousand": 1e3, "mil": 1e3, "tausend": 1e3, "tsd": 1e3, "k": 1e3,
    "million": 1e6, "millions": 1e6, "milhão": 1e6, "milhões": 1e6, "millionen": 1e6, "mio": 1e6,
    "mn": 1e6, "M": 1e6, "dozen": 12, "dutzend": 12, "dúzia": 12, "dúzias": 12,
    "lakh": 1e5, "lakhs": 1e5, "crore": 1e7, "crores": 1e7,
    "billion": 1e9, "billions": 1e9, "bilhão": 1e9, "bilhões": 1e9, "bn": 1e9, "B": 1e9,
    "bilião": 1e12, "biliões": 1e12, "tn": 1e12,
    "milliarde": 1e9, "milliarden": 1e9, "mrd": 1e9,
    "trillion": 1e12, "trilhão": 1e12, "trilhões": 1e12, "billionen": 1e12,
}  # fmt: skip
_UNITS = {
    "%": "% percent prozent",
    "EUR": "€ eur euro euros",
    "USD": "$ usd us$ dollar dollars dólar dólares",
    "GBP": "£ gbp pound pounds libra libras pfund",
    "BRL": "r$ brl real reais",
    "CHF": "chf franken francs",
    "second": "s sec secs second seconds segundo segundos sekunde sekunden",
    "ms": "ms millisecond milliseconds milissegundos millisekunden",
    "minute": "min mins minute minutes minuto minutos minuten",
    "hour": "h hr hrs hour hours hora horas stunde stunden std",
    "day": "d day days dia dias tag tage tagen",
    "week": "week weeks semana semanas woche wochen",
    "month": "month months mês meses monat monate monaten",
    "year": "year years yr yrs ano anos jahr jahre jahren",
    "km": "km kilometre kilometres kilometer kilometers quilômetro quilômetros quilómetro"
    " quilómetros kilometern",
    "m": "m metre metres meter meters metro metros metern",
    "cm": "cm centimetre centimetres centimeter centimeters centímetro centímetros zentimeter",
    "mm": "mm millimetre millimetres millimeter millimeters milímetro milímetros",
    "kg": "kg kilo kilos kilogram kilograms kilogramm quilo quilos quilograma quilogramas",
    "g": "g gram grams gramm grama gramas",
    "l": "l litre litres liter liters litro litros litern",
    "kB": "kb kilobyte kilobytes", "MB": "mb megabyte megabytes",
    "GB": "gb gigabyte gigabytes", "TB": "tb terabyte terabytes",
    "person": "person people persons pessoa pessoas personen",
    "employee": "employee employees funcionário funcionários mitarbeiter mitarbeitern",
}  # fmt: skip
_UNIT_OF = {word: unit for unit, names in _UNITS.items() for word in names.split()}
_LOOK_AHEAD = 3

_TOKEN = re.compile(
    r"(?P<sign>(?<![\w.,)\u2013-])[-\u2212+](?=[\d€$£]))?"
    r"(?P<currency>(?:US|R)?\$|[€£])?\s?"
    r"(?<!\w)(?<!\w[.,])(?P<digits>\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)(?:[.,]\d+)?"
    r"|\d+(?:[.,'\u2019]\d+)*)"
    r"|(?P<word>[^\W\d_]+|[%€£]|(?:US|R)?\$)"
    r"|(?P<stop>[.;:!?,()\n])"
)
_GROUPED = re.compile(r"\d{1,3}(?:\D\d{3})+")
_CONNECTORS = frozenset({"and", "e", "und"})
_ALONE = frozenset({"mil", "tausend", "hundert", "thousand", "hundred"})


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number found in a text.

    Attributes:
        readings: Its value, or both values where the separator is ambiguous.
        unit: The canonical unit that stands at the number, or None.
        near: The following words of the same clause, each in its canonical unit where it is one.
    """

    readings: tuple[float, ...]
    unit: str | None = None
    near: tuple[str, ...] = ()

    def equals(self, value: float, *, rel: float = 1e-9, abs_: float = 0.0) -> bool:
        """Tell whether a reading is within the larger of both tolerances of ``value``."""
        return any(math.isclose(value, r, rel_tol=rel, abs_tol=abs_) for r in self.readings)

    def measured_in(self, unit: str) -> bool:
        """Tell whether the number is one of this unit, in any of the languages."""
        wanted = canonical_unit(unit)
        return wanted == self.unit or wanted in self.near

    def agrees(self, other: Quantity) -> bool:
        """Tell whether both can be the same quantity: a shared reading and no contrary unit."""
        same_unit = self.unit is None or other.unit is None or self.unit == other.unit
        return same_unit and any(self.equals(reading) for reading in other.readings)


def canonical_unit(word: str) -> str:
    """Return one name for a unit in all languages (``Tage`` → ``day``), else the folded word."""
    folded = word.strip().casefold()
    return _UNIT_OF.get(folded, folded)


def is_unit(word: str) -> bool:
    """Tell whether a word is the name of a unit in one of the languages."""
    return word.casefold() in _UNIT_OF


def quantities(text: str, language: Language = "en", *, articles: bool = True) -> list[Quantity]:
    """Return every number of a text, in order.

    Args:
        text: Running text; dates and versions such as ``12.05.2024`` give one number a part.
        language: Decides a few words only: ``elf`` and ``Billion`` differ in German.
        articles: Whether ``one``, ``um`` or ``ein`` at a unit is the number 1 (``one day``).
    """
    found = [_Token.of(match) for match in _TOKEN.finditer(_prepared(text))]
    table = _number_words(language)
    result: list[Quantity] = []
    at = 0
    while at < len(found):
        readings, after = _number_at(found, at, table)
        if readings and (articles or not _is_article(found[at:after])):
            near = _near(found, after)
            unit = found[at].currency or (near[0] if near and near[0] in _UNITS else None)
            result += [Quantity(r, unit, near) for r in readings]
        at = after
    return result


def _near(found: list[_Token], after: int) -> tuple[str, ...]:
    following = found[after : after + _LOOK_AHEAD]
    words = itertools.takewhile(lambda token: token.kind == "word", following)
    return tuple(canonical_unit(token.text) for token in words)


# --- digits -----------------------------------------------------------------------------------


def _prepared(text: str) -> str:
    text = re.sub(r"(?i)\bper cent\b|\bpor cento\b", "%", text)
    text = re.sub(r"(?i)\b(mio|mrd|tsd|std)\.", r"\1", text)
    return re.sub(r"(?<=\d)(?:st|nd|rd|th|[ºª])\b", "", text)


def _digit_readings(digits: str) -> list[tuple[float, ...]]:
    """Return the readings of one run of digits and separators, several for a date or version."""
    separators = re.findall(r"\D", digits)
    if not separators:
        return [(float(digits),)]
    last = separators[-1]
    whole, _, fraction = digits.rpartition(last)
    grouped = _GROUPED.fullmatch(digits) is not None and len(set(separators)) == 1
    if grouped and len(separators) == 1 and last in ".," and not digits.startswith("0"):
        return [(float(whole + fraction), float(f"{whole}.{fraction}"))]
    if grouped and not digits.startswith("0"):
        return [(float(re.sub(r"\D", "", digits)),)]
    if len(separators) == 1 and last in ".,":
        return [(float(f"{whole}.{fraction}"),)]
    if last in ".," and last not in separators[:-1] and _GROUPED.fullmatch(whole):
        return [(float(re.sub(r"\D", "", whole) + "." + fraction),)]
    return [(float(part),) for part in re.split(r"\D", digits)]


# --- words ------------------------------------------------------------------------------------


@functools.cache
def _number_words(language: Language) -> dict[str, float]:
    """Return the value of every simple number word; built from the lists above."""
    table: dict[str, float] = dict(_VARIANTS)
    for row in _SMALL:
        table |= {word: value for value, word in enumerate(row.split())}
    for row in _TENS:
        table |= {word: 10 * value for value, word in enumerate(row.split(), 2)}
    table |= {word: 100 * value for value, word in enumerate(_HUNDREDS.split(), 2)}
    units = {**dict(zip(_SMALL[2].split()[1:10], range(1, 10), strict=True)), "ein": 1}
    tens = {**dict(zip(_TENS[2].split(), range(20, 100, 10), strict=True)), "dreissig": 30}
    table |= {f"{u}und{t}": units[u] + tens[t] for u in units for t in tens}
    table |= {f"{u}hundert": 100 * units[u] for u in units}
    table |= {f"{u}tausend": 1000 * units[u] for u in units}
    if language != "de":
        del table["elf"]
    return table


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    sign: float
    currency: str | None

    @classmethod
    def of(cls, match: re.Match[str]) -> _Token:
        kind = match.lastgroup or "stop"
        sign = -1.0 if match["sign"] in ("-", "\u2212") else 1.0
        currency = canonical_unit(match["currency"]) if match["currency"] else None
        return cls(kind, match[kind], sign, currency)

    @property
    def word(self) -> str:
        return self.text.casefold() if self.kind == "word" else ""

    @property
    def scale(self) -> float | None:
        """The factor of a scale word; ``M`` is a million, ``m`` a metre; ``B`` a billion."""
        return _SCALES.get(self.text if self.text in ("M", "B") else self.word)


def _is_article(tokens: list[_Token]) -> bool:
    return len(tokens) == 1 and tokens[0].word in _ARTICLES


def _number_at(
    found: list[_Token], at: int, table: dict[str, float]
) -> tuple[list[tuple[float, ...]], int]:
    """Return the numbers that begin at a token and the position behind them."""
    token = found[at]
    if token.kind == "digits":
        readings = _digit_readings(token.text)
        factor, after = _factor(found, at + 1)
        factor *= token.sign
        return [tuple(factor * value for value in values) for values in readings], after
    value, after = _words_at(found, at, table)
    if value is None or (_is_article(found[at:after]) and not _unit_follows(found, at)):
        return [], at + 1
    return [(value,)], after


def _factor(found: list[_Token], at: int) -> tuple[float, int]:
    factor = 1.0
    while at < len(found) and (scale := found[at].scale):
        factor, at = factor * scale, at + 1
    return factor, at


def _unit_follows(found: list[_Token], at: int) -> bool:
    if found[at].word in ("a", "an"):
        return False
    following = [token.word for token in found[at + 1 : at + 2]]
    return len(found) == 1 or any(word in _UNIT_OF for word in following)


def _words_at(found: list[_Token], at: int, table: dict[str, float]) -> tuple[float | None, int]:
    """Read ``two thousand five hundred and twenty-one``; None where no number begins here."""
    total, current, end = 0.0, None, at
    for position in range(at, len(found)):
        token = found[position]
        value = table.get(token.word)
        if value is not None and _continues(current, value):
            current = (current or 0.0) + value
        elif token.scale and (end > at or token.word in _ALONE):
            grown = (1.0 if current is None else current) * token.scale
            total, current = (total, grown) if token.scale == 100 else (total + grown, None)
        elif end > at and token.word in _CONNECTORS:
            continue
        else:
            break
        end = position + 1
    return (total + (current or 0.0) if end > at else None), end


def _continues(current: float | None, value: float) -> bool:
    """Tell whether a number word goes on with the number before it: twenty + five."""
    if current is None:
        return True
    return value < (100 if current % 100 == 0 else 10 if current % 10 == 0 else 0) <= current
