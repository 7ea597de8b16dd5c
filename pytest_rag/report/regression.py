"""What the comparison with the baseline says, as lines for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_rag.checks import number
from pytest_rag.report.layout import Line, count, cut, duration, labelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_rag.changes import CaseChange, GoldChange
    from pytest_rag.compare import Comparison, MetricVerdict
    from pytest_rag.report.layout import Style
    from pytest_rag.verdict import Held

__all__ = ["evidence", "fall", "rank", "regression_lines", "seen_by"]

_CASES = 5
_IDS = 5
_INSTEAD = 3
_SIDES = {"regressed": "beyond ", "undecided": "beyond ", "possible": "within "}


def regression_lines(held: Held, *, width: int = 80, verbose: bool = False) -> Iterator[Line]:
    """Yield what was decided against the baseline; nothing where there is none.

    Args:
        held: Of an evalset.
        width: Columns of the terminal.
        verbose: Whether every case that moved is shown, not only the first.
    """
    if held.comparison is not None:
        yield from _comparison(held.comparison, width, verbose=verbose, accepted=held.accepted)
    if held.missing is not None:
        yield from labelled("baseline", held.missing, width, "bad")
    for note in held.notes:
        yield from labelled("baseline", note, width, "bold")


def _comparison(found: Comparison, width: int, *, verbose: bool, accepted: bool) -> Iterator[Line]:
    exact = ", deterministic" if found.deterministic else ""
    verb = "accepted over" if accepted else "against"
    yield from labelled("baseline", f"{verb} {found.bar}{exact}", width, "dim")
    wide = max((len(each.metric) for each in found.metrics), default=0)
    for each in found.metrics:
        yield Line(f"  {each.metric:<{max(wide, 12)}}  {fall(each)}", _style(each))
        calm = each.verdict in ("unchanged", "improved") and not each.bad and not verbose
        told = [seen_by(each)] if calm else [evidence(each), seen_by(each)]
        yield from labelled("", "; ".join(filter(None, told)), width, "dim") if any(told) else ()
    yield from _lists(found, width)
    shown = found.changes if verbose else _telling(found)
    if found.bad and _fates(found.changes) != _fates(shown):
        yield from _lost(found, width)
    for change in shown:
        yield from _change(change, width)
    if found.moved > len(shown):
        more = count(found.moved - len(shown), "more case" if shown else "case")
        yield from labelled("", f"{more} moved: see them with -v", width, "dim")


def _style(each: MetricVerdict) -> Style:
    if each.bad:
        return "bad"
    return "good" if each.verdict in ("unchanged", "improved") else "bold"


def fall(each: MetricVerdict) -> str:
    """Return a verdict with the means before and after: ``regressed  0.812 → 0.640 (-0.172)``."""
    if each.base is None or each.head is None:
        return f"{each.verdict}{', advisory' if each.advisory else ''}"
    change = each.head - each.base
    told = ", advisory" if each.advisory else ""
    pairs = f"{count(each.pairs, 'pair')}{told}"
    return f"{each.verdict}  {each.base:.3f} → {each.head:.3f} ({change:+.3f}), {pairs}"


def evidence(each: MetricVerdict) -> str:
    """Return what a verdict rests on: pairs, p, or why there is none."""
    if each.reason is not None:
        return each.reason
    moved = f"{count(each.worse, 'case')} worse, {each.better} better"
    chance = "" if each.p is None else f", p = {_p(each.p)}"
    needed = "" if each.needed is None else f"; {count(each.needed, 'case')} would decide"
    side = _SIDES.get(each.verdict, "")
    return f"{moved}{chance}, {side}max_drop {number(each.max_drop)}{needed}"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}"


def seen_by(each: MetricVerdict) -> str:
    """Return what the gate could have seen with these cases."""
    if each.base is None or each.detects == 0:
        return ""
    if each.detects is None:
        return "what it could have seen cannot be told: too few cases differ"
    return f"sees a drop of {each.detects:.3f} or more 80 % of the time"


def _lists(found: Comparison, width: int) -> Iterator[Line]:
    label_broke = "gold is no longer in the index, so the label broke, not the ranker"
    for words, ids, style in (
        ("passed before, fail now", found.broke, "bad"),
        ("passed before, fail now, in one run: `repeat` would tell", found.flipped, "bold"),
        (label_broke, found.unlabelled, "bad"),
        ("accepted before, broke now", found.unmeasured, "bad"),
        ("removed from the evalset", found.removed, "bold"),
        ("question, answer or gold changed, so not compared", found.edited, "bold"),
        ("not in the baseline yet", found.added, "dim"),
    ):
        if ids:
            yield from labelled("", f"{words}: {_ids(ids)}", width, _as_style(style))
    for text in found.weakened:
        yield from labelled("", f"weakened: {text}", width, "bold")
    for text in found.notes:
        yield from labelled("", text, width, "bold")


def _as_style(style: str) -> Style:
    return "bad" if style == "bad" else "bold" if style == "bold" else "dim"


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _IDS} more" if len(ids) > _IDS else ""
    return ", ".join(ids[:_IDS]) + more


# --- cases --------------------------------------------------------------------------------------


def _telling(found: Comparison) -> Sequence[CaseChange]:
    """Return the cases to show without being asked: those that explain a red verdict."""
    if not found.bad:
        return ()
    fell = [c for c in found.changes if c.fell]
    return (fell or found.changes)[:_CASES]


def _lost(found: Comparison, width: int) -> Iterator[Line]:
    """Yield how many gold documents went missing, by the stage that lost them."""
    fates = _fates(found.changes).most_common()
    told = ", ".join(f"{n:,} {fate}" for fate, n in fates)
    some = "" if found.moved == len(found.changes) else f", in {len(found.changes)} cases alone"
    yield from labelled("gold lost", f"{told}{some}", width, "bold")


def _fates(changes: Sequence[CaseChange]) -> Counter[str]:
    """Count the gold documents that were retrieved and are not any more, by what became of them."""
    return Counter(
        gold.lost or "not retrieved"
        for change in changes
        for gold in change.gold.values()
        if gold.before is not None and gold.now is None
    )


def _change(change: CaseChange, width: int) -> Iterator[Line]:
    head = "  ".join(
        f"{name}\xa0{before:.3f}\xa0→\xa0{now:.3f}" for name, (before, now) in change.scores.items()
    )
    broke = "  hard break" if change.broke else ""
    yield from labelled("case", f"{change.case}{broke}", width, "bold")
    if head:
        yield from labelled("", head, width)
    for name, gold in change.gold.items():
        yield from labelled("", f"{name}: {rank(gold)}", width)
    if change.instead:
        some = ", ".join(cut(name, 60) for name in change.instead[:_INSTEAD])
        yield from labelled("", f"instead: {some}", width)
    spent = [*_tokens(change), *_times(change)]
    if spent:
        yield from labelled("", " · ".join(spent), width, "dim")


def rank(gold: GoldChange) -> str:
    """Return where gold was and is, and which stage lost it: ``rank 2 → 14``."""
    before = "not retrieved" if gold.before is None else f"rank {gold.before}"
    if gold.now is not None:
        now = f"rank {gold.now}" if gold.before is None else f"{gold.now}"
        return f"{before} → {now}" + (f", {gold.lost}" if gold.lost else "")
    return f"{before} → {gold.lost or 'not retrieved'}"


def _tokens(change: CaseChange) -> Iterator[str]:
    for side, (before, now) in change.tokens.items():
        if before != now:
            yield f"{side} tokens {'unknown' if before is None else before} → {now or 'unknown'}"


def _times(change: CaseChange) -> Iterator[str]:
    for stage, (before, now) in change.times.items():
        if before is not None and now is not None:
            yield f"{stage} {duration(before)} → {duration(now)}"
