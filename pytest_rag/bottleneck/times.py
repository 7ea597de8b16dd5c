"""Where the time goes: stages, the model, the client, what is slow now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_rag.bottleneck.model import Finding, Saves, StageRow
from pytest_rag.bottleneck.runs import OUTSIDE, mean, number, ordinary, part_ms
from pytest_rag.checks import duration
from pytest_rag.stats import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.bottleneck.runs import Seen
    from pytest_rag.records import Result

__all__ = ["READS", "errors_of", "queue_of", "slow_runs", "stage_findings", "stage_rows"]

READS = 100
"""Tokens that a model is taken to read in the time in which it writes one."""

_DEAREST_OUT = 4
"""What an output token is taken to cost, in input tokens."""

_FEW = 3
_CPU_SHARE = 0.05

_KNOBS = {
    "embed": (
        "cache embeddings of queries (CachedQueryEngine, --rag-cache), or a smaller or local model",
        "the query's embedding comes from a cache or costs next to nothing",
        1.0,
    ),
    "retrieve": (
        "top_k, the index (approximate search, filters that narrow it), where it is hosted",
        "searching takes half as long",
        0.5,
    ),
    "rerank": (
        "leave it out, or give it fewer nodes or a smaller model: pytest-rag ab tells the loss",
        "it is left out",
        1.0,
    ),
    "synthesize": (
        "the response mode (compact), templates, parsing, or the local reader",
        "it takes half as long",
        0.5,
    ),
    OUTSIDE: (
        "the code around LlamaIndex's components; a profiler tells which line",
        "it takes half as long",
        0.5,
    ),
}


def stage_rows(seen: Sequence[Seen]) -> tuple[StageRow, ...]:
    """Return the whole and its stages, those that take most first."""
    if not seen:
        return ()
    names = {stage for each in seen for stage in each.own}
    rows = [_row(seen, name) for name in names]
    rows.sort(key=lambda row: (-row.mean, row.name))
    latencies = [each.latency for each in seen]
    return (_figures("latency", latencies, len(seen)), *rows)


def _row(seen: Sequence[Seen], name: str) -> StageRow:
    runs = [each for each in seen if name in each.own]
    cpus = [each.cpu.get(name) for each in runs]
    known = mean(cpus)
    cpu = None if known is None else known * len(runs) / len(seen)
    waits = [max(0.0, e.own[name] - e.cpu[name]) for e in runs if name in e.cpu]
    waiting = sum(waits) / len(seen) if waits else None
    row = _figures(name, [each.own[name] for each in runs], len(seen))
    usd = None if name == OUTSIDE else _spent(seen, name)
    return StageRow(
        name=name,
        runs=row.runs,
        mean=row.mean,
        p50=row.p50,
        p95=row.p95,
        p99=row.p99,
        cpu=cpu,
        waiting=waiting,
        usd=usd,
    )


def _figures(name: str, values: Sequence[float], runs: int) -> StageRow:
    p50, p95, p99 = (quantile(values, q) for q in (0.5, 0.95, 0.99))
    whole = sum(values) / runs
    return StageRow(name=name, runs=len(values), mean=whole, p50=p50, p95=p95, p99=p99)


def _spent(seen: Sequence[Seen], stage: str) -> float | None:
    costs = [
        number(call.get("cost_usd"))
        for each in seen
        for call in each.result.calls
        if call.get("stage") == stage
    ]
    if not costs or None in costs:
        return None
    return sum(cost for cost in costs if cost is not None) / len(seen)


def stage_findings(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Yield a finding for each stage that takes time in ordinary runs."""
    runs = ordinary(seen)
    rows = {row.name: row for row in stage_rows(runs)}
    whole = rows.pop("latency", None)
    if whole is None or not whole.mean:
        return
    for name, row in rows.items():
        if name == "llm":
            yield from _model(runs, row, whole.mean)
        elif row.mean:
            yield _stage(runs, row, whole.mean)


def _stage(runs: Sequence[Seen], row: StageRow, whole: float) -> Finding:
    knob, assumes, part = _KNOBS[row.name]
    name = "outside all stages" if row.name == OUTSIDE else row.name
    parts = part_ms(runs, row.name)
    inside = f", most of it in {parts[0][0]}" if parts and parts[0][0] else ""
    usd = row.usd if row.name in ("embed", "rerank") else None
    return Finding(
        kind="outside" if row.name == OUTSIDE else "stage",
        stage=None if row.name == OUTSIDE else row.name,
        what=f"{name} takes {duration(row.mean)} of a question's {duration(whole)}"
        f"{inside}{_split(row)}",
        knob=knob,
        assumes=assumes,
        size_ms=row.mean,
        share=row.mean / whole,
        saves=Saves(ms=row.mean * part, usd=usd or None),
        cases=_worst(runs, row.name),
    )


def _split(row: StageRow) -> str:
    """Say whether it works or waits, where that is known."""
    if row.cpu is None or row.waiting is None or not row.mean:
        return ""
    busy = min(1.0, row.cpu / row.mean)
    if busy > 0.5:
        return f"; {busy:.0%} of it processor time"
    return f"; {1 - busy:.0%} of it waiting"


def _model(runs: Sequence[Seen], row: StageRow, whole: float) -> Iterator[Finding]:
    """Yield the wait for the model and the processor time of its client."""
    cpu = min(row.cpu or 0.0, row.mean)
    waiting = row.mean - cpu
    read, said = (
        mean(getattr(each, name) for each in runs) for name in ("input_tokens", "output_tokens")
    )
    calls = sum(len(each.spoken) for each in runs) / len(runs)
    tokens = "" if read is None or said is None else f": {read:,.0f} tokens in, {said:,.0f} out"
    saved_ms, usd = waiting / 2, None
    if read is not None and said is not None and read + said:
        saved_ms = waiting * (said / 2) / (read / READS + said)
        usd = _of_cost(row.usd, said / 2 * _DEAREST_OUT, read, said)
    if waiting:
        yield Finding(
            kind="model",
            stage="llm",
            what=f"waiting for the model takes {duration(waiting)} of a question's "
            f"{duration(whole)}, in {calls:.3g} call{'' if calls == 1 else 's'}{tokens}",
            knob="ask for shorter answers (max_tokens, the prompt), a faster model, fewer calls; "
            "streaming shows the answer sooner",
            assumes=f"answers half as long; a model reads {READS} tokens while it writes one",
            size_ms=waiting,
            share=waiting / whole,
            saves=Saves(ms=saved_ms, usd=usd),
            cases=_worst(runs, "llm"),
            estimated=True,
        )
    if cpu >= _CPU_SHARE * whole:
        yield Finding(
            kind="client",
            stage="llm",
            what=f"the client library of the model takes {duration(cpu)} of processor time a "
            f"question: one core answers {1000 / cpu:,.0f} questions a second at most",
            knob="more processes (-n, several workers); more concurrency in one does not help. A "
            "model that runs in this process counts here, too",
            assumes="the client takes half as long",
            size_ms=cpu,
            share=cpu / whole,
            saves=Saves(ms=cpu / 2),
        )


def _of_cost(usd: float | None, part: float, read: float, said: float) -> float | None:
    """Return what a part, in input tokens, is of a cost; output is taken to be dearer."""
    return None if not usd else usd * part / (read + _DEAREST_OUT * said)


def _worst(runs: Sequence[Seen], stage: str, most: int = 3) -> tuple[str, ...]:
    """Return the cases in which a stage takes at least twice its median, the longest first."""
    times = {each.result.case: each.own.get(stage, 0.0) for each in runs}
    if len(times) < _FEW:
        return ()
    middle = quantile(list(times.values()), 0.5)
    order = sorted(times, key=lambda case: -times[case])
    return tuple(case for case in order[:most] if times[case] > 2 * middle)


def slow_runs(seen: Sequence[Seen], concurrency: int) -> Iterator[Finding]:
    """Yield what runs that took over three times the median have in common."""
    usual = ordinary(seen)
    places = {each.place for each in usual}
    slow = [each for each in seen if each.place not in places]
    if not slow or not usual:
        return
    first = [each for each in slow if each.place < concurrency]
    if len(first) * 2 > len(slow):
        yield _excess(usual, slow, seen, cold=True)
    else:
        yield _excess(usual, slow, seen, cold=False)


def _excess(
    usual: Sequence[Seen], slow: Sequence[Seen], seen: Sequence[Seen], *, cold: bool
) -> Finding:
    typical = mean(each.latency for each in usual) or 0.0
    more = sum(each.latency - typical for each in slow)
    stages = {stage for each in slow for stage in each.own}
    grown = {
        stage: sum(e.own.get(stage, 0.0) for e in slow) / len(slow)
        - sum(e.own.get(stage, 0.0) for e in usual) / len(usual)
        for stage in stages
    }
    stage = max(sorted(grown), key=lambda each: grown[each], default=None)
    by = "" if stage is None else f", most of it in {'no stage' if stage == OUTSIDE else stage}"
    n = f"{len(slow)} of {len(seen)} runs"
    took = duration(mean(each.latency for each in slow) or 0.0)
    if cold:
        what = f"the first questions are slow: {n} take {took} and not {duration(typical)}{by}"
        knob = "ask a question when the service starts; pytest-rag run --warmup N"
        assumes = "a service that runs on feels it once, so it counts for nothing here"
    else:
        what = f"{n} take over three times the median, {took} and not {duration(typical)}{by}"
        knob = (
            "time limits and a second attempt, limits of rate, and what these cases have in common"
        )
        assumes = "these runs take as long as the others"
    order = sorted(slow, key=lambda each: -each.latency)
    return Finding(
        kind="slow_runs",
        stage=None if stage == OUTSIDE else stage,
        what=what,
        knob=knob,
        assumes=assumes,
        size_ms=more / len(seen),
        share=more / sum(each.latency for each in seen),
        saves=Saves(ms=None if cold else more / len(seen)),
        cases=tuple(dict.fromkeys(each.result.case for each in order))[:3],
    )


def queue_of(seen: Sequence[Seen], concurrency: int) -> Iterator[Finding]:
    """Yield how long questions waited before they were asked."""
    waited = mean(number(each.result.wait_ms) for each in seen)
    usual = mean(each.latency for each in seen) or 0.0
    if waited is None or waited < 1 or waited < usual / 10:
        return
    yield Finding(
        kind="queue",
        what=f"a question waits {duration(waited)} before it is asked, {concurrency} at a time",
        knob="concurrency and limits of rate in [tool.pytest-rag]; pytest-rag load tells how much "
        "the pipeline bears",
        assumes="it is the run that waits: no latency holds it, and a production with fewer "
        "questions at a time waits less",
        size_ms=waited,
    )


def errors_of(results: Sequence[Result], timed: Sequence[Seen]) -> Iterator[Finding]:
    """Yield what runs took and cost that came to no answer."""
    broke = [each for each in results if each.outcome == "error"]
    times = [ms for each in broke if (ms := number(each.latency_ms)) is not None]
    costs = [usd for each in broke if (usd := number(each.cost_usd)) is not None]
    if not sum(times) and not sum(costs):
        return
    asked = len(broke) + len(timed)
    took = mean(times)
    yield Finding(
        kind="errors",
        what=f"{len(broke)} of {asked} runs broke"
        + ("" if took is None else f", after {duration(took)} each"),
        knob="what they say (pytest-rag report), time limits, retries",
        assumes="nothing is asked in vain",
        size_ms=sum(times) / asked,
        saves=Saves(ms=sum(times) / asked, usd=sum(costs) / asked or None),
        cases=tuple(dict.fromkeys(each.case for each in broke))[:3],
    )
