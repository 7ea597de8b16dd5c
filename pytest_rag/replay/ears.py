"""Methods of a client's classes, wrapped by a listener until they are let go."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Ears"]


class Ears:
    """Listens to one method of some classes, once their module is imported.

    Args:
        module: Of the classes.
        method: Of each of them; a class without it, or where somebody has wrapped it, is let be.
        listeners: What wraps it, by class.
    """

    def __init__(
        self, module: str, method: str, listeners: Mapping[str, Callable[[Any], Any]]
    ) -> None:
        self._module = module
        self._method = method
        self._listeners = listeners
        self._wrapped: list[tuple[type, Any]] = []
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Begin, unless it has begun."""
        module = sys.modules.get(self._module)
        if module is None or self._wrapped:
            return
        with self._lock:
            for name, listening in self._listeners.items():
                cls = getattr(module, name, None)
                original = None if cls is None else vars(cls).get(self._method)
                if cls is None or original is None or hasattr(original, "__wrapped__"):
                    continue
                self._wrapped.append((cls, original))
                setattr(cls, self._method, listening(original))

    def unwatch(self) -> None:
        """Leave the classes as they were."""
        with self._lock:
            while self._wrapped:
                cls, original = self._wrapped.pop()
                setattr(cls, self._method, original)
