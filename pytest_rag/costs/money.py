"""Money in whole nano-dollars, so that sums come out the same in any order."""

from __future__ import annotations

import math
from math import floor, log10
from typing import Any

__all__ = ["NANO", "amount_of", "known", "money", "to_nano", "to_usd"]

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""


def to_nano(usd: float) -> int:
    """Return an amount in nano-dollars, rounded to the nearest."""
    return round(usd * NANO)


def to_usd(nano: int) -> float:
    """Return an amount in dollars."""
    return nano / NANO


def known(usd: Any) -> int | None:
    """Return an amount that may come from a file in nano-dollars; None for what is no amount."""
    number = isinstance(usd, int | float) and not isinstance(usd, bool)
    return to_nano(usd) if number and math.isfinite(usd) and usd >= 0 else None


def amount_of(text: str) -> float | None:
    """Return an amount above zero that a person typed, with a dollar sign or not; else None."""
    try:
        usd = float(text.strip().removeprefix("$"))
    except ValueError:
        return None
    return usd if math.isfinite(usd) and usd > 0 else None


def money(usd: float) -> str:
    """Write US dollars with cents, or with two digits that are not zero: ``$0.00012``."""
    places = 2 if usd == 0 else max(2, 1 - floor(log10(abs(usd))))
    return f"${usd:,.{places}f}"
