"""What retrievers, postprocessors and synthesizers returned in earlier runs of an evaluation."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.cache import Key, key_of
from pytest_rag.cache.envelope import CorruptEntryError, pack, unpack
from pytest_rag.pipelines.identity import Reading, corpus_of, ends_of, filters_of
from pytest_rag.pipelines.owncode import code_of
from pytest_rag.pipelines.survey import digest, survey
from pytest_rag.redact import redact
from pytest_rag.replay.values import plain
from pytest_rag.trace.parts import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.cache import Cache
    from pytest_rag.pipelines.survey import Survey
    from pytest_rag.replay.scope import Take
    from pytest_rag.replay.stages import Asked, Kept

__all__ = ["KeptStages"]

_TTL_S = 7 * 24 * 3600.0
_MOST = 64
# A function without a name of its own looks like any other.
_UNTELLABLE = re.compile(r"<lambda>|<locals>")
_CONFIG = "whose configuration cannot be told"
_CORPUS = "whose documents cannot be told"
_VALUE = "whose values cannot be written as JSON"


class KeptStages:
    """Answers whole stages out of a cache, and keeps there what they return.

    The key holds what the stage is asked, the classes, code and settings of the component and all
    its parts, of a retriever its corpus, the repeat of the case, and which of several identical
    calls of one run it is.

    Attributes:
        untold: Why a class of components is not cached, by its name.
    """

    def __init__(self, cache: Cache) -> None:
        self.untold: dict[str, str] = {}
        self._cache = cache
        self._looks: OrderedDict[int, _Look] = OrderedDict()
        self._lock = threading.Lock()

    def slot(self, asked: Asked, take: Take) -> _Slot | None:
        """Return the place of a call; None where its component or corpus cannot be told."""
        look = self._look(asked.component)
        made = look.made()
        corpus = None
        if asked.kind == "retrieve":
            corpus = look.corpus() or take.corpus
        reason = _CONFIG if made is None else None
        if reason is None and corpus is None and asked.kind == "retrieve":
            reason = _CORPUS
        parts = None if reason is not None else _parts(asked)
        if parts is None:
            self.untold.setdefault(type(asked.component).__name__, reason or _VALUE)
            return None
        key = key_of(f"stages/{asked.kind}", made=made, corpus=corpus, asked=parts[0])
        nth = take.count(key.digest)
        run = key_of(key.namespace, asked=key.digest, run=[take.repeat, nth])
        return _Slot(cache=self._cache, key=run, asked=asked, marks=parts[1], look=look, of=self)

    def _look(self, component: Any) -> _Look:
        with self._lock:
            look = self._looks.get(id(component))
            if look is None or look.component is not component:
                look = self._looks[id(component)] = _Look(component)
            self._looks.move_to_end(id(component))
            while len(self._looks) > _MOST:
                self._looks.popitem(last=False)
            return look


def _parts(asked: Asked) -> tuple[Any, list[list[Any]]] | None:
    """Return what is asked as JSON, and the marks of the nodes; None where it has no JSON."""
    from pytest_rag.pipelines.nodevalues import mark_of
    from pytest_rag.replay.stages import text_of

    try:
        marks = [mark_of(hit) for hit in asked.nodes]
        options = plain(asked.options)
        json.dumps(asked.options, allow_nan=False)
        told = [text_of(asked), marks, options]
        json.dumps(told, allow_nan=False)
    except (TypeError, ValueError, AttributeError):
        return None
    return told, marks


# --- what a component is ----------------------------------------------------------------------


class _Look:
    """A component looked into, again and again for a small part of the time."""

    def __init__(self, component: Any) -> None:
        self.component = component
        self._seen: Survey | None = None
        self._made: str | None = None
        self._ends: Any = None
        self._reading = Reading(self._see)
        self._corpus = Reading(self._see_corpus)

    def made(self) -> str | None:
        """Return what tells the component's class, code and settings from others, or None."""
        self._reading.read(now=False)
        if self._made is None:
            return None
        return digest([self._made, filters_of(self.component)])

    def corpus(self) -> str | None:
        """Return what tells the documents behind the component from others, or None."""
        if self._seen is None:
            return None
        ends = ends_of(self._seen)
        self._corpus.read(now=ends != self._ends)
        self._ends = ends
        found: str | None = self._corpus.value
        return found

    def nodes(self) -> Iterator[Any]:
        """Yield the nodes behind the component."""
        if self._seen is not None:
            yield from self._seen.nodes
            for store in (*self._seen.docstores, *(i.docstore for i in self._seen.indexes)):
                yield from store.docs.values()

    def _see(self) -> None:
        """Look; threads that do so at once find the same, each for itself."""
        seen, code = None, None
        with contextlib.suppress(Exception):  # of foreign objects, whose attributes may raise
            seen = survey(self.component, everything=True)
            code = code_of(seen.code)
        if seen is None or code is None or seen.opaque or _UNTELLABLE.search(str(seen.config)):
            self._made = None
        else:
            self._made = digest([seen.config, code, _version()])
        self._seen = seen

    def _see_corpus(self) -> str | None:
        seen = self._seen
        if seen is None or seen.blind or any(not _is_seen(index) for index in seen.indexes):
            return None
        try:
            return corpus_of(seen)
        except Exception:  # noqa: BLE001 - a store that is away is one whose content is unknown
            return None


def _is_seen(index: Any) -> bool:
    return bool(index.docstore.get_all_document_hashes())


def _version() -> str:
    from llama_index.core import __version__

    return __version__


# --- what is kept -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """The place of what one call returns."""

    cache: Cache
    key: Key
    asked: Asked
    marks: Sequence[list[Any]]
    look: _Look
    of: KeptStages

    def find(self) -> Kept | None:
        """Return what the stage returned in an earlier run; a broken entry is none."""
        from pytest_rag.replay.stages import Kept

        value = self.cache.get(self.key)
        if value is None:
            return None
        try:
            told = unpack(self.key, value)
            found = self._loaded(told["value"])
            rest = {"heard": tuple(map(str, told["heard"])), "vector": told["vector"]}
            part = Part.from_json(told["part"])
        except (CorruptEntryError, KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None
        return None if found is None else Kept(value=found, part=part, **rest)

    def keep(self, kept: Kept) -> None:
        """Keep it for a week; what a secret would be taken out of is not kept."""
        try:
            told = self._dumped(kept.value)
            rest = {"heard": list(kept.heard), "vector": kept.vector}
            body = {"value": told, "part": kept.part.as_json(), **rest}
            if redact(told) != told:
                return
            packed = pack(self.key, body)
        except (TypeError, ValueError, KeyError, AttributeError):
            self.of.untold.setdefault(type(self.asked.component).__name__, _VALUE)
            return
        self.cache.put(self.key, packed, ttl=_TTL_S)

    def _loaded(self, told: Any) -> Any:
        from pytest_rag.pipelines.nodevalues import fresh, loaded

        if self.asked.kind == "synthesize":
            return _response(told, loaded(told["sources"], self.asked.nodes))
        hits = loaded(told, self.asked.nodes)
        return hits if self.asked.kind == "rerank" else fresh(hits, self.look.nodes())

    def _dumped(self, value: Any) -> Any:
        from pytest_rag.pipelines.nodevalues import dumped

        if self.asked.kind != "synthesize":
            return dumped(value, self.asked.nodes, self.marks)
        from llama_index.core.base.response.schema import Response

        if type(value) is not Response:
            raise TypeError(f"{type(value).__name__} is no plain response.")
        sources = dumped(value.source_nodes, self.asked.nodes, self.marks)
        usual = value.metadata == _usual(value.source_nodes)
        metadata = None if usual else value.metadata
        if json.loads(json.dumps(metadata, allow_nan=False)) != metadata:
            raise ValueError("The response's metadata does not come back as it was.")
        return {
            "text": value.response,
            "sources": sources,
            "usual": usual,
            "metadata": metadata,
        }


def _usual(sources: Sequence[Any]) -> dict[str, Any]:
    return {hit.node.node_id: hit.node.metadata for hit in sources}


def _response(told: Any, sources: list[Any]) -> Any:
    from llama_index.core.base.response.schema import Response

    metadata = _usual(sources) if told["usual"] else told["metadata"]
    return Response(told["text"], source_nodes=sources, metadata=metadata)
