"""What is suspicious about cases: asked twice, answered by the question, not held by the corpus."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag.metrics.gold import matches
from pytest_rag.metrics.text import contains_phrase, content_words, phrase, words
from pytest_rag.pipelines.parts import document_of, part_of
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_rag.types import Case

__all__ = ["Corpus", "Flag", "Twins", "flags_of", "leak", "support"]

ALIKE_VECTORS = 0.93
ALIKE_WORDS = 0.75
SUPPORTED = 0.4
_CHUNK = 1000
# A question that offers answers to choose from holds the right one.
_CHOICE = re.compile(r"\b(?:or|oder|ou)\b", re.IGNORECASE)
_ASKS = {
    word: kind
    for kind, listed in {
        "who": "who whom whose wer wen wem quem",
        "when": "when wann quando",
        "where": "where wo wohin woher onde",
        "why": "why warum weshalb wieso",
        "how": "how wie como",
        "what": "what which was welche welcher welches welchem welchen qual quais",
    }.items()
    for word in listed.split()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One thing that is suspicious about a case.

    Attributes:
        case: Its id.
        kind: What it is.
        text: In a sentence.
        broken: Whether it is wrong for certain.
    """

    case: str
    kind: Literal["duplicate", "leak", "unanswerable", "gold", "evidence"]
    text: str
    broken: bool = False


# --- questions that are asked twice -----------------------------------------------------------


class Twins:
    """Finds questions that ask the same: by word vectors where WordLlama is installed, or by words.

    Two questions are alike where their vectors' cosine reaches 0.93, or, without WordLlama, where
    they share 75 % of their content words (Jaccard); never where their numbers differ, or one asks
    who and the other when.

    Attributes:
        method: How questions are compared, for people.
    """

    def __init__(self) -> None:
        self._vectors = find_spec("wordllama") is not None
        self.method = (
            f"cosine of word vectors from {ALIKE_VECTORS:g} on"
            if self._vectors
            else f"shared content words from {ALIKE_WORDS:.0%} on (no wordllama installed)"
        )

    def among(self, queries: Sequence[str]) -> list[tuple[int, int, float]]:
        """Return the places of questions that are alike, the earlier one first, and how alike."""
        pairs = self._by_vectors(queries) if self._vectors else self._by_words(queries)
        return sorted((i, j, s) for i, j, s in pairs if _may_be_same(queries[i], queries[j]))

    def of(self, query: str, others: Sequence[str]) -> tuple[int, float] | None:
        """Return the place of the question most like one, and how alike; None where none is."""
        if self._vectors and others:
            from pytest_rag.vectors import embed

            found = embed([query, *others])
            scores = found[1:] @ found[0]
            alike = [(float(s), n) for n, s in enumerate(scores) if s >= ALIKE_VECTORS]
        else:
            mine = set(content_words(query))
            alike = [(s, n) for n, o in enumerate(others) if (s := _shared(mine, o)) >= ALIKE_WORDS]
        same = [(s, n) for s, n in alike if _may_be_same(query, others[n])]
        best = max(same, key=lambda each: (each[0], -each[1]), default=None)
        return None if best is None else (best[1], best[0])

    def _by_vectors(self, queries: Sequence[str]) -> Iterator[tuple[int, int, float]]:
        import numpy as np

        from pytest_rag.vectors import embed

        found = embed(queries) if queries else np.zeros((0, 1), np.float32)
        for start in range(0, len(queries), _CHUNK):
            scores = found[start : start + _CHUNK] @ found.T
            for row, column in zip(*np.nonzero(scores >= ALIKE_VECTORS), strict=True):
                if start + row < column:
                    yield start + int(row), int(column), float(scores[row, column])

    def _by_words(self, queries: Sequence[str]) -> Iterator[tuple[int, int, float]]:
        """Compare questions that share one of their rarest words, as every pair above the bar does.

        Prefix filtering: of n words the n - ceil(0.75 n) + 1 rarest (Bayardo et al. 2007).
        """
        sets = [set(content_words(query)) for query in queries]
        counts: dict[str, int] = defaultdict(int)
        for each in sets:
            for word in each:
                counts[word] += 1
        index: dict[str, list[int]] = defaultdict(list)
        for place, each in enumerate(sets):
            rare = sorted(each, key=lambda word: (counts[word], word))
            prefix = rare[: len(rare) - ceil(ALIKE_WORDS * len(rare)) + 1]
            for other in {n for word in prefix for n in index[word]}:
                if (score := _jaccard(sets[other], each)) >= ALIKE_WORDS:
                    yield other, place, score
            for word in prefix:
                index[word].append(place)


def _shared(mine: set[str], other: str) -> float:
    return _jaccard(mine, set(content_words(other)))


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 0.0


def _may_be_same(a: str, b: str) -> bool:
    """Tell whether two questions name the same numbers and do not ask different things of them."""
    first, second = words(a), words(b)
    if {w for w in first if w[0].isdigit()} != {w for w in second if w[0].isdigit()}:
        return False
    asked, also = ({_ASKS[w] for w in each if w in _ASKS} for each in (first, second))
    return not asked or not also or bool(asked & also)


# --- one case ---------------------------------------------------------------------------------


def leak(query: str, answers: Iterable[str]) -> str | None:
    """Return the answer that stands in its question; None where none does, or it is to choose."""
    asked = words(query)
    if _CHOICE.search(query):
        return None
    return next((a for a in answers if contains_phrase(asked, phrase(a))), None)


def support(answer: str, held: set[str]) -> float:
    """Return the share of an answer's content words that are among those of a text."""
    found = content_words(answer)
    return sum(word in held for word in found) / len(found) if found else 1.0


# --- against the documents --------------------------------------------------------------------


@dataclass(slots=True)
class Corpus:
    """The documents that cases are looked through with.

    Attributes:
        documents: LlamaIndex's, by id.
    """

    documents: Mapping[str, Any]
    _words: dict[str, set[str]] = field(default_factory=dict)

    def lacks(self, gold: str) -> str | None:
        """Return what is wrong with a gold id in a sentence; None where the corpus holds it."""
        found = document_of(gold, self.documents)
        if found is None:
            if any(matches(gold, name) for name in self.documents):
                return None
            hint = did_you_mean(gold.partition("#")[0], self.documents)
            short = hint if len(hint) < 120 else ""
            return f"Gold {gold!r} is not in the corpus.{short}"
        name, fragment = found
        if self._part(name, fragment) is None:
            return f"Document {name!r} has no part {fragment!r}."
        return None

    def holds(self, gold: str, quote: str) -> bool:
        """Tell whether a quote stands in the documents that a gold id names, white space aside."""
        wanted = " ".join(quote.split())
        return any(wanted in " ".join(text.split()) for text in self.texts(gold))

    def texts(self, gold: str) -> Iterator[str]:
        """Yield the texts that a gold id names."""
        found = document_of(gold, self.documents)
        if found is not None:
            yield self._part(*found) or ""
            return
        for name in self.documents:
            if matches(gold, name):
                yield self.documents[name].text

    def support(self, case: Case) -> float:
        """Return how much of its best answer the gold holds, or any document if it has none."""
        golds = [gold for gold, grade in case.relevant.items() if grade > 0]
        if golds:
            held = [set(words(" ".join(text for gold in golds for text in self._shown(gold))))]
        else:
            held = [self._words_of(name) for name in self.documents]
        return max((support(a, each) for a in case.answers for each in held), default=1.0)

    def _shown(self, gold: str) -> Iterator[str]:
        yield from self.texts(gold)
        found = document_of(gold, self.documents)
        yield "" if found is None else str(self.documents[found[0]].metadata.get("title", ""))

    def _words_of(self, name: str) -> set[str]:
        if name not in self._words:
            self._words[name] = set(words(self.documents[name].text))
        return self._words[name]

    def _part(self, name: str, fragment: str) -> str | None:
        document = self.documents[name]
        return part_of(document.text, document.metadata, fragment)


def flags_of(cases: Sequence[Case], corpus: Corpus | None, twins: Twins) -> Iterator[Flag]:
    """Yield what is suspicious about cases, in their order.

    Args:
        cases: Of one evalset.
        corpus: Its documents, or None where they are not known.
        twins: Compares questions.
    """
    alike: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for first, second, score in twins.among([case.query for case in cases]):
        alike[second].append((first, score))
    for place, case in enumerate(cases):
        for other, score in alike[place][:1]:
            text = f"Asks what {cases[other].id!r} asks ({score:.2f}): {cases[other].query}"
            yield Flag(case=case.id, kind="duplicate", text=text)
        told = leak(case.query, case.answers)
        if told is not None:
            text = f"The question holds its answer: {told!r}."
            yield Flag(case=case.id, kind="leak", text=text)
        if corpus is not None:
            yield from _against(case, corpus)


def _against(case: Case, corpus: Corpus) -> Iterator[Flag]:
    wrong = [lack for gold in case.relevant if (lack := corpus.lacks(gold)) is not None]
    for text in wrong:
        yield Flag(case=case.id, kind="gold", text=text, broken=True)
    for gold, quotes in case.evidence.items():
        for quote in quotes:
            if not corpus.holds(gold, quote):
                text = f"The evidence does not stand in {gold!r}: {quote!r}."
                yield Flag(case=case.id, kind="evidence", text=text, broken=True)
    if case.answers and not wrong and corpus.support(case) < SUPPORTED:
        where = "stands in its gold" if case.relevant else "stands in any document"
        text = f"Little of the answer {where}: {case.answers[0]!r}."
        yield Flag(case=case.id, kind="unanswerable", text=text)
