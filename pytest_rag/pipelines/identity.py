"""Which answers of an engine are still its own: its configuration and its corpus, told cheaply."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pytest_rag.cache import Key
from pytest_rag.errors import ConfigError
from pytest_rag.pipelines.survey import Survey, digest, survey

__all__ = ["Fingerprint", "Identity", "Reading", "corpus_of", "ends_of", "filters_of"]

Fingerprint = str | Callable[[], str]

_ALWAYS_S = 0.0002
_SLOW_S = 0.005
_SHARE = 50
_LONGEST_S = 60.0


class Identity:
    """The namespace of an engine's answers.

    It has three parts: a name, or else a digest of the engine's configuration; the filters of its
    retrievers are in either. And the corpus: the hashes of all nodes in the engine's indexes and
    document stores, or what ``fingerprint`` says.

    Whether nodes came or went is seen at each question, from the number of an index's nodes and
    the last of them. Everything else, such as a node whose text was replaced in place, a store on
    a server or a prompt, is read again when at least 50 times as long has passed as that takes,
    at the latest after a minute; at each question where it takes less than 0.2 ms.

    Attributes:
        engine: Whose answers they are.
    """

    def __init__(self, engine: Any, name: str | None, fingerprint: Fingerprint | None) -> None:
        self.engine = engine
        if name is not None:
            Key(namespace=name, digest="")  # which refuses what is no name
        if not (fingerprint is None or isinstance(fingerprint, str) or callable(fingerprint)):
            raise ConfigError(
                f"fingerprint must be a text or a function that returns one, not {fingerprint!r}."
            )
        self._name = name
        self._told = fingerprint if fingerprint is not None else _own_fingerprint(engine)
        self._seen = survey(engine)
        self._config = digest([name or self._seen.config, filters_of(engine)])
        self._probe: Any = None
        self._namespace = ""
        self._superseded: list[str] = []
        self._corpus = Reading(self._read_corpus)
        self._prompts = Reading(lambda: survey(engine.get_prompts()).config)

    def warn_if_unknown(self) -> None:
        """Say in the log if nothing tells a new corpus from the old one."""
        if self._corpus.value is None:
            logging.getLogger("pytest_rag").warning(
                "The documents behind %s cannot be seen, so a new index does not empty the cache "
                "before the answers' time to live is over: give fingerprint=….",
                type(self.engine).__name__,
            )

    def superseded(self) -> list[str]:
        """Return the namespaces that were right until now, each once."""
        found, self._superseded = self._superseded, []
        return found

    def namespace(self) -> str:
        """Return the namespace of answers that are right for the engine as it is now."""
        probe = ends_of(self._seen)
        changed = probe != self._probe
        self._probe = probe
        read = [part.read(now=changed) for part in (self._corpus, self._prompts)]
        if any(read):
            self._name_anew()
        return self._namespace

    @property
    def is_slow(self) -> bool:
        """Whether to read the corpus takes so long that an event loop should not do it."""
        return self._corpus.took > _SLOW_S

    def refresh(self) -> None:
        """Look through the engine anew at the next question."""
        self._seen = survey(self.engine)
        self._config = digest([self._name or self._seen.config, filters_of(self.engine)])
        self._probe = None

    def _name_anew(self) -> None:
        corpus = self._corpus.value
        known = "unknown" if corpus is None else digest(str(corpus))
        head = self._name or type(self.engine).__name__
        own = digest([self._config, self._prompts.value])
        namespace = f"answers/{head}/{own}/{known}"
        if self._namespace not in ("", namespace):
            self._superseded.append(self._namespace)
        self._namespace = namespace

    def _read_corpus(self) -> str | None:
        told = self._told() if callable(self._told) else self._told
        return corpus_of(self._seen) if told is None else told


class Reading:
    """Something that is read again, for no more than a fiftieth of the time."""

    def __init__(self, source: Callable[[], Any]) -> None:
        self.value: Any = None
        self.took = 0.0
        self._source = source
        self._again_at = 0.0

    def read(self, *, now: bool) -> bool:
        """Read if it is time, or ``now``; True where something was read."""
        started = time.monotonic()
        if not now and started < self._again_at:
            return False
        self.value = self._source()
        self.took = time.monotonic() - started
        pause = 0.0 if self.took < _ALWAYS_S else min(_LONGEST_S, self.took * _SHARE)
        self._again_at = time.monotonic() + pause
        return True


def _own_fingerprint(engine: Any) -> str | None:
    told = getattr(engine, "fingerprint", None)
    return told if isinstance(told, str) else None


_HOLDS = ("_retriever", "retriever", "_vector_retriever", "_query_engine", "query_engine")


def filters_of(component: Any, depth: int = 0) -> Any:
    """Return the metadata filters in an engine's retrievers as JSON."""
    held = getattr(component, "__dict__", {})
    inner = [held[name] for name in _HOLDS if held.get(name) is not None]
    for name in ("_retrievers", "_query_engines"):
        several = held.get(name) or ()
        inner += several.values() if isinstance(several, Mapping) else several
    own = survey(held.get("_filters")).config
    return [own, *(filters_of(part, depth + 1) for part in inner)] if depth < 10 else [own]


# --- the corpus -------------------------------------------------------------------------------


def ends_of(seen: Survey) -> Any:
    """Return what changes when nodes come to an index or go; reads nothing but two of its ends."""
    return [_ends(_ids(index)) for index in seen.indexes]


def _ends(ids: Any) -> Any:
    if not ids:
        return 0
    last = next(reversed(ids)) if hasattr(ids, "__reversed__") else None
    return len(ids), last


def _ids(index: Any) -> Any:
    """Return the ids of an index's nodes, keys of a dictionary or a list; None where unknown."""
    struct = index.index_struct
    for name in ("nodes_dict", "nodes", "all_nodes"):
        ids = getattr(struct, name, None)
        if isinstance(ids, dict | list):
            return ids
    return None


def corpus_of(seen: Survey) -> str | None:
    """Return a digest of every node's text and metadata; None where there is none to be seen."""
    made = hashlib.sha256()
    for index in seen.indexes:
        _add(made, _of_index(index))
    for store in seen.docstores:
        _add(made, list(store.get_all_document_hashes()))
    _add(made, [node.hash for node in seen.nodes])
    empty = hashlib.sha256().digest()
    return None if made.digest() == empty else made.hexdigest()


def _of_index(index: Any) -> list[str]:
    """Return hashes of the nodes that an index still has; its document store may have more."""
    by_hash = index.docstore.get_all_document_hashes()
    ids = _ids(index)
    if ids is None:
        return list(by_hash)
    wanted = set(ids.values()) if isinstance(ids, dict) and ids else set(ids)
    wanted = {node if isinstance(node, str) else getattr(node, "node_id", "") for node in wanted}
    known = [made for made, node in by_hash.items() if node in wanted]
    return [*known, f"{len(ids)} nodes"] if known or ids else []


def _add(made: Any, hashes: list[str]) -> None:
    if hashes:
        made.update(("\n".join(sorted(hashes)) + "\n\n").encode())
