"""Time zones by name; days and months in them."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pytest_rag.errors import ConfigError
from pytest_rag.registry import nearest

__all__ = ["begin_ms", "local_zone", "name_of", "next_month", "zone_of"]

_LOCALTIME = Path("/etc/localtime")


def zone_of(name: str | None) -> tzinfo:
    """Return the time zone of a name; this machine's for None.

    Raises:
        ConfigError: if there is none; names the nearest.
    """
    if name is None:
        return local_zone()
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = available_timezones()
    if not known:
        raise ConfigError(f"No time zones are installed, so not {name!r}: pip install tzdata")
    found = nearest(name, known)
    hint = f"Did you mean {found!r}?" if found else "Write it as Europe/Lisbon, or UTC."
    raise ConfigError(f"There is no time zone {name!r}. {hint}")


def local_zone() -> tzinfo:
    """Return this machine's zone, with its changes of the clock where its name can be found."""
    for name in (os.environ.get("TZ", "").lstrip(":"), _linked()):
        try:
            if name:
                return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return datetime.now().astimezone().tzinfo or UTC


def _linked() -> str:
    """Return the name of the zone that the system's own link leads to; empty where none does."""
    try:
        target = str(_LOCALTIME.resolve(strict=True))
    except OSError:
        return ""
    return target.rpartition("zoneinfo/")[2] if "zoneinfo/" in target else ""


def name_of(zone: tzinfo) -> str:
    """Return a zone's name for people."""
    return getattr(zone, "key", None) or zone.tzname(None) or str(zone)


def begin_ms(day: date, zone: tzinfo) -> int:
    """Return when a day begins in a zone, in milliseconds since 1970."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def next_month(day: date) -> date:
    """Return the first day of the month after that of a day."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
