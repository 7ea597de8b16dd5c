"""Results of an evalset, its limits and its bar → whether the build is green, and what to write."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_rag import baseline as baselines
from pytest_rag.calibration import Calibrations
from pytest_rag.compare import compare
from pytest_rag.correction import corrected_means
from pytest_rag.gate import advisory, judge_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_rag.baseline import Baseline, Measured
    from pytest_rag.baseline.source import Bar, Bars
    from pytest_rag.compare import Comparison
    from pytest_rag.gate import GateResult
    from pytest_rag.records import Result
    from pytest_rag.stats.prediction import Powered
    from pytest_rag.trust import Trust
    from pytest_rag.types import EvalSet, GateLimit

__all__ = ["Asked", "Held", "Pending", "Update", "hold", "hold_all", "write_all"]

Update = Literal["new", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A baseline that is to be written once everything has been decided.

    Attributes:
        file: Where.
        baseline: What.
        cases: How many cases the run brought.
        first: Whether there was no baseline before.
    """

    file: Path
    baseline: Baseline
    cases: int
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was decided of an evalset.

    Attributes:
        evalset: Its name.
        gates: Verdicts on the limits of the whole.
        comparison: With the bar; None where there is none, or none was needed.
        pending: A baseline to write, or None.
        missing: Why there is no bar, where one is needed; None else.
        notes: What a person should know of the baseline, in whole sentences.
        accepted: Whether the comparison is shown but does not count, since it was accepted.
        corrected: By metric, the mean that people would give, where human labels tell.
    """

    evalset: str
    gates: tuple[GateResult, ...] = ()
    comparison: Comparison | None = None
    pending: Pending | None = None
    missing: str | None = None
    notes: tuple[str, ...] = ()
    accepted: bool = False
    corrected: Mapping[str, Powered] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether the build must be red."""
        worse = self.comparison is not None and self.comparison.bad and not self.accepted
        broken = any(gate.bad for gate in self.gates)
        return worse or broken or self.missing is not None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what makes it red, a few words each."""
        limits = tuple(f"{gate.name} {gate.reason}" for gate in self.gates if gate.bad)
        missing = () if self.missing is None else ("no baseline",)
        if self.comparison is None or self.accepted:
            return (*limits, *missing)
        return (*limits, *self.comparison.reasons, *missing)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON, for the record."""
        comparison = None if self.comparison is None else self.comparison.to_dict()
        keys = ("name", "value", "passed", "reason", "n", "advisory")
        gates = [{key: getattr(gate, key) for key in keys} for gate in self.gates]
        return {
            "gates": gates,
            "comparison": comparison,
            "missing": self.missing,
            "bad": self.bad,
            "corrected": {name: asdict(mean) for name, mean in self.corrected.items()},
        }


def hold_all(
    evalsets: Mapping[str, EvalSet],
    results: Iterable[Result],
    facts: Mapping[str, Mapping[str, Any]],
    bars: Bars,
    *,
    min_pass: Mapping[tuple[str, str], int],
    update: Update | None = None,
    cut_short: bool = False,
    shard: str | None = None,
) -> dict[str, Held]:
    """Decide over every evalset of a run; nothing is written.

    Args:
        evalsets: By name, with all cases of their files.
        results: Of the run.
        facts: What the record's header says of each evalset.
        bars: Where the bars are found.
        min_pass: By evalset and case, how many repeats must pass.
        update: Whether what was measured is accepted.
        cut_short: Whether the run was interrupted, or stopped by ``-x``.
        shard: Which part of the cases the run is, as ``1/3``; None where it is no shard.

    Raises:
        BaselineError: if a bar cannot be used.
    """
    of: dict[str, list[Result]] = {}
    for result in results:
        of.setdefault(result.evalset, []).append(result)
    held = {}
    for name, some in of.items():
        evalset = evalsets.get(name)
        if evalset is None:
            continue
        seen = {result.case for result in some}
        asked = Asked(
            name=name,
            file=evalset.path,
            gate=evalset.gate,
            alpha=evalset.alpha,
            declared=[case.id for case in evalset.cases],
            min_pass={case: k for (known, case), k in min_pass.items() if known == name},
            whole=not (cut_short or shard) and all(case.id in seen for case in evalset.cases),
            cut_short=cut_short,
            shard=shard,
            trust=evalset.trust,
        )
        held[name] = hold(asked, some, facts.get(name, {}), bars, update)
    return held


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of an evalset is to be judged.

    Attributes:
        name: Of the evalset.
        file: Where it stands.
        gate: Limits on the whole.
        alpha: Chance of a false alarm over all gated metrics.
        declared: Ids of all its cases; None where they are not known.
        min_pass: By case, how many repeats must pass.
        whole: Whether every declared case was run to the end, by this run alone.
        cut_short: Whether the run was interrupted, or stopped by ``-x``.
        size: How many cases it has, where their ids are not known.
        shard: Which part of the cases was run, as ``1/3``. Of a shard only the cases are judged,
            each by itself: what is limited over the whole set waits for the others.
        trust: What was found of its judges; None where nobody looked, and none decides.
    """

    name: str
    file: Path
    gate: Sequence[GateLimit]
    alpha: float
    declared: Sequence[str] | None
    min_pass: Mapping[str, int]
    whole: bool
    cut_short: bool = False
    size: int | None = None
    shard: str | None = None
    trust: Trust | None = None

    @property
    def compared(self) -> Sequence[GateLimit]:
        """The limits that a comparison with the bar decides."""
        return () if self.shard else [limit for limit in self.gate if limit.max_drop is not None]


def hold(
    asked: Asked,
    results: Sequence[Result],
    facts: Mapping[str, Any],
    bars: Bars,
    update: Update | None = None,
) -> Held:
    """Decide over an evalset; nothing is written.

    Args:
        asked: What is to be judged.
        results: Of this evalset alone.
        facts: What the record's header says of it.
        bars: Where the bar is found.
        update: Whether what was measured is accepted.

    Raises:
        BaselineError: if the bar cannot be used.
    """
    advice = advisory(asked.gate, results, asked.trust or Calibrations(evalset=asked.name))
    held = Held(
        evalset=asked.name,
        gates=_limits(asked, results, advice),
        corrected=corrected_means(results, asked.trust),
    )
    if bars.option == "none":
        return held
    bar = bars.of(asked.file, asked.name)
    if not (asked.compared or bar.baseline is not None or bar.asked or update):
        return held
    measured = baselines.measure(asked.name, results, facts)
    pending, missing, notes = _writing(asked, measured, bar, bars, update)
    if missing is not None and all(limit.metric in advice for limit in asked.compared):
        notes.append(missing)
        missing = None
    return replace(
        held,
        comparison=_compared(asked, measured, bar, advice),
        pending=pending,
        missing=missing,
        notes=tuple(notes),
        accepted=pending is not None and update == "all",
    )


def _limits(
    asked: Asked, results: Sequence[Result], advice: Mapping[str, str]
) -> tuple[GateResult, ...]:
    """Judge the limits that need no bar."""
    return judge_limits(
        asked.gate,
        results,
        declared=asked.size if asked.declared is None else len(asked.declared),
        min_pass=asked.min_pass,
        shard=asked.shard,
        advice=advice,
    )


def _compared(
    asked: Asked, measured: Measured, bar: Bar, advice: Mapping[str, str]
) -> Comparison | None:
    """Compare with the bar; None where there is none."""
    if bar.baseline is None:
        return None
    return compare(
        bar.baseline,
        measured,
        asked.compared,
        alpha=asked.alpha,
        declared=asked.declared,
        bar=bar.told,
        before=bar.times,
        advice=advice,
    )


def _writing(
    asked: Asked, measured: Measured, bar: Bar, bars: Bars, update: Update | None
) -> tuple[Pending | None, str | None, list[str]]:
    """Return what to write, why a needed bar is missing, and what to say of both."""
    notes = _edited(bar, update)
    if asked.shard is not None:
        notes.append(f"Shard {asked.shard}: the set is judged, and its baseline written, by merge.")
        return None, None, notes
    if update is not None:
        if asked.cut_short:
            notes.append(f"{asked.name}: nothing was accepted, since the run was cut short.")
            return None, None, notes
        return _pending(asked, measured, bar.file, update), None, notes
    if bar.baseline is not None or bar.edited:
        return None, None, notes
    named = bar.told
    if bar.asked:
        return None, f"{asked.name} has no baseline: {named} does not hold one.", notes
    if bars.ci is not None:
        accept = f"pytest {_near(asked.file)} --rag-update"
        missing = (
            f"{asked.name} has no baseline: {named} is not there, and nothing is written while "
            f"{bars.ci} is set. On your machine: {accept}, and commit the file."
        )
        return None, missing, notes
    why = _not_whole(asked, measured)
    if why is not None:
        notes.append(f"{asked.name} has no baseline yet, and none was written: {why}.")
        return None, None, notes
    return _pending(asked, measured, bar.file, "all"), None, notes


def _edited(bar: Bar, update: Update | None) -> list[str]:
    if not bar.edited or update is not None:
        return []
    if bar.baseline is None:
        return [f"{bar.told} does not exist: the baseline in this change is new, and no bar yet."]
    verb = "edits" if bar.file.exists() else "deletes"
    return [f"This change {verb} {bar.file.name}; the bar is {bar.told}, as it was."]


def _not_whole(asked: Asked, measured: Measured) -> str | None:
    if asked.cut_short:
        return "the run was cut short"
    if not asked.whole:
        return "only a part of its cases ran"
    if measured.broken:
        return f"{len(measured.broken)} of its cases could not be measured"
    return None


def _pending(asked: Asked, measured: Measured, file: Path, update: Update) -> Pending | None:
    """Return the baseline with what was measured; the file in the tree is what is added to."""
    if not measured.baseline.cases:
        return None
    old = baselines.read(file)
    new = baselines.accept(
        old,
        measured.baseline,
        only_new=update == "new",
        whole=asked.whole and not measured.broken,
    )
    return Pending(file=file, baseline=new, cases=len(measured.baseline.cases), first=old is None)


def write_all(held: Sequence[Held]) -> list[str]:
    """Write what is pending, each file in one step, and return what to say of it."""
    said = []
    for each in held:
        pending = each.pending
        if pending is None:
            continue
        changed = baselines.write(pending.file, pending.baseline)
        name = _near(pending.file)
        if pending.first:
            said.append(f"baseline written: {name} ({pending.cases} cases). Commit it.")
        elif changed:
            said.append(f"baseline updated: {name}. Review it and commit it.")
        else:
            said.append(f"baseline unchanged: {name}")
    return said


def _near(path: Path) -> Path:
    """Return a path as people type it: from here, where it lies below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
