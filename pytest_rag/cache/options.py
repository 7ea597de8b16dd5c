"""What stands behind the ``?`` of a cache's URL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pytest_rag.errors import ConfigError
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["split"]


def split(url: str, names: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Return a URL's part between its scheme and the ``?``, and its options, all whole numbers.

    Raises:
        ConfigError: for an option that is none of ``names``, or no number above zero.
    """
    address, _, written = url.partition("?")
    options = {}
    for name, value in parse_qsl(written, keep_blank_values=True):
        if name not in names:
            raise ConfigError(f"Unknown option {name!r} of {url!r}.{did_you_mean(name, names)}")
        if not (value.isascii() and value.isdigit() and int(value)):
            raise ConfigError(f"{name} of {url!r} must be a whole number above 0, not {value!r}.")
        options[name] = int(value)
    return address.partition(":")[2], options
