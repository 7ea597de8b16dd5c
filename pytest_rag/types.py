"""The words of pytest-rag as frozen dataclasses and Protocols; standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.trust import Trust

__all__ = [
    "AGGREGATES",
    "MODES",
    "OUTCOMES",
    "STAGES",
    "Aggregate",
    "Call",
    "Case",
    "CheckResult",
    "EvalSet",
    "GateLimit",
    "Limit",
    "Metric",
    "Mode",
    "Observation",
    "Origin",
    "Outcome",
    "PipelineSpec",
    "Retrieved",
    "Score",
    "SpanTime",
    "Stage",
    "Step",
    "Timing",
]

Stage = Literal["embed", "retrieve", "rerank", "synthesize", "llm"]
Outcome = Literal["passed", "failed", "error", "not_run"]
Origin = Literal["live", "cache", "cassette"]
Mode = Literal["live", "record", "replay"]
Aggregate = Literal["mean", "min", "p50", "p95", "p99", "total", "rate"]

MODES: tuple[Mode, ...] = ("live", "record", "replay")
STAGES: tuple[Stage, ...] = ("embed", "retrieve", "rerank", "synthesize", "llm")
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "error", "not_run")
AGGREGATES: tuple[Aggregate, ...] = ("mean", "min", "p50", "p95", "p99", "total", "rate")


# --- what a person writes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One check of a case: a metric or budget, what it is given, and the bounds on its value.

    Attributes:
        metric: The name as written: ``nDCG@10``, ``latency_ms``, ``contains``.
        min: The lowest value that passes, or None.
        max: The highest value that passes, or None.
        argument: What a metric such as ``contains`` compares with; None for all others.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    argument: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimit:
    """One limit on an aggregate of a whole evalset.

    Attributes:
        metric: The name without the aggregate: ``nDCG@10``, ``latency_ms``.
        aggregate: How the values of the cases become one; ``mean`` where nothing is written.
        min: The lowest aggregate that passes, or None.
        max: The highest aggregate that passes, or None.
        max_drop: The largest fall against the baseline that is tolerated, or None.
    """

    metric: str
    aggregate: Aggregate = "mean"
    min: float | None = None
    max: float | None = None
    max_drop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with what is known of the right answer.

    Attributes:
        id: Unique in its evalset.
        query: The question as it is put to the pipeline.
        answers: Acceptable reference answers; empty where none was written.
        relevant: Gold to grade, as written: a document id, or one with ``#section``,
            ``#page=3`` or ``#char=120,340`` behind it, or a glob.
        forbidden: Document ids or globs that must not be retrieved.
        answerable: False where a refusal is the right answer.
        tags: Words that become pytest marks.
        filters: Metadata filters handed to the retriever.
        checks: Limits of this case, the evalset's defaults merged in.
        repeat: How often the case is run.
        min_pass: How many of the repeats must pass.
        timeout_s: Seconds after which a run of the case is given up as an error.
        evidence: Literal quotes by gold id that show where the answer stands.
        reviewed: False for a proposal that no person has accepted: it is not run.
        path: The file the case stands in.
        line: 1-based line of the case in that file, or row of a table; 0 where it has none.
    """

    id: str
    query: str
    answers: tuple[str, ...] = ()
    relevant: Mapping[str, int] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()
    answerable: bool = True
    tags: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Limit, ...] = ()
    repeat: int = 1
    min_pass: int = 1
    timeout_s: float = 60.0
    evidence: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reviewed: bool = True
    path: Path | None = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """Where the pipeline of an evalset comes from: a factory, or the embedded local pipeline.

    Attributes:
        factory: Import path ``package.module:name``, or None for the local pipeline.
        params: Keyword arguments of the factory or of the local pipeline.
        params_from: The JSON file some of them stand in, as written, or None.
        line: 1-based line in the evalset's file; 0 where it has none.
    """

    factory: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    params_from: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSet:
    """A named set of cases, the pipeline they run against and the limits on the whole.

    Attributes:
        name: The ``evalset`` key, or the file's stem.
        path: The YAML file.
        cases: In the order of the file, those of ``cases_from`` after the inline ones.
        drafts: Cases that nobody has reviewed: they are neither run nor gated.
        filters: Metadata filters of its defaults, which every case has already.
        pipeline: None where the ``rag_pipeline`` fixture provides it.
        gate: Limits on aggregates.
        alpha: Chance of a false alarm the gate accepts, over all gated metrics together.
        mode: How its models are asked where nobody says on the command line.
        rubrics: Names of checks that are rubrics of the evalset's own.
        trust: What was found of its judges; None where nobody looked, and none may decide.
    """

    name: str
    path: Path
    cases: tuple[Case, ...]
    pipeline: PipelineSpec | None = None
    gate: tuple[GateLimit, ...] = ()
    alpha: float = 0.05
    mode: Mode = "live"
    rubrics: frozenset[str] = frozenset()
    drafts: tuple[Case, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust | None = None


# --- what is measured -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """One node that the pipeline handed to the answer, mapped to its document.

    Attributes:
        id: The document the node belongs to.
        node: The node's own id.
        score: What the retriever or reranker gave it, or None.
        text: The node's text.
        sections: GitHub slugs of the headings whose sections the node touches.
        pages: Page labels the node touches.
        span: Characters ``[start, end)`` of the document the node covers, or None.
        metadata: The node's metadata as the pipeline keeps it.
    """

    id: str
    node: str
    score: float | None = None
    text: str = ""
    sections: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    span: tuple[int, int] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a model.

    Attributes:
        stage: Where it was made: ``embed`` or ``llm``, or ``judge`` for a metric's own.
        model: The model's name as the component tells it.
        input_tokens: As the provider counted them, or None where it did not say.
        cached_input_tokens: The part of them the provider had cached, or None.
        cache_write_tokens: The part of them the provider put into its cache, or None.
        cache_write_1h_tokens: The part of those that it keeps for an hour, or None.
        output_tokens: As the provider counted them, or None.
        reasoning_tokens: The part of them that was thought and not said, or None.
        estimated: Whether the model's own tokenizer counted, since the provider did not say.
        tier: How the provider served it where that has its own price: ``batch``, ``flex``,
            ``priority``, …; None for the usual way.
        cost_usd: US dollars, or None where tokens or price are unknown.
        latency_ms: Milliseconds from request to the last token.
        origin: ``live``, ``cache`` or ``cassette``.
        ended: When it ended: UTC, ISO 8601; None where nobody noted it.
    """

    stage: str
    model: str
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False
    tier: str | None = None
    cost_usd: float | None = None
    latency_ms: float = 0.0
    origin: Origin = "live"
    ended: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanTime:
    """When a component of a class ran, inside ``depth`` others; milliseconds of the run."""

    depth: int
    stage: str
    part: str
    start_ms: float
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time of one run went, in milliseconds.

    Attributes:
        latency_ms: From the call of the pipeline to its answer: service time.
        wait_ms: Before that: for a slot, a rate limiter, a back-off.
        stages_ms: Inclusive time by stage; overlapping spans of one stage count once.
        self_ms: Time by stage without the stages inside it.
        cpu_ms: Processor time by stage, without the stages inside it; the rest was waiting.
        spans: When components ran, in the order they began; of many, those that took longest.
    """

    latency_ms: float
    wait_ms: float = 0.0
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    self_ms: Mapping[str, float] = field(default_factory=dict)
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[SpanTime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one retriever or postprocessor made of the documents.

    Attributes:
        stage: ``retrieve`` or ``rerank``, which is any postprocessor.
        part: Its class.
        documents: Ids of the documents it handed on, each once, best first.
        given: Those it was handed; empty for a retriever.
    """

    stage: Stage
    part: str
    documents: tuple[str, ...]
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one run of the pipeline on one question showed.

    Attributes:
        query: The question.
        answer: The answer's text; None for a retriever, which gives none.
        retrieved: Nodes in the pipeline's order; None where it does not tell what it retrieved.
        timing: Where the time went.
        calls: Calls of models, in the order they ended.
        documents: Ids of every document the index holds, or None where the pipeline cannot tell.
        cost_usd: US dollars; None where a call's cost is unknown, and ``cost_reason`` says why.
        cost_reason: Why the cost is unknown, or None.
        judge_cost_usd: Of the judges' calls among them, or None where one's cost is unknown.
        input_tokens: Sum over calls, or None where one of them is unknown.
        output_tokens: Sum over calls, or None where one of them is unknown.
        steps: What retrievers and postprocessors did, in order; empty for what is no LlamaIndex.
    """

    query: str
    answer: str | None
    retrieved: tuple[Retrieved, ...] | None
    timing: Timing
    calls: tuple[Call, ...] = ()
    documents: frozenset[str] | None = None
    cost_usd: float | None = None
    cost_reason: str | None = None
    judge_cost_usd: float | None = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a metric found: a finite number, or None and the reason why there is none.

    Attributes:
        value: Finite, or None.
        reason: One clause; None where there is a value and nothing to add.
        version: Of the metric's definition; a change of it makes scores incomparable.
        judge: The model that was asked; None where none is, empty where it cannot be told.
    """

    value: float | None
    reason: str | None = None
    version: str = "1"
    judge: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The verdict on one limit.

    Attributes:
        limit: What was asked.
        value: What was measured, or None.
        passed: True only where a value exists and lies within the limit.
        reason: Why it did not pass, in words for the terminal; None where it passed.
        advisory: Why it decides nothing, whether it passed or not; None where it decides.
    """

    limit: Limit
    value: float | None
    passed: bool
    reason: str | None = None
    advisory: str | None = None


class Metric(Protocol):
    """Computes one score of a run; a value whose ``name`` round-trips through the registry."""

    @property
    def name(self) -> str:
        """As people write it: ``nDCG@10``, ``token_f1``."""
        ...

    @property
    def version(self) -> str:
        """Of the definition; raised whenever that changes."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What a case must carry: of ``relevant``, ``answers``, ``argument``."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better; False for the few where less is."""
        ...

    def score(self, case: Case, observation: Observation, argument: Any = None) -> Score:
        """Compute the score; never raises for what a pipeline may legally return."""
        ...
