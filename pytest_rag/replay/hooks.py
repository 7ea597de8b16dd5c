"""Gives LlamaIndex's model classes other entry points, for as long as somebody needs them.

The classes are given them and not the objects: so it does not matter where a pipeline keeps its
models, nor when it makes them. What is called outside a run of ours passes through.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.rate_limiter import BaseRateLimiter

from pytest_rag.replay import endings, heard
from pytest_rag.replay.entries import EMBEDDING, LIMITER, LLM
from pytest_rag.replay.objects import STRUCTURED
from pytest_rag.replay.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["install", "uninstall"]

_BASES: tuple[tuple[type, dict[str, Callable[[Any], Any]]], ...] = (
    (BaseLLM, LLM),
    (BaseLLM, STRUCTURED),
    (BaseEmbedding, EMBEDDING),
    (BaseSparseEmbedding, EMBEDDING),
    (BaseRateLimiter, LIMITER),
    *STAGES,
)


class _Hooks:
    """What was replaced, so that it can be put back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._replaced: list[tuple[type, str, Any]] = []

    def install(self) -> None:
        """Replace the entry points of every class there is and every one to come."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            for base, _ in _BASES:
                for cls in {base, *_below(base)}:
                    self._hook(cls)
            for base in (BaseLLM, BaseEmbedding, BaseSparseEmbedding):
                self._watch(base)

    def uninstall(self) -> None:
        """Put everything back once the last user is gone."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                endings.EARS.unwatch()
                heard.EARS.unwatch()
                while self._replaced:
                    cls, name, original = self._replaced.pop()
                    if original is None:
                        delattr(cls, name)
                    else:
                        setattr(cls, name, original)

    def _hook(self, cls: type) -> None:
        for base, makers in _BASES:
            if not issubclass(cls, base) or (makers is STRUCTURED and _is_core(cls)):
                continue
            for name, maker in makers.items():
                original = cls.__dict__.get(name)
                done = any(c is cls and n == name for c, n, _ in self._replaced)
                if original is None or done or getattr(original, "__isabstractmethod__", False):
                    continue
                self._replaced.append((cls, name, original))
                setattr(cls, name, maker(original))

    def _watch(self, base: type) -> None:
        """Be told of every class that is derived from now on, as by a late import."""

        def derived(cls: Any, /, **kwargs: Any) -> None:
            super(base, cls).__pydantic_init_subclass__(**kwargs)  # type: ignore[arg-type]
            self._hook(cls)

        name = "__pydantic_init_subclass__"
        self._replaced.append((base, name, base.__dict__.get(name)))
        setattr(base, name, classmethod(derived))


def _below(base: type[Any]) -> Iterator[type[Any]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _below(cls)


def _is_core(cls: type) -> bool:
    return cls.__module__.startswith("llama_index.core")


_hooks = _Hooks()
install = _hooks.install
uninstall = _hooks.uninstall
