"""What the `rag` fixture gives a Python test."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag import calibration, metrics
from pytest_rag.checks import BUDGETS, check, forbidden
from pytest_rag.costs.admission import admitted
from pytest_rag.costs.purse import purse_of, settled
from pytest_rag.costs.running import values_of
from pytest_rag.errors import BudgetError, PipelineError, UsageError, message_of
from pytest_rag.evalset import limits
from pytest_rag.evaluation import building, jobs_of
from pytest_rag.judge import broken, judge
from pytest_rag.judging import awaited
from pytest_rag.observe import Attempt, ask, read, timed_out
from pytest_rag.pipelines.adapters import adapt
from pytest_rag.pipelines.factory import key_missing
from pytest_rag.plugin.markers import budget_of
from pytest_rag.redact import redact
from pytest_rag.replay.ceiling import paid_by
from pytest_rag.types import Case, EvalSet, Limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_rag.config import Config
    from pytest_rag.costs.budget import Reservation
    from pytest_rag.judge import Job
    from pytest_rag.judging import Judged
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.plugin.markers import Parameter
    from pytest_rag.plugin.session import RagSession
    from pytest_rag.records import Result
    from pytest_rag.trust import Trust
    from pytest_rag.types import CheckResult, Metric, Observation, Score

__all__ = ["RAG", "Rag"]

RAG: pytest.StashKey[Rag] = pytest.StashKey()
"""What the `rag` fixture of a test has asked."""


@dataclass(slots=True)
class _Asked:
    case: Case
    seen: Observation
    asked: list[Judged] = field(default_factory=list)
    judged: dict[tuple[str, str], Score] = field(default_factory=dict)
    refused: BudgetError | None = None

    def billed(self) -> Observation:
        """Return what was seen with the calls of judges behind the pipeline's own."""
        return functools.reduce(lambda seen, each: each.seen(seen), self.asked, self.seen)


class Rag:
    """Asks the pipeline questions and holds the answers to limits.

    Attributes:
        case: The case of a test marked ``rag(evalset=…)``; None without.
        observations: Everything observed so far in this test.
    """

    def __init__(
        self,
        request: pytest.FixtureRequest,
        session: RagSession,
        config: Config,
        parameter: Parameter | None,
    ) -> None:
        self.case = None if parameter is None else parameter.case
        self._parameter = parameter
        self._request = request
        self._session = session
        self._config = config
        self._asked: list[_Asked] = []
        self._broke: list[Result] = []
        self._pipeline: Pipeline | None = None
        request.node.stash[RAG] = self

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything observed so far in this test, in order."""
        return tuple(asked.seen for asked in self._asked)

    def ask(
        self,
        query: str | None = None,
        *,
        relevant: Mapping[str, int] | Sequence[str] = (),
        answer: str | Sequence[str] = (),
        forbidden: Sequence[str] = (),
        filters: Mapping[str, Any] | None = None,
        answerable: bool = True,
    ) -> Observation:
        """Ask the pipeline one question.

        Args:
            query: The question; the marked test's case where it is left out.
            relevant: Gold documents, with grades or without.
            answer: Reference answers.
            forbidden: Documents or globs that must not be retrieved.
            filters: Metadata filters for the retriever.
            answerable: False where a refusal is right.

        Raises:
            pytest.UsageError: if there is neither a query nor a case.
            Exception: whatever the pipeline raises.
        """
        if query is None and self.case is not None:
            case = self.case
        elif query is None:
            raise pytest.UsageError(
                "rag.ask() needs a query, or a test marked @pytest.mark.rag(evalset=…)."
            )
        else:
            case = Case(
                id=f"{self._request.node.name}-{len(self._asked) + 1}",
                query=query,
                answers=(answer,) if isinstance(answer, str) else tuple(answer),
                relevant=_graded(relevant),
                forbidden=tuple(forbidden),
                filters=filters or {},
                answerable=answerable,
            )
        return self._observe(case)

    __call__ = ask

    def check(
        self,
        observation: Observation | Mapping[str, Any] | None = None,
        checks: Mapping[str, Any] | None = None,
        /,
        **more: Any,
    ) -> dict[str, float | None]:
        """Hold an observation to limits; the case's own and those given, as in YAML.

        ``rag.check(seen, {"nDCG@10": 0.8, "contains": "five"}, latency_ms=2000)``

        Args:
            observation: What to check; the last one where it is left out, as it may be also
                where limits follow.
            checks: Limits by metric name.
            more: Further limits whose names are Python names.

        Returns:
            The value of every limit that was checked.

        Raises:
            AssertionError: if one does not hold, with all that do not.
            pytest.UsageError: for an unknown metric or a value of the wrong kind.
        """
        if isinstance(observation, Mapping):
            checks, observation = {**observation, **(checks or {})}, None
        __tracebackhide__ = True
        asked = self._find(observation)
        given = self._limits({**(checks or {}), **more})
        names = {limit.metric for limit in given}
        kept = tuple(limit for limit in asked.case.checks if limit.metric not in names)
        asked.case = replace(asked.case, checks=(*kept, *given))
        verdicts = self._verdicts(asked)
        _skip_refused(asked)
        _raise(asked, verdicts)
        return {verdict.limit.metric: verdict.value for verdict in verdicts}

    def score(self, metric: str, observation: Observation | None = None) -> float | None:
        """Return one score of an observation, by default the last; None if it has none.

        Raises:
            pytest.UsageError: for an unknown metric.
        """
        asked = self._find(observation)
        limit = self._limits({metric: 0})[0]
        found = self._scores([(metrics.get(limit.metric), None)], asked)[metric].value
        _skip_refused(asked)
        return found

    # --- for the plugin ---

    def hold(self) -> None:
        """Hold every observation to the test's budget.

        Raises:
            AssertionError: if one breaks it.
        """
        __tracebackhide__ = True
        ceilings = [Limit(metric=n, max=float(v)) for n, v in budget_of(self._request.node).items()]
        for asked in self._asked if ceilings else ():
            asked.case = replace(asked.case, checks=(*asked.case.checks, *ceilings))
            _raise(asked, check(ceilings, {}, asked.seen))

    def take(self, raised: pytest.ExceptionInfo[BaseException] | None) -> list[Result]:
        """Return the record of everything asked, once; what the test itself found wrong counts.

        Args:
            raised: What ended the test, or None.
        """
        asked, self._asked = self._asked, []
        broke, self._broke = self._broke, []
        results = [
            *(self._result(self._job(each.case, n), each) for n, each in enumerate(asked)),
            *broke,
        ]
        if raised is None or isinstance(raised.value, pytest.skip.Exception) or broke:
            return results
        message = redact(message_of(raised.value))
        error = {"type": raised.typename, "message": message, "traceback": ""}
        return [
            replace(r, outcome="failed", error=error) if r.outcome == "passed" else r
            for r in results
        ]

    # --- inside ---

    def _result(self, job: Job, asked: _Asked) -> Result:
        scores = self._scores(job.metrics, asked)
        result = judge(job, asked.billed(), scores)
        if asked.refused is None:
            return result
        error = {"type": "BudgetError", "message": str(asked.refused), "traceback": ""}
        return replace(result, outcome="not_run", error=error)

    def _scores(self, wanted: Sequence[tuple[Metric, Any]], asked: _Asked) -> Mapping[str, Score]:
        """Compute metrics of an answer; a judge is asked only once for each."""
        new = [(m, a) for m, a in awaited(wanted) if (m.name, repr(a)) not in asked.judged]
        if new:
            runner = self._session.runner(self._config)
            pipeline = self._pipeline
            pacer = None if pipeline is None else pipeline.pacer
            tape = None if pipeline is None else pipeline.tape
            with settled(runner.budget, self._config, pacer) as purse, paid_by(purse):
                asking = runner.bench.judge(new, asked.case, asked.seen, tape=tape)
                found = runner.loop.submit(asking).result()
            if purse is not None:
                asked.refused = asked.refused or purse.refused
            asked.asked.append(found)
            asked.judged |= {(m.name, repr(a)): found.scores[m.name] for m, a in new}
        known = {m.name: asked.judged[m.name, repr(a)] for m, a in awaited(wanted)}
        return metrics.score_all(wanted, asked.case, asked.seen, judged=known)

    @functools.cached_property
    def _trust(self) -> Trust | None:
        """What was found of the judges: of the evalset's, or those of the test file."""
        if self._parameter is not None:
            return self._parameter.evalset.trust
        path = self._request.path
        return calibration.read(path, path.stem)

    def _job(self, case: Case, number: int) -> Job:
        """Return the job of the n-th question of this test, under the test's name."""
        name = self._request.node.nodeid
        name = name.partition("[")[0] if self._parameter else name.partition("::")[0]
        evalset = EvalSet(name=name, path=self._request.path, cases=(), trust=self._trust)
        repeat = 0
        if self._parameter is not None:
            evalset = replace(self._parameter.evalset, name=name)
            repeat = self._parameter.repeat + number * case.repeat
        job = jobs_of(evalset, replace(case, repeat=1), self._config)[0]
        return replace(job, repeat=repeat)

    def _observe(self, case: Case) -> Observation:
        job = self._job(case, len(self._asked) + len(self._broke))
        attempt = Attempt(case=case.id, repeat=job.repeat, timeout_s=case.timeout_s)
        hold = None
        try:
            pipeline = self._pipeline = self._pipeline or self._build()
            hold = self._admitted(job, pipeline)
            purse = purse_of(hold, self._config, pipeline.pacer)
            with paid_by(purse):
                seen = self._ask(pipeline, case, attempt)
            if purse is not None:
                purse.raise_refusal()
        except Exception as error:
            result = broken(job, error, self._config, attempt)
            self._broke.append(result)
            self._count(hold, result.calls, result.cost_usd, broke=True)
            reason = str(error) if isinstance(error, BudgetError) else key_missing(error)
            if reason is not None:
                pytest.skip(redact(reason))
            raise
        self._asked.append(_Asked(case, seen))
        self._count(hold, [values_of(call) for call in seen.calls], seen.cost_usd, broke=False)
        return seen

    def _admitted(self, job: Job, pipeline: Pipeline) -> Reservation | None:
        """Set aside what the question may cost, where the run has a ceiling.

        Raises:
            BudgetError: if it could pass it.
        """
        runner = self._session.runner(self._config)
        entry = admitted(runner.budget, job.evalset, by_call=pipeline.may_be_free)
        return runner.loop.submit(entry).result()

    def _count(
        self,
        hold: Reservation | None,
        calls: list[dict[str, Any]],
        cost_usd: float | None,
        *,
        broke: bool,
    ) -> None:
        self._session.costs.add(calls)
        if hold is not None:
            hold.settle_case(calls, cost_usd=cost_usd, broke=broke)

    def _ask(self, pipeline: Pipeline, case: Case, attempt: Attempt) -> Observation:
        loop = self._session.runner(self._config).loop
        future = loop.submit(ask(pipeline, case.query, case.filters, attempt))
        done, _ = wait([future], timeout=case.timeout_s)
        if not done:
            future.cancel()
            raise PipelineError(timed_out(case.timeout_s))
        return read(future.result(), self._config)

    def _build(self) -> Pipeline:
        """Return the evalset's pipeline, or the fixture's."""
        evalset = None if self._parameter is None else self._parameter.evalset
        if evalset is None or evalset.pipeline is None:
            path = self._request.path
            own = None if evalset is None else (evalset.name, evalset.path, evalset.mode)
            deck = self._session.deck
            tape = deck.tape(*(own or (path.stem, path)))
            loop = self._session.runner(self._config).loop
            with building(tape, deck, self._config, loop):
                target = self._request.getfixturevalue("rag_pipeline")
            deck.built(tape, target)
            return replace(adapt(target, self._config.document_key), tape=tape)
        return self._session.pipeline_of(evalset, self._config)

    def _find(self, observation: Observation | None) -> _Asked:
        if not self._asked:
            raise pytest.UsageError("Nothing was asked yet: call rag.ask(…) first.")
        if observation is None:
            return self._asked[-1]
        return next(asked for asked in self._asked if asked.seen is observation)

    def _limits(self, checks: Mapping[str, Any]) -> tuple[Limit, ...]:
        try:
            return limits.of_mapping(checks)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error

    def _verdicts(self, asked: _Asked) -> tuple[CheckResult, ...]:
        written = (limit for limit in asked.case.checks if limit.metric not in BUDGETS)
        scores = self._scores([metrics.of_limit(limit) for limit in written], asked)
        return (
            *check(asked.case.checks, scores, asked.seen, self._trust),
            *forbidden(asked.case, asked.seen),
        )


def _graded(relevant: Mapping[str, int] | Sequence[str]) -> dict[str, int]:
    return dict(relevant) if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1)


def _skip_refused(asked: _Asked) -> None:
    """Skip the test where a judge could have passed the run's ceiling."""
    if asked.refused is not None:
        pytest.skip(str(asked.refused))


def _raise(asked: _Asked, verdicts: Iterable[CheckResult]) -> None:
    __tracebackhide__ = True
    missed = [each.reason for each in verdicts if not each.passed and each.advisory is None]
    if missed:
        said = asked.seen.answer
        answer = "" if said is None else f"\n  answer: {redact(said[:300])!r}"
        raise AssertionError(f"{asked.case.query}\n  " + "\n  ".join(map(str, missed)) + answer)
