"""Documents → proposed cases in a file, one after the other, each on disk as it is made."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from pytest_rag import evalset as evalsets
from pytest_rag.authoring.casefile import add_case, case_text, slug_of
from pytest_rag.authoring.flags import Twins
from pytest_rag.authoring.passages import in_order, passages_of
from pytest_rag.authoring.proposals import RejectedError, prompt_of, read_proposal
from pytest_rag.errors import UsageError
from pytest_rag.evalset.problems import Problems
from pytest_rag.evalset.yamlpos import compose
from pytest_rag.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_rag.authoring.passages import Passage
    from pytest_rag.authoring.proposals import Proposal
    from pytest_rag.authoring.scribe import Said, Scribe
    from pytest_rag.types import Case

__all__ = ["Generation", "Made"]

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

    def run(
        self, scribe: Scribe, wanted: int, at_a_time: int, advance: Callable[[bool], object]
    ) -> None:
        """Ask until the file holds ``wanted`` cases with evidence, or there is no hope of it.

        Args:
            scribe: Who is asked.
            wanted: How many cases with evidence the file is to hold.
            at_a_time: How many passages are asked of at the same time.
            advance: Called for every proposal, with whether it became a case.
        """
        work = self._work()
        failed = rejected = 0
        while self.missing(wanted) and self.made.stopped is None:
            batch = list(islice(work, min(at_a_time, self.missing(wanted))))
            if not batch:
                self.made.stopped = "The documents gave no more."
                return
            for passage, said in zip(batch, self._asked(scribe, batch), strict=True):
                if said.refused:
                    self.made.stopped = said.failure
                    continue
                well = self._take(said, passage)
                advance(well)
                failed = failed + 1 if said.failure else 0
                rejected = 0 if well else rejected + 1
            if failed >= _FAILURES:
                self.made.stopped = f"The model failed {failed} times in a row: {said.failure}."
            elif rejected >= _REJECTED:
                self.made.stopped = f"The last {rejected} proposals were dropped."

    def _work(self) -> Iterator[Passage]:
        """Yield passages nobody asked of, then all again, for other questions."""
        yield from [passage for passage in self._passages if not self._taken[passage]]
        for _ in range(1, _ROUNDS):
            yield from self._passages

    def _asked(self, scribe: Scribe, batch: Sequence[Passage]) -> list[Said]:
        return scribe.ask([(f"{p.gold}@{p.start}", prompt_of(p, self._taken[p])) for p in batch])

    def _take(self, said: Said, passage: Passage) -> bool:
        if said.failure is not None:
            self.made.dropped[f"the model failed: {said.failure}"] += 1
            return False
        try:
            proposal = read_proposal(said.text, passage)
            self._keep(proposal)
        except RejectedError as rejected:
            self.made.dropped[str(rejected)] += 1
            return False
        return True

    def _keep(self, proposal: Proposal) -> None:
        """Write a proposal into the file.

        Raises:
            RejectedError: if its question is asked already.
        """
        if self.twins.of(proposal.question, self._queries) is not None:
            raise RejectedError("near-duplicates of other questions")
        name = slug_of(proposal.question, self._ids)
        self._write(_values(name, proposal))
        self._ids.add(name)
        self._queries.append(proposal.question)
        self._taken[proposal.passage].append(proposal.question)
        self.made.new += 1

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
    return {
        "id": name,
        "query": proposal.question,
        "answer": proposal.answer,
        "relevant": [proposal.passage.document],
        "evidence": {proposal.passage.gold: proposal.evidence},
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
