"""Dates in running text, in English, Portuguese and German, as precise as they are written.

``03/04/2025`` is the third of April in most of the world and the fourth of March in the United
States, and a text does not tell. Such a date keeps both readings, and either may match.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from pytest_rag.metrics.quantities import is_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Date", "dates"]

_MONTHS = (
    "january jan janeiro januar jän jänner janner",
    "february feb fevereiro fev februar feber",
    "march mar março marco märz marz mär",
    "april apr abril abr",
    "may maio mai",
    "june jun junho juni",
    "july jul julho juli",
    "august aug agosto ago",
    "september sept sep setembro set",
    "october oct outubro out oktober okt",
    "november nov novembro",
    "december dec dezembro dez dezember",
)
_MONTH_OF = {name: number for number, row in enumerate(_MONTHS, 1) for name in row.split()}
_DAY = r"(?P<{0}>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|º|ª)?"
_NAME = rf"(?P<{{0}}>{'|'.join(sorted(_MONTH_OF, key=len, reverse=True))})\b\.?"
_YEAR = r"(?P<{0}>(?:1\d|20)\d\d)(?!\d)"
_PATTERN = re.compile(
    r"(?<![\w.,/-])(?:"
    r"(?P<iso_y>\d{4})-(?P<iso_m>\d\d)(?:-(?P<iso_d>\d\d))?(?!-?\d)"
    r"|(?P<a>\d{1,2})(?P<sign>[./-])(?P<b>\d{1,2})(?P=sign)(?P<num_y>\d{4}|\d\d)(?![\d./-]\d|\d)"
    rf"|{_DAY.format('d1')}\.?\s+(?:of\s+|de\s+)?{_NAME.format('m1')}"
    rf"(?:,?\s+(?:of\s+|de\s+)?{_YEAR.format('y1')})?"
    rf"|{_NAME.format('m2')}\s+{_DAY.format('d2')}(?![\d:.,%]\d|\s*[%€$]|\d)"
    rf"(?:,?\s+{_YEAR.format('y2')})?"
    rf"|{_NAME.format('m3')},?\s+(?:of\s+|de\s+)?{_YEAR.format('y3')}"
    rf"|{_YEAR.format('y4')}(?![\w%€$]|[.,/-]\d|\s*[%€$])"
    r")",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class Date:
    """A day, a month, a year, or a day of every year.

    Attributes:
        year: Of four digits, or None.
        month: 1 to 12, or None.
        day: 1 to 31, or None.
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None

    def covers(self, other: Date) -> bool:
        """Tell whether ``other`` says all that this date says: May 2024 covers 12 May 2024."""
        pairs = ((self.year, other.year), (self.month, other.month), (self.day, other.day))
        return all(mine is None or mine == theirs for mine, theirs in pairs)

    def __str__(self) -> str:
        """Write it as ISO 8601 does, ``--`` for what is not said."""
        year = "-" if self.year is None else f"{self.year:04}"
        rest = [f"{part:02}" for part in (self.month, self.day) if part is not None]
        return "-".join([year, *rest])


def dates(text: str) -> list[tuple[Date, ...]]:
    """Return every date of a text in order, each with its readings; impossible ones are left out.

    A year alone is a date of that year, unless a unit follows.
    """
    found = (tuple(_readings(match)) for match in _PATTERN.finditer(text))
    return [readings for readings in found if readings]


def _readings(match: re.Match[str]) -> Iterator[Date]:
    if match["iso_y"]:
        yield from _possible(match["iso_y"], match["iso_m"], match["iso_d"])
    elif match["sign"]:
        yield from _numeric(match)
    else:
        for n in "123":
            if match[f"m{n}"]:
                month = str(_MONTH_OF[match[f"m{n}"].casefold()])
                day = match[f"d{n}"] if n != "3" else None
                yield from _possible(match[f"y{n}"], month, day)
        if match["y4"] and not _counts_something(match):
            yield Date(year=int(match["y4"]))


def _counts_something(match: re.Match[str]) -> bool:
    """Tell a year from an amount: 1500 euros."""
    following = re.match(r"\s+([^\W\d_]+)", match.string[match.end() :])
    return following is not None and is_unit(following[1])


def _numeric(match: re.Match[str]) -> Iterator[Date]:
    """Yield day and month, and month and day where a dot does not say which it is."""
    first, second, year = match["a"], match["b"], match["num_y"]
    years = [year] if len(year) == 4 else [f"20{year}", f"19{year}"]
    orders = [(first, second)] if match["sign"] == "." else [(first, second), (second, first)]
    for (day, month), four in product(orders, years):
        yield from _possible(four, month, day)


def _possible(year: str | None, month: str, day: str | None) -> Iterator[Date]:
    found = Date(year and int(year), int(month), day and int(day))  # type: ignore[arg-type]
    leap = found.year or 2024
    if not 1 <= int(month) <= 12 or leap < 1:
        return
    if found.day is None or 1 <= found.day <= calendar.monthrange(leap, int(month))[1]:
        yield found
