"""What a cache does while its storage is away: nothing, after one warning."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from typing import TYPE_CHECKING, TypeVar

from pytest_rag.errors import UsageError, message_of
from pytest_rag.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CacheWarning", "Outage"]

T = TypeVar("T")
_SHARE, _LONGEST_S = 10, 60.0


class CacheWarning(RuntimeWarning):
    """A cache cannot be used for now, so everything is computed anew."""


class Outage:
    """Guards calls of a storage: when one fails, the next ones are spared for a moment.

    The moment is ten times as long as the failure took, so that a storage that lets everybody wait
    costs little.

    The first failure warns. Later ones do not, even if the storage came back in between, so a
    storage that flickers fills no log.

    Attributes:
        away: Whether the last call failed.
    """

    def __init__(self, name: str, errors: tuple[type[Exception], ...], *, pause_s: float) -> None:
        self.away = False
        self._name = name
        self._errors = errors
        self._pause_s = pause_s
        self._again_at = 0.0
        self._warned = False
        self._lock = threading.RLock()  # the cycle collector ends streams anywhere

    def guard(self, call: Callable[[], T], instead: T) -> T:
        """Return what ``call`` does, or ``instead`` where the storage is away."""
        if self.away and self._is_left_alone():
            return instead
        started = time.monotonic()
        try:
            result = call()
        except self._errors as error:
            self._failed(error, time.monotonic() - started)
            return instead
        self.away = False
        return result

    def strict(self, call: Callable[[], T]) -> T:
        """Return what ``call`` does.

        Raises:
            UsageError: if the storage is away; says why.
        """
        try:
            return call()
        except self._errors as error:
            raise UsageError(f"{self._name} cannot be used: {redact(message_of(error))}") from error

    def _is_left_alone(self) -> bool:
        """Tell whether not to look again yet; one of all who ask may, and the others go on."""
        with self._lock:
            now = time.monotonic()
            if now >= self._again_at:
                self._again_at = now + _LONGEST_S
                return False
            return self.away

    def _failed(self, error: Exception, took: float) -> None:
        with self._lock:
            self.away = True
            # Who waited long for nothing looks again much later.
            pause = max(self._pause_s, min(took * _SHARE, _LONGEST_S))
            self._again_at = time.monotonic() + pause
            first, self._warned = not self._warned, True
        if first:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        text = (
            f"The cache {self._name} cannot be used: {redact(message_of(error))} "
            "Everything is computed anew until it can; this is said once."
        )
        try:
            warnings.warn(text, CacheWarning, stacklevel=4)
        except CacheWarning:  # made an error, which no question is to fail for
            logging.getLogger("pytest_rag").warning(text)
