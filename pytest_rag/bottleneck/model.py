"""What a run record shows of where time and money went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = [
    "MS_A_TOKEN",
    "MS_A_USD",
    "Bottlenecks",
    "CaseRow",
    "Finding",
    "Kind",
    "Saves",
    "StageRow",
    "ranked",
]

Kind = Literal[
    "stage",
    "model",
    "client",
    "outside",
    "slow_runs",
    "context",
    "prompt",
    "top_k",
    "repeats",
    "errors",
    "queue",
]

MS_A_TOKEN = 0.1
"""What an input token counts for in milliseconds when findings are ranked."""

MS_A_USD = 100_000.0
"""What a US dollar counts for likewise: a cent is a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saves:
    """What a question would save; None where that is not known.

    Attributes:
        ms: Milliseconds.
        tokens: Input tokens.
        usd: US dollars.
    """

    ms: float | None = None
    tokens: float | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that takes time or money, and what would save it; amounts are a question's.

    Attributes:
        kind: What sort of thing it is.
        what: In one clause, with its size.
        knob: What to change.
        assumes: What the saving rests on.
        size_ms: Milliseconds it takes, or None where it is not about time.
        share: Of all latency, or of all input tokens; None where it is of neither.
        saves: What would be saved.
        stage: That it is about, or None.
        cases: Where it shows most, worst first; empty where it is everywhere.
        estimated: Whether a figure is derived and not measured.
        overlaps: Kind of the finding whose saving holds this one, or None.
    """

    kind: Kind
    what: str
    knob: str
    assumes: str
    size_ms: float | None = None
    share: float | None = None
    saves: Saves = field(default_factory=Saves)
    stage: str | None = None
    cases: tuple[str, ...] = ()
    estimated: bool = False
    overlaps: Kind | None = None

    @property
    def weight(self) -> float:
        """What it is ranked by: milliseconds, tokens and dollars brought to one scale."""
        if self.kind == "queue":  # which no question feels
            return 0.0
        time = max(self.saves.ms or 0.0, (self.saves.tokens or 0.0) * MS_A_TOKEN)
        whole = time + (self.saves.usd or 0.0) * MS_A_USD
        return whole if self.overlaps is None else whole * 0.9

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        values = {k: _rounded(v) for k, v in asdict(self).items()}
        saves = {k: _rounded(v) for k, v in values["saves"].items()}
        own = {"saves": saves, "cases": list(self.cases), "weight": round(self.weight, 3)}
        return {**values, **own}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """The own time of a stage, or of what lies outside all stages; milliseconds.

    Attributes:
        name: The stage; ``latency`` for the whole, ``outside`` for the rest.
        runs: In which it was seen.
        mean: Over all runs that were timed.
        p50: Median over the runs in which it was seen.
        p95: Likewise.
        p99: Likewise.
        cpu: Mean processor time, or None where it is not known.
        waiting: Mean own time without processor time, or None.
        usd: Cost of its calls a question; None where it makes none, or one's is unknown.
    """

    name: str
    runs: int
    mean: float
    p50: float
    p95: float
    p99: float
    cpu: float | None = None
    waiting: float | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One of the slowest or dearest cases; repeats averaged."""

    case: str
    latency_ms: float
    stage: str | None
    stage_ms: float | None
    input_tokens: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottlenecks:
    """One evalset of a run.

    Attributes:
        evalset: Its name.
        runs: How many results the record holds.
        timed: How many of them the times rest on.
        stages: The whole first, then stages by own time.
        slowest: The slowest cases.
        dearest: Those that cost most; empty where nothing cost anything.
        findings: What would save most first.
        notes: What the figures rest on, in whole sentences.
    """

    evalset: str
    runs: int
    timed: int
    stages: tuple[StageRow, ...]
    slowest: tuple[CaseRow, ...]
    dearest: tuple[CaseRow, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        rows = ("stages", "slowest", "dearest")
        return {
            "evalset": self.evalset,
            "runs": self.runs,
            "timed": self.timed,
            "findings": [each.to_dict() for each in self.findings],
            **{
                name: [
                    {k: _rounded(v) for k, v in asdict(row).items()} for row in getattr(self, name)
                ]
                for name in rows
            },
            "notes": list(self.notes),
        }


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings with those first that would save most; equal ones stay in their order."""
    return tuple(sorted(findings, key=lambda each: -each.weight))


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
