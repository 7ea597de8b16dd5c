"""What an engine is made of: its configuration, and where its documents are."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["Survey", "digest", "settings_of", "survey"]

# A function without a name of its own looks like any other.
_UNTELLABLE = re.compile(r"<lambda>|<locals>")
_HARMLESS = ("logging.", "_thread.", "threading.", "asyncio.")
_SCORERS = "bm25s."
_HOMES = ("llama_index.", "llama_index_", "pytest_rag.")
_ASIDE = (
    r"callback_manager|rate_limiter|id_|.*(?:api|access|secret|subscription)_?key"
    r"|.*(?:secret|password|headers|_client)|(?:api|auth|access|azure_ad|aws_session|hf)_token"
)
# What people count in engines of their own, for tests and statistics.
_COUNTED = (
    r"|(?:n_|num_)?(?:calls?|count(?:er)?|asked|queries|requests|hits|seen|times|log|history)"
    r"|.*_(?:calls|count|seen)"
)
_NOT_CONFIG = re.compile(_ASIDE + _COUNTED, re.IGNORECASE)
_IS_ASIDE = re.compile(_ASIDE, re.IGNORECASE)


@dataclass(slots=True)
class Survey:
    """What was found in an engine.

    Attributes:
        config: Classes, settings and prompts as JSON; no keys, no counters, no documents.
        indexes: LlamaIndex indexes.
        docstores: Document stores that no index was found for.
        nodes: Nodes that components hold themselves.
        opaque: Classes of objects that settings name and that cannot be looked into.
        blind: Classes of retrievers whose documents were not found.
        code: Classes and functions met, whatever they belong to.
    """

    config: Any = None
    indexes: list[Any] = field(default_factory=list)
    docstores: list[Any] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    opaque: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    code: list[Any] = field(default_factory=list)


def survey(component: Any, *, everything: bool = False) -> Survey:
    """Look through an engine and all its parts, once each.

    Args:
        component: An engine, or a part of one.
        everything: Take every attribute for a setting, but for secrets and, in other people's
            classes, counters.

    Settings are the attributes of LlamaIndex's own classes. Of other people's classes they are
    what the constructor takes, since an attribute may as well be a counter or a memory.
    """
    found = Survey()
    found.config = _Walk(found, everything).describe(component)
    own = [index.docstore for index in found.indexes]
    found.docstores = [s for s in found.docstores if not any(s is known for known in own)]
    return found


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_of(model: Any) -> str | None:
    """Return what tells a model's settings from others; None where they cannot be told."""
    try:
        config = survey(model).config
    except Exception:  # noqa: BLE001 - of foreign objects, whose attributes may raise
        return None
    return None if config is None or _UNTELLABLE.search(str(config)) else digest(config)


class _Walk:
    """Goes through parts and knows where it has been."""

    def __init__(self, found: Survey, everything: bool) -> None:
        from llama_index.core.base.base_query_engine import BaseQueryEngine
        from llama_index.core.base.base_retriever import BaseRetriever
        from llama_index.core.indices.base import BaseIndex
        from llama_index.core.prompts.mixin import PromptMixin
        from llama_index.core.schema import BaseNode
        from llama_index.core.storage.docstore.types import BaseDocumentStore
        from llama_index.core.vector_stores.types import BasePydanticVectorStore
        from pydantic import BaseModel

        self._found = found
        self._everything = everything
        self._corpora = 0
        self._ours = False
        self._retriever = BaseRetriever
        self._seen: set[int] = set()
        self._components = (BaseModel, PromptMixin, BaseQueryEngine, BaseRetriever)
        self._model = BaseModel
        self._kept: tuple[tuple[type, list[Any] | None], ...] = (
            (BaseIndex, found.indexes),
            (BaseDocumentStore, found.docstores),
            (BaseNode, found.nodes),
            (BasePydanticVectorStore, None),
        )

    def describe(self, value: Any) -> Any:
        """Return a value as JSON; take down indexes, stores and nodes on the way."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return repr(value)
        if isinstance(value, Enum):
            return self.describe(value.value)
        if inspect.isroutine(value) or isinstance(value, type):
            self._found.code.append(value)
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, bytes | bytearray):
            return hashlib.sha256(value).hexdigest()
        if isinstance(value, Mapping | Sequence | Set):
            return self._many(value)
        return self._object(value)

    def _many(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "_node_content" in value:
                return self._stored_node(value)
            other = _is_aside if self._everything else _is_other
            return {str(k): self.describe(v) for k, v in value.items() if not other(str(k))}
        told = [self.describe(item) for item in value]
        return sorted(told, key=str) if isinstance(value, Set) else told

    def _stored_node(self, value: Mapping[str, Any]) -> str:
        """Take down a node that a retriever keeps as a mapping, as BM25's does."""
        from llama_index.core.vector_stores.utils import metadata_dict_to_node

        self._corpora += 1
        self._found.nodes.append(metadata_dict_to_node(dict(value)))
        return "node"

    def _object(self, value: Any) -> Any:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        kind = next((kind for kind, kept in self._kept if isinstance(value, kind)), None)
        # A corpus that two retrievers share is each one's.
        self._corpora += kind is not None and dict(self._kept)[kind] is not None
        if id(value) in self._seen:
            return name
        self._seen.add(id(value))
        if kind is not None:
            kept = dict(self._kept)[kind]
            if kept is not None:
                kept.append(value)
            return name
        self._found.code.append(type(value))
        ours = name.startswith(_HOMES)
        if not ours and not isinstance(value, self._components):
            # What LlamaIndex's own parts hold of others' follows from their settings.
            if not self._ours and not name.startswith(_HARMLESS):
                self._found.opaque.add(name)
            return {"class": name, **_scalars(value)} if name.startswith(_SCORERS) else name
        corpora, around = self._corpora, self._ours
        self._ours = ours
        told = {k: self.describe(v) for k, v in self._settings(value, everything=ours)}
        self._ours = around
        if isinstance(value, self._retriever) and self._corpora == corpora:
            self._found.blind.add(name)
        if "template_vars" in told:  # found with a set, so their order changes
            told["template_vars"] = sorted(told["template_vars"])
        return {"class": name, **told}

    def _settings(self, value: Any, *, everything: bool) -> list[tuple[str, Any]]:
        if isinstance(value, self._model):
            names = type(value).model_fields
            other = _is_aside if self._everything else _is_other
            told = [(n, getattr(value, n, None)) for n in sorted(names) if not other(n)]
            private = (value.__pydantic_private__ or {}) if self._everything else {}
            return told if everything else [*told, *_named(private)]
        if dataclasses.is_dataclass(value):
            held = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        else:
            attributes = getattr(value, "__dict__", {})
            counters = not (everything and self._everything)
            other = _is_other if counters else _is_aside
            held = {k: v for k, v in attributes.items() if not other(k)}
        if "_node_ids" in held and _are_all(held["_node_ids"], held.get("_index")):
            del held["_node_ids"]
        taken = None if everything or self._everything else _taken(type(value))
        return [
            (k, v)
            for k, v in sorted(held.items())
            if taken is None or k.lstrip("_") in taken or isinstance(v, self._components)
        ]


def _scalars(value: Any) -> dict[str, Any]:
    """Return the plain settings of what scores, which may have been made by somebody else."""
    held = getattr(value, "__dict__", {})
    return {k: repr(v) for k, v in sorted(held.items()) if isinstance(v, bool | int | float | str)}


def _named(attributes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(k, attributes[k]) for k in sorted(attributes) if not _is_other(k)]


def _is_other(name: str) -> bool:
    return _NOT_CONFIG.fullmatch(name.lstrip("_")) is not None


def _is_aside(name: str) -> bool:
    return _IS_ASIDE.fullmatch(name.lstrip("_")) is not None


def _are_all(ids: Any, index: Any) -> bool:
    """Tell whether a retriever's nodes are all of its index, and so no choice of anybody's."""
    known = getattr(getattr(index, "index_struct", None), "nodes_dict", None)
    return isinstance(known, dict) and set(ids or ()) == set(known.values())


def _taken(kind: type) -> frozenset[str]:
    """Return the names of what the constructors of a class take."""
    names: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in base.__dict__:
            names.update(inspect.signature(base.__dict__["__init__"]).parameters)
    return frozenset(names - {"self", "args", "kwargs"})
