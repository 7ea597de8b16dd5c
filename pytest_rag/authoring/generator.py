"""Documents → proposed cases in a file, one after the other, each on disk as it is made."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from pytest_rag import evalset as evalsets
from pytest_rag.authoring.casefile import add_case, case_text, slug_of
from pytest_rag.authoring.flags import Twins
from pytest_rag.authoring.passages import in_order, passages_of
from pytest_rag.authoring.proposals import Offer, RejectedError, prompt_of, read_proposal
from pytest_rag.errors import UsageError
from pytest_rag.evalset.problems import Problems
from pytest_rag.evalset.yamlpos import compose
from pytest_rag.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_rag.authoring.passages import Passage
    from pytest_rag.authoring.proposals import Proposal
    from pytest_rag.authoring.scribe import Scribe
    from pytest_rag.types import Case

__all__ = ["Author", "Generation", "Made", "Prompts"]

_ROUNDS = 3
_FAILURES = 5
_REJECTED = 25


@dataclass(slots=True, kw_only=True)
class Made:
    """What a generation came to.

    Attributes:
        new: Cases it has written.
        before: Those the file held with evidence when it began.
        dropped: How many proposals make no case, by reason.
        stopped: Why it ended before its time, in a sentence; None where it did not.
    """

    new: int = 0
    before: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


class Author(Protocol):
    """Who makes proposals of passages."""

    def reach(self, lacking: int) -> int:
        """Return how many passages it wants to see for as many cases."""
        ...

    def offers(
        self, batch: Sequence[Passage], taken: Mapping[Passage, Sequence[str]], lacking: int
    ) -> Iterable[Offer]:
        """Yield what comes of passages.

        Args:
            batch: The passages.
            taken: The questions there are of each.
            lacking: How many cases are wanted.
        """
        ...


class Prompts:
    """Asks the model for one case a passage, in words of our own.

    Args:
        scribe: Who is asked.
        at_a_time: How many passages are asked of at the same time.
    """

    def __init__(self, scribe: Scribe, at_a_time: int) -> None:
        self._scribe = scribe
        self._at_a_time = at_a_time

    def reach(self, lacking: int) -> int:
        """Return as many as are asked of at the same time."""
        return min(self._at_a_time, lacking)

    def offers(
        self,
        batch: Sequence[Passage],
        taken: Mapping[Passage, Sequence[str]],
        lacking: int,  # noqa: ARG002
    ) -> Iterator[Offer]:
        """Yield one offer a passage."""
        prompts = [(f"{p.gold}@{p.start}", prompt_of(p, taken.get(p, ()))) for p in batch]
        for passage, said in zip(batch, self._scribe.ask(prompts), strict=True):
            if said.failure is not None:
                yield Offer(over=said.failure) if said.refused else Offer(failure=said.failure)
                continue
            try:
                yield Offer(proposal=read_proposal(said.value or "", passage))
            except RejectedError as rejected:
                yield Offer(rejected=str(rejected))


class Generation:
    """Proposes cases until a file holds as many as are wanted.

    A passage that a case of the file has its evidence in is not asked of again before all others
    were, so that a second run goes on where the first was cut short.

    Args:
        path: The evalset's file; made where it is not there.
        documents: LlamaIndex's.
        source: What they are, for a comment.
        seed: Decides which passages come first.

    Raises:
        EvalSetError: if the file is there and does not load.
        UsageError: if the documents hold no passage that is long enough.
    """

    def __init__(self, path: Path, documents: Iterable[Any], *, source: str, seed: int) -> None:
        self.twins = Twins()
        self.made = Made()
        self._path = path
        self._source = source
        self._passages = in_order(passages_of(documents), seed)
        if not self._passages:
            raise UsageError(f"{source} holds no passage of a few sentences to ask about.")
        loaded = evalsets.load(path) if path.exists() else None
        cases = () if loaded is None else (*loaded.cases, *loaded.drafts)
        self._ids = {case.id for case in cases}
        self._queries = [case.query for case in cases]
        self._taken: dict[Passage, list[str]] = defaultdict(list)
        for case in cases:
            self._note(case)
        self.made.before = sum(bool(case.evidence) for case in cases)

    def missing(self, wanted: int) -> int:
        """Return how many cases the file lacks."""
        return max(0, wanted - self.made.before - self.made.new)

    def run(self, author: Author, wanted: int, advance: Callable[[bool], object]) -> None:
        """Ask until the file holds ``wanted`` cases with evidence, or there is no hope of it.

        Args:
            author: Who makes proposals.
            wanted: How many cases with evidence the file is to hold.
            advance: Called for every proposal, with whether it became a case.
        """
        work = self._work()
        failed = rejected = 0
        while (lacking := self.missing(wanted)) and self.made.stopped is None:
            batch = list(islice(work, author.reach(lacking)))
            if not batch:
                self.made.stopped = "The documents gave no more."
                return
            for offer in author.offers(batch, self._taken, lacking):
                if offer.over is not None:
                    self.made.stopped = offer.over
                    continue
                well = self._take(offer)
                advance(well)
                failed = failed + 1 if offer.failure else 0
                rejected = 0 if well else rejected + 1
                if not self.missing(wanted):
                    return
            if self.made.stopped is not None:
                return
            if failed >= _FAILURES:
                self.made.stopped = f"The model failed {failed} times in a row: {offer.failure}."
            elif rejected >= _REJECTED:
                self.made.stopped = f"The last {rejected} proposals were dropped."

    def _work(self) -> Iterator[Passage]:
        """Yield passages nobody asked of, then all again, for other questions."""
        yield from [passage for passage in self._passages if not self._taken[passage]]
        for _ in range(1, _ROUNDS):
            yield from self._passages

    def _take(self, offer: Offer) -> bool:
        reason = offer.rejected
        if offer.failure is not None:
            reason = f"the model failed: {offer.failure}"
        elif offer.proposal is not None:
            reason = self._kept(offer.proposal)
        if reason is not None:
            self.made.dropped[reason] += 1
        return reason is None

    def _kept(self, proposal: Proposal) -> str | None:
        """Write a proposal into the file; return why not where its question is asked already."""
        if self.twins.of(proposal.question, self._queries) is not None:
            return "near-duplicates of other questions"
        name = slug_of(proposal.question, self._ids)
        self._write(_values(name, proposal))
        self._ids.add(name)
        self._queries.append(proposal.question)
        for passage, _ in proposal.evidence:
            self._taken[passage].append(proposal.question)
        self.made.new += 1
        return None

    def _write(self, values: dict[str, Any]) -> None:
        if not self._path.exists():
            text = _head(self._source) + "cases:\n" + case_text(values, 2)
            evalsets.load(self._path, text=text.encode())
            write_atomically(self._path, text)
        elif _is_marked(self._path):
            add_case(self._path, values)
        else:
            add_case(self._path, {**values, "reviewed": False})

    def _note(self, case: Case) -> None:
        quotes = [(gold, quote) for gold, said in case.evidence.items() for quote in said]
        for gold, quote in quotes:
            for passage in self._passages:
                same = gold in (passage.gold, passage.document)
                if same and quote in " ".join(passage.text.split()):
                    self._taken[passage].append(case.query)


def _values(name: str, proposal: Proposal) -> dict[str, Any]:
    quotes: dict[str, list[str]] = defaultdict(list)
    for passage, quote in proposal.evidence:
        if quote not in quotes[passage.gold]:
            quotes[passage.gold].append(quote)
    return {
        "id": name,
        "query": proposal.question,
        "answer": proposal.answer,
        "relevant": list(dict.fromkeys(passage.document for passage, _ in proposal.evidence)),
        "evidence": {gold: q[0] if len(q) == 1 else q for gold, q in quotes.items()},
    }


def _head(source: str) -> str:
    return (
        f"# Proposed by pytest-rag generate from {' '.join(source.split())}. Not run yet.\n"
        "# Would somebody ask this? Does the evidence answer it? Is the answer right?\n"
        "# Then write `reviewed: true` below the case, or here once all are good.\n"
        "reviewed: false\n"
    )


def _is_marked(path: Path) -> bool:
    """Tell whether a file says of all its cases that nobody has reviewed them."""
    root = compose(path.read_text(encoding="utf-8-sig"), Problems(path))
    entries: Any = {} if root is None else root.value
    _, node = entries.get("reviewed", (None, None))
    return node is not None and node.value in ("false", "False", "FALSE")
