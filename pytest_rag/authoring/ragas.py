"""Passages → proposals of ragas' test-set generator: its graph, personas and synthesizers.

What ragas' ``TestsetGenerator`` does in one piece is done step by step, with the same parts: so a
passage or a case that fails is lost alone, every case is on disk as it is made, and gold is known
by the nodes it came from.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from contextlib import contextmanager
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate
from itertools import islice, zip_longest
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_rag.authoring.proposals import UNREADABLE, Offer, RejectedError, proposal_of
from pytest_rag.errors import JudgeError, message_of
from pytest_rag.metrics.ragas import load
from pytest_rag.metrics.ragasmodels import embedding_of, model_of

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from pytest_rag.authoring.passages import Passage
    from pytest_rag.authoring.scribe import Said, Scribe

__all__ = ["Ragas"]

T = TypeVar("T")
_FEWEST = 10
_IN_A_ROW = 5
_SHOWN = 200
_CONTEXT = (
    "Write query and answer in the language of the context. The query makes sense by itself: it "
    "names what it is about, does not speak of a context or segment, and does not hold its answer. "
    "The answer is short and says what the context says, in its words."
)


class Ragas:
    """Lets ragas propose cases: of one passage each, and of several that share something.

    Args:
        scribe: Who asks the models.
        at_a_time: How many questions may be on their way.
        tell: Called with what is being done.

    Raises:
        MissingExtraError: if ragas is not installed.
    """

    def __init__(self, scribe: Scribe, at_a_time: int, tell: Callable[[str], object]) -> None:
        load()
        self._pen = _Pen(scribe)
        self._llm = model_of(self._pen)
        self._at_a_time = at_a_time
        self._tell = tell
        self._personas: list[Any] = []
        self._rejected: list[str] = []

    def reach(self, lacking: int) -> int:
        """Return a passage a case, and never too few to have something in common."""
        return max(_FEWEST, lacking)

    def offers(
        self,
        batch: Sequence[Passage],
        taken: Mapping[Passage, Sequence[str]],  # noqa: ARG002
        lacking: int,
    ) -> Iterator[Offer]:
        """Yield what ragas makes of passages, as it is made."""
        graph, passages = _graph_of(batch)
        self._tell(f"ragas reads {len(passages):,} of the passages")
        with _quiet():
            plan = iter(self._planned(graph, lacking))
        yield from self._troubles()
        well = False
        while some := list(islice(plan, self._at_a_time)):
            with _quiet():
                made = self._run(kind.generate_sample(scenario) for kind, scenario in some)
            for (_, scenario), sample in zip(some, made, strict=True):
                gold = [p for node in scenario.nodes for p in passages[node.id]]
                for offer in self._read(sample, gold):
                    well = well or offer.proposal is not None
                    yield offer
            yield from self._troubles()
        if self._pen.halted is not None:
            yield Offer(over=self._pen.farewell)
        elif not well:
            yield Offer(over="ragas made no case of the passages it read.")

    def _planned(self, graph: Any, lacking: int) -> list[tuple[Any, Any]]:
        """Return synthesizers with scenarios, the kinds in turn; notes what fails."""
        from ragas.testset.synthesizers import default_query_distribution

        try:
            self._grow(graph)
            self._meet(graph)
            kinds = [kind for kind, _ in default_query_distribution(self._llm, graph, _CONTEXT)]
        except Exception as error:  # noqa: BLE001 - foreign code, which may raise anything
            self._note([error])
            return []
        each = ceil(lacking / len(kinds))
        found = self._run(k.generate_scenarios(each, graph, self._personas) for k in kinds)
        rows = [
            [(kind, scenario) for scenario in scenarios[:each]]
            for kind, scenarios in zip(kinds, self._note(found), strict=True)
            if scenarios is not None
        ]
        return [pair for turn in zip_longest(*rows) for pair in turn if pair is not None]

    def _grow(self, graph: Any) -> None:
        """Let ragas find out what passages hold and share; those it cannot are left out.

        Raises:
            RejectedError: if none is left.
        """
        from ragas.testset.transforms import default_transforms_for_prechunked

        steps: Any = default_transforms_for_prechunked(self._llm, embedding_of(self._pen))
        for step in steps:
            for part in getattr(step, "transformations", [step]):
                self._apply(part, graph)
                if not graph.nodes:
                    raise RejectedError("nothing is left of these passages")

    def _apply(self, part: Any, graph: Any) -> None:
        from ragas.testset.transforms.base import Extractor

        if hasattr(part, "tokenizer"):
            part.tokenizer = _whole()
        before = list(graph.nodes)
        self._note(self._run(part.generate_execution_plan(graph)))
        if isinstance(part, Extractor):
            name = part.property_name  # type: ignore[attr-defined]
            for node in [node for node in graph.nodes if node.get_property(name) is None]:
                graph.remove_node(node)
        else:
            unwanted = len(before) - len(graph.nodes)
            self._rejected += ["the model found nothing worth asking"] * unwanted

    def _meet(self, graph: Any) -> None:
        """Let ragas think of people who would ask; the same ones for all passages."""
        from ragas.testset.persona import generate_personas_from_kg

        if not self._personas:
            self._personas = generate_personas_from_kg(graph, self._llm)

    def _read(self, sample: Any, gold: Sequence[Passage]) -> Iterator[Offer]:
        [known] = self._note([sample])
        if known is None:
            return
        try:
            yield Offer(proposal=proposal_of(known.user_input, known.reference, gold))
        except RejectedError as rejected:
            yield Offer(rejected=str(rejected))

    def _troubles(self) -> Iterator[Offer]:
        """Yield what went wrong since it was last asked for."""
        said, self._rejected = self._rejected, []
        yield from (Offer(rejected=reason) for reason in said)
        yield from self._pen.troubles()

    def _note(self, outcomes: Iterable[Any]) -> list[Any]:
        """Return outcomes with None for what broke, which is remembered."""
        kept = []
        for each in outcomes:
            broken = isinstance(each, BaseException)
            kept.append(None if broken else each)
            if broken and not isinstance(each, _SilentError):
                self._rejected.append(_reason(each))
        return kept

    def _run(self, coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Return what coroutines of ragas return or raise, a few of them at the same time."""
        return asyncio.run(_gathered(coroutines, self._at_a_time))


def _reason(error: BaseException) -> str:
    if isinstance(error, RejectedError):
        return str(error)
    if isinstance(error, JudgeError):
        return UNREADABLE
    said = " ".join(f"{type(error).__name__}: {message_of(error)}".split())
    return f"ragas failed: {said if len(said) <= _SHOWN else said[: _SHOWN - 1] + '…'}"


async def _gathered(coroutines: Iterable[Coroutine[Any, Any, Any]], at_a_time: int) -> list[Any]:
    gate, begun = asyncio.Semaphore(at_a_time), list(coroutines)

    async def one(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with gate:
            return await coroutine

    try:
        return await asyncio.gather(*map(one, begun), return_exceptions=True)
    finally:
        for coroutine in begun:
            if getcoroutinestate(coroutine) == CORO_CREATED:  # interrupted before its turn
                coroutine.close()


# --- what ragas is given ----------------------------------------------------------------------


class _SilentError(JudgeError):
    """The model was not asked, or failed: who asks for troubles is told."""


class _Pen:
    """The scribe as ragas' models want it; after a refusal or five failures it asks no more.

    Attributes:
        halted: Why it asks no more, or None.
    """

    def __init__(self, scribe: Scribe) -> None:
        self.halted: str | None = None
        self._scribe = scribe
        self._failures: list[str] = []
        self._in_a_row = 0
        self._refusal: str | None = None

    async def ask(self, prompt: str) -> str:
        """Return what the language model answers."""
        return await self._told(partial(self._scribe.told, "ragas", prompt))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector a text."""
        return await self._told(partial(self._scribe.embedded, "ragas", texts))

    def embed_now(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector a text, to a thread without a loop."""
        return asyncio.run(self.embed(texts))

    @property
    def farewell(self) -> str:
        """Why it asks no more, in a sentence."""
        return self._refusal or f"The model failed {_IN_A_ROW} times in a row: {self.halted}."

    def troubles(self) -> Iterator[Offer]:
        """Yield what failed since it was last asked for."""
        said, self._failures = self._failures, []
        yield from (Offer(failure=failure) for failure in said)

    async def _told(self, ask: Callable[[], Awaitable[Said[T]]]) -> T:
        if self.halted is not None:
            raise _SilentError(self.halted)
        said = await ask()
        if said.failure is None and said.value is not None:
            self._in_a_row = 0
            return said.value
        failure = said.failure or "it said nothing"
        if said.refused:
            self.halted = self._refusal = failure
        else:
            self._failures.append(failure)
            self._in_a_row += 1
            if self._in_a_row >= _IN_A_ROW:
                self.halted = failure
        raise _SilentError(failure)


def _graph_of(batch: Sequence[Passage]) -> tuple[Any, dict[Any, list[Passage]]]:
    """Return a graph of passages, and by the id of a node the passages whose text it is."""
    from ragas.testset.graph import KnowledgeGraph, Node, NodeType

    by_text: dict[str, list[Passage]] = {}
    for passage in dict.fromkeys(batch):
        by_text.setdefault(passage.text.strip(), []).append(passage)
    nodes = [Node(type=NodeType.CHUNK, properties={"page_content": text}) for text in by_text]
    known = dict(zip((node.id for node in nodes), by_text.values(), strict=True))
    return KnowledgeGraph(nodes=nodes), known


def _whole() -> Any:
    """Return a tokenizer of characters: ragas' own is fetched from the network, to cut long texts.

    Passages are shorter than what it would cut.
    """
    from ragas.tokenizers import BaseTokenizer

    class Characters(BaseTokenizer):
        def encode(self, text: str) -> list[int]:
            return [ord(c) for c in text]

        def decode(self, tokens: list[int]) -> str:
            return "".join(map(chr, tokens))

    return Characters()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ragas' own progress bars, log lines and warnings from the terminal."""
    from ragas import utils
    from ragas.testset import graph

    modules: tuple[Any, ...] = (utils, graph)
    log, bars = logging.getLogger("ragas"), [module.tqdm for module in modules]
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    for module in modules:
        module.tqdm = partial(_no_bar, module.tqdm)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        for module, bar in zip(modules, bars, strict=True):
            module.tqdm = bar


def _no_bar(bar: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return bar(*args, **{**kwargs, "disable": True})
