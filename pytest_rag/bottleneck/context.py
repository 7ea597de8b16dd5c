"""Tokens that never mattered: context no answer drew on, long prompts, documents never relevant."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_rag.bottleneck.model import Finding, Saves
from pytest_rag.bottleneck.runs import number
from pytest_rag.bottleneck.times import READS
from pytest_rag.metrics.used import about_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_rag.bottleneck.runs import Seen

__all__ = ["context_findings"]

_CONTEXT = 0.9
"""The part of a prompt that is taken to be context where texts were not measured."""

_DEAREST_OUT = 4
_LONG_PROMPT = 300
_SHORT_PROMPT = 200
_FEW = 5
_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for one question, in tokens as its provider counts them."""

    seen: Seen
    total: float
    unused: float
    nodes: tuple[float, ...]
    rest: float | None
    known: bool


def context_findings(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Yield what was read in vain, by runs in which a model read anything."""
    read = [found for each in seen if (found := _read(each)) is not None]
    total = sum(each.total for each in read)
    if total:
        yield from _unused(read, total, len(seen))
        yield from _prompt(read, total, len(seen))
    yield from _never_relevant(seen, read, total)


def _read(seen: Seen) -> _Read | None:
    """Return what a question read; None where no model read anything, or nobody knows."""
    nodes = seen.result.retrieved
    told = seen.input_tokens
    if told == 0 or not nodes or seen.result.answer is None:
        return None
    sizes = [number(node.get("tokens")) for node in nodes]
    used = [number(node.get("used")) for node in nodes]
    if None in sizes or None in used:
        return _by_gold(seen, nodes, told)
    lengths = [size or 0.0 for size in sizes]
    context = sum(lengths)
    scale = min(1.0, told / context) if told and context else 1.0
    drawn = sum(part or 0.0 for part in used) * scale
    rest = None if told is None else told - context * scale - about_tokens(seen.result.query)
    return _Read(
        seen=seen,
        total=context if told is None else told,
        unused=max(0.0, context * scale - drawn),
        nodes=tuple(length * scale for length in lengths),
        rest=rest,
        known=told is not None,
    )


def _by_gold(seen: Seen, nodes: Sequence[Mapping[str, Any]], told: float | None) -> _Read | None:
    """Take what is no gold for unused, where the texts were not measured."""
    if told is None or not seen.relevant:
        return None
    each = told * _CONTEXT / len(nodes)
    vain = sum(not seen.is_relevant(str(node.get("id"))) for node in nodes)
    sizes = (each,) * len(nodes)
    return _Read(seen=seen, total=told, unused=each * vain, nodes=sizes, rest=None, known=False)


def _unused(read: Sequence[_Read], total: float, runs: int) -> Iterator[Finding]:
    unused = sum(each.unused for each in read)
    if not unused:
        return
    measured = all(each.known for each in read)
    yield Finding(
        kind="context",
        what=f"{unused / runs:,.0f} of {total / runs:,.0f} input tokens a question are context "
        "that no answer drew on",
        knob="fewer or shorter nodes: top_k, chunk_size, a similarity cut-off, a reranker with "
        "top_n, context reduced to the sentences that matter",
        assumes="at best, all of it is left out: an answer draws on the fewest sentences that hold "
        "its words" + ("" if measured else "; sizes are estimated, or by gold alone"),
        share=unused / total,
        cases=_most(read, [each.unused for each in read]),
        estimated=not measured,
        saves=_saved(read, [each.unused for each in read], runs),
    )


def _prompt(read: Sequence[_Read], total: float, runs: int) -> Iterator[Finding]:
    """Yield a prompt that is long without its context."""
    over = []
    for each in read:
        calls = max(1, len(each.seen.spoken))
        rest = 0.0 if each.rest is None else each.rest
        long = rest / calls > _LONG_PROMPT + sum(each.nodes) / calls / 2
        over.append(rest - _SHORT_PROMPT * calls if long else 0.0)
    if not sum(over):
        return
    yield Finding(
        kind="prompt",
        what=f"{sum(over) / runs:,.0f} of {total / runs:,.0f} input tokens a question are neither "
        "context nor question",
        knob="the system prompt, templates, examples and the history; where it is the same every "
        "time, the provider's prompt cache",
        assumes=f"{_SHORT_PROMPT} tokens of it are enough for a call",
        share=sum(over) / total,
        estimated=True,
        saves=_saved(read, over, runs),
    )


def _saved(read: Sequence[_Read], tokens: Sequence[float], runs: int) -> Saves:
    """Return what tokens take, a question: their part of the model's time and of its cost."""
    time, costs = 0.0, []
    for each, part in zip(read, tokens, strict=True):
        said = each.seen.output_tokens
        if said is not None and each.total + said:
            waiting = max(0.0, each.seen.own.get("llm", 0.0) - each.seen.cpu.get("llm", 0.0))
            time += waiting * (part / READS) / (each.total / READS + said)
        calls = each.seen.spoken
        paid = [number(call.get("cost_usd")) for call in calls]
        if said is not None and paid and None not in paid:
            spent = sum(cost or 0.0 for cost in paid)
            costs.append(spent * part / (each.total + _DEAREST_OUT * said))
    usd = sum(costs) / runs or None
    return Saves(ms=time / runs or None, tokens=sum(tokens) / runs, usd=usd)


def _most(read: Sequence[_Read], tokens: Sequence[float]) -> tuple[str, ...]:
    """Return cases with at least twice the mean, most first."""
    middle = sum(tokens) / len(tokens)
    by_case: dict[str, float] = {}
    for each, part in zip(read, tokens, strict=True):
        by_case[each.seen.result.case] = max(part, by_case.get(each.seen.result.case, 0.0))
    order = sorted(by_case, key=lambda case: -by_case[case])
    return tuple(case for case in order[:_NAMED] if by_case[case] > 2 * middle)


def _never_relevant(seen: Sequence[Seen], read: Sequence[_Read], total: float) -> Iterator[Finding]:
    """Yield documents that were fetched and never gold, and the top_k that loses no gold."""
    runs = [each for each in seen if each.result.retrieved and each.relevant]
    if len({each.result.case for each in runs}) < _FEW:
        return
    fetched: Counter[str] = Counter()
    gold: set[str] = set()
    depth = deepest = 0
    for each in runs:
        ids = [str(node.get("id")) for node in each.result.retrieved or ()]
        deepest = max(deepest, len(ids))
        fetched.update(set(ids))
        found = [name for name in dict.fromkeys(ids) if each.is_relevant(name)]
        gold.update(found)
        depth = max([depth, *(ids.index(name) + 1 for name in found)])
    vain = {name: n for name, n in fetched.items() if name not in gold}
    if not vain:
        return
    yield _top_k(read, len(seen), total, _Depth(fetched, vain, depth, deepest))


@dataclass(frozen=True, slots=True)
class _Depth:
    fetched: Counter[str]
    vain: Mapping[str, int]
    depth: int
    deepest: int

    def told(self) -> str:
        """Say what was fetched in vain."""
        often = sorted(self.vain, key=lambda name: (-self.vain[name], name))[:_NAMED]
        times = sum(self.vain.values()) / sum(self.fetched.values())
        names = ", ".join(f"{name} ({self.vain[name]} times)" for name in often)
        return (
            f"{len(self.vain):,} of {len(self.fetched):,} documents fetched are gold of no case "
            f"that fetched them, {times:.0%} of all that was fetched; most often {names}"
        )


def _top_k(read: Sequence[_Read], runs: int, total: float, found: _Depth) -> Finding:
    """Return what a top_k would save that loses no gold."""
    cut = 0 < found.depth < found.deepest
    beyond = [min(each.unused, sum(each.nodes[found.depth :])) if cut else 0.0 for each in read]
    saved = _saved(read, beyond, runs) if total and sum(beyond) else None
    where = f"gold is never below place {found.depth} of {found.deepest}"
    return Finding(
        kind="top_k",
        what=f"{found.told()}; {where}" if cut else found.told(),
        knob=f"top_k {found.depth} instead of {found.deepest}"
        if cut
        else "metadata filters, a reranker, a similarity cut-off; gold is found down to the last "
        "place, so that a lower top_k would lose some",
        assumes="questions to come find their gold as high as these do"
        if cut
        else "nothing is known to be saved",
        share=sum(beyond) / total if total else None,
        overlaps="context" if saved else None,
        estimated=saved is not None and not all(each.known for each in read),
        saves=saved or Saves(),
    )
