"""Metadata that sorts documents into groups, and which of its values a query names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.pipelines.language import LANGUAGES, detect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Facets", "Value"]

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[.!?:]\s*$")
_MOST_VALUES = 200  # of one key; more are names of single things
_SURE = 0.9  # of the nodes that name a value, the part that has it
_SEEN = 3  # so many nodes must name it before that says anything
_HALF = 0.5  # of all nodes; a filter that leaves more is not worth its risk
# "not in HR", "außer Recht": what is named here is what is not wanted.
_NEGATIONS = (
    "not no without except excluding other others besides outside than instead unlike never non "
    "nicht kein keine keinen ohne außer anders andere anderen statt nao sem exceto excepto outro "
    "outra outros outras fora sauf sans pas autre autres sin otro otra otros otras salvo senza "
    "altro altri niet geen zonder behalve inte utan ikke uden uten annan anden не без кроме degil"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of a metadata key.

    Attributes:
        key: The key.
        value: As nodes have it.
        words: As a query would name it: folded, with single spaces.
        nodes: Places of the nodes that have it.
        distinct: A node that names it is nearly always one that has it; None where too few
            nodes name it to tell, and False where its key does not sort documents into groups.
    """

    key: str
    value: Any
    words: str
    nodes: frozenset[int]
    distinct: bool | None


class Facets:
    """The metadata that every one of some nodes has, and what its values are called.

    A filter on a key that a node lacks would lose the node. A key most of whose values belong to
    one document, such as a title or a date, names no groups: its values count beside it only.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        *,
        language_key: str = "language",
        names: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.count = len(nodes)
        self._language_key = language_key
        self._names = {key: [_folded(n) for n in more] for key, more in (names or {}).items()}
        texts = [f" {_folded(node.get_content())} " for node in nodes]
        self.values = [
            _value(key, value, having, texts if is_group else None)
            for key, held, is_group in _keys(nodes)
            for value, having in held.items()
        ]
        self._languages = {
            str(v.value).lower(): v
            for v in self.values
            if v.key == language_key and str(v.value).lower() in LANGUAGES
        }

    def named(self, query: str) -> dict[str, list[Any]]:
        """Return the values that a query asks for, by their keys.

        A value counts where the query names its key beside it, as in "the HR department" or
        ``status: draft``; others of the key that it names then count too. Alone it counts if it
        leaves at most half of the nodes and is a word of its own group: nine of ten nodes that
        say it have it. The language of the query counts where that is not the language of most
        nodes. Where there is a negation only the language counts.
        """
        words = _folded(query)
        found: dict[str, list[Any]] = {}
        if not _NEGATION_WORDS.intersection(words.split()):
            named = [v for v in self.values if v.words and f" {v.words} " in f" {words} "]
            asked = {v.key for v in named if self._is_asked(v, query, words)}
            # "HR or the IT department": a further value can only widen the search.
            for value in (v for v in named if v.key in asked):
                found.setdefault(value.key, []).append(value.value)
        spoken = self._language(query)
        if spoken is not None:
            found.setdefault(self._language_key, [spoken.value])
        return found

    def passing(self, filters: Mapping[str, Iterable[Any]]) -> int:
        """Return how many nodes have one of the values of each key."""
        left = frozenset(range(self.count))
        for key, wanted in filters.items():
            listed = list(wanted)
            having = [v.nodes for v in self.values if v.key == key and v.value in listed]
            left &= frozenset().union(*having)
        return len(left)

    def _is_asked(self, value: Value, query: str, words: str) -> bool:
        for name in (_folded(value.key), *self._names.get(value.key, ())):
            beside = (f" {value.words} {name} ", f" {value.words} {name}s ")
            if any(each in f" {words} " for each in beside):
                return True
            told = rf"\b{re.escape(name)}\s*[:=]\s*\W?{re.escape(value.words)}\b"
            if re.search(told, _plain(query)):
                return True
        if not isinstance(value.value, str) or len(value.nodes) > _HALF * self.count:
            return False
        return value.distinct or (value.distinct is None and _is_a_name(value.words, query))

    def _language(self, query: str) -> Value | None:
        if len(self._languages) < 2:
            return None
        usual = max(self._languages, key=lambda code: len(self._languages[code].nodes))
        spoken = detect(query, self._languages, usual)
        return None if spoken == usual else self._languages[spoken]


def _keys(nodes: Sequence[Any]) -> Iterator[tuple[str, dict[Any, frozenset[int]], bool]]:
    """Yield each key that all nodes have: value → places of nodes, and whether it sorts them."""
    held: dict[str, dict[Any, set[int]]] = defaultdict(lambda: defaultdict(set))
    having: Counter[str] = Counter()
    for place, node in enumerate(nodes):
        for key, value in (node.metadata or {}).items():
            values = set(filter(_is_told, value if isinstance(value, list | tuple) else [value]))
            having[key] += bool(values)
            for each in values:
                held[key][each].add(place)
    documents = len({node.ref_doc_id or node.node_id for node in nodes})
    for key, found in held.items():
        if having[key] == len(nodes) and len(found) <= _MOST_VALUES:
            is_group = 1 < len(found) <= documents / 2
            yield str(key), {value: frozenset(places) for value, places in found.items()}, is_group


def _is_told(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _value(key: str, value: Any, having: frozenset[int], texts: Sequence[str] | None) -> Value:
    words = _folded(str(value))
    distinct: bool | None = False
    if texts is not None and words:
        naming = {i for i, text in enumerate(texts) if f" {words} " in text}
        sure = len(naming & having) >= _SURE * len(naming)
        distinct = None if sure and len(naming) < _SEEN else sure
    return Value(key=key, value=value, words=words, nodes=having, distinct=distinct)


def _is_a_name(words: str, query: str) -> bool:
    """Tell whether the query writes it as a name: two words, a digit, or a capital within."""
    if " " in words or any(c.isdigit() for c in words):
        return True
    before = ""
    for match in _WORD.finditer(query):
        if _folded(match[0]) == words:
            begins = not before.strip() or _SENTENCE.search(before) is not None
            return match[0][0].isupper() and not begins and not query.isupper()
        before = query[: match.end()]
    return False


def _plain(text: str) -> str:
    spread = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in spread if not unicodedata.combining(c))


def _folded(text: str) -> str:
    return " ".join(_WORD.findall(_plain(text)))


_NEGATION_WORDS = frozenset(_folded(_NEGATIONS).split())
