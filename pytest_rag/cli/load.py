"""``pytest-rag load``: a ramp of questions against an evalset's pipeline."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pytest_rag.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_rag.config import Config
    from pytest_rag.load import Driver, Plan, Step
    from pytest_rag.pipelines.adapters import Pipeline
    from pytest_rag.records import Result
    from pytest_rag.types import Case, EvalSet

__all__ = ["load"]

_INTERRUPTED = 130
_NOTHING = 3
_LEVELS = "1,2,4,8"


def load(
    path: Annotated[Path, typer.Argument(metavar="EVALSET", help="A file *.rag.yaml.")],
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help=f"Questions at a time, a step each: {_LEVELS}."),
    ] = None,
    qps: Annotated[
        str | None, typer.Option(metavar="R,R,…", help="Questions a second, a step each.")
    ] = None,
    duration: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="Seconds of a step that count.")
    ] = 10.0,
    warmup: Annotated[
        float, typer.Option(metavar="S", min=0.0, help="Seconds before them that do not.")
    ] = 2.0,
    arrivals: Annotated[
        Literal["poisson", "fixed"], typer.Option(help="How questions come with --qps.")
    ] = "poisson",
    max_requests: Annotated[
        int, typer.Option(metavar="N", min=1, help="Questions in all.")
    ] = 10_000,
    max_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="What it may cost; needed for paid models.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="T", help="Only cases with this tag; repeatable.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Only the case of this id; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order and the arrivals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the JSON to this file.")
    ] = None,
) -> None:
    """Ask more and more, and tell how much the pipeline bears; models are asked live."""
    from pytest_rag.cli.run import amount
    from pytest_rag.load import Plan

    levels = _levels("--concurrency", concurrency or ("" if qps else _LEVELS), whole=True)
    rates = _levels("--qps", qps or "", whole=False)
    evalset = _one(path, case or (), tag or ())
    limit = amount(max_cost)
    plan = Plan(duration_s=duration, warmup_s=warmup, arrivals=arrivals, seed=seed)
    bench = _Bench(evalset, limit, most=max_requests)
    try:
        bench.probe()
        bench.ramp(plan, levels, rates)
    finally:
        bench.close()
    text = json.dumps(bench.told(plan), ensure_ascii=False, indent=2)
    if as_json:
        typer.echo(text)
    else:
        bench.say()
    if out is not None:
        _write(out, text + "\n", whole=bench.stop is None)
    raise typer.Exit(bench.status)


def _levels(option: str, text: str, *, whole: bool) -> list[float]:
    """Return levels in ascending order, each once."""
    found = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value)) or (whole and value != int(value)):
            kind = "whole numbers" if whole else "numbers"
            raise UsageError(f"{option} takes {kind} above 0, as in 1,2,4,8; not {word!r}.")
        found.add(value)
    return sorted(found)


def _one(path: Path, ids: Sequence[str], tags: Sequence[str]) -> EvalSet:
    """Return the evalset of a file, with the cases that are wanted."""
    from pytest_rag.cli.run import need_pipelines
    from pytest_rag.cli.selection import load_all, narrow

    evalsets = narrow(load_all([path]), ids=ids, tags=tags)
    if len(evalsets) > 1:
        names = ", ".join(each.path.name for each in evalsets)
        raise UsageError(f"Load goes to one pipeline at a time; {path} holds {names}.")
    need_pipelines(evalsets)
    return evalsets[0]


def _write(out: Path, text: str, *, whole: bool) -> None:
    from pytest_rag.writing import write_atomically

    if not whole and out.exists():
        typer.echo(f"{out} stays as it is, since the ramp was cut short.", err=True)
        return
    try:
        write_atomically(out, text)
    except OSError as error:
        raise UsageError(f"Cannot write {out}: {error.strerror or error}.") from error
    typer.echo(f"wrote {out}", err=True)


class _Bench:
    """A pipeline, who asks it, and what came of that."""

    def __init__(self, evalset: EvalSet, limit: float | None, *, most: int) -> None:
        from pytest_rag import config
        from pytest_rag.cli.project import find_root
        from pytest_rag.costs.budget import open_budget
        from pytest_rag.costs.running import RunLedger
        from pytest_rag.evaluation import paying
        from pytest_rag.load import MOST_AT_A_TIME
        from pytest_rag.replay import Deck
        from pytest_rag.runner import Runner

        settings = config.load(find_root(Path.cwd()))
        self._config: Config = settings.with_options(
            concurrency=MOST_AT_A_TIME, mode="live", cache="off"
        )
        budget = None if limit is None else open_budget(limit, self._config)
        self._deck = Deck(
            "live",
            lambda *_: "",
            lambda: (self._config.limits, self._config.retries),
            None,
            None if budget is None else partial(paying, budget, self._config),
        )
        self._runner = Runner(self._config, budget)
        self._evalset = evalset
        self._limit = limit
        self._most = most
        self._pipeline: Pipeline | None = None
        self.ledger = RunLedger(self._config)
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.stop: str | None = None

    def probe(self) -> None:
        """Build the pipeline and ask it one question, which does not count.

        Raises:
            UsageError: if its models cost money and nobody said how much they may.
            Exit: if it gives no answer.
        """
        from pytest_rag.evaluation import build_pipeline
        from pytest_rag.judge import Job

        spec = self._evalset.pipeline
        if spec is None:
            raise UsageError(f"{self._evalset.path} names no pipeline.")
        try:
            self._pipeline = build_pipeline(
                spec, self._evalset, self._config, self._runner.loop, self._deck
            )
        except UsageError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a factory raises
            from pytest_rag.errors import explained

            raise _nothing(f"The pipeline cannot be built: {explained(error)}") from None
        case = _bare(self._evalset.cases[0])
        job = Job(evalset=self._evalset.name, case=case, metrics=())
        (future,) = self._runner.start(self._pipeline, [job])
        result = self._runner.result(future)
        self._keep(result)
        if result.outcome in ("error", "not_run"):
            said = (result.error or {}).get("message", result.outcome)
            raise _nothing(f"The pipeline answers nothing, so no load is put on it: {said}")
        self._need_ceiling(result)

    def _need_ceiling(self, result: Result) -> None:
        from pytest_rag.report.layout import money

        if result.cost_usd is None and not result.calls:
            self.notes.append("What the pipeline costs is not known: it returned no 'usage'.")
        elif result.cost_usd != 0 and self._limit is None:
            cost = "an unknown amount" if result.cost_usd is None else money(result.cost_usd)
            raise UsageError(
                f"A question costs {cost}, and a ramp may ask {self._most:,}. Say what it may "
                "cost in all: --max-cost 1.00; of a model that is free: [tool.pytest-rag.prices]"
            )

    def ramp(self, plan: Plan, levels: Sequence[float], rates: Sequence[float]) -> None:
        """Run the steps of a closed loop, then those of an open one until a queue grows."""
        from pytest_rag.load import Driver, is_sustained

        if self._pipeline is None:
            return
        driver = Driver(
            self._runner,
            self._pipeline,
            self._evalset.name,
            self._evalset.cases,
            plan,
            most=self._most,
            keep=self._keep,
        )
        own = self._pipeline.concurrency
        if own is not None and any(level > own for level in levels):
            self.notes.append(f"The pipeline takes {own} at a time; what is more waits for it.")
        for level in levels:
            if driver.stop is None:
                self._step(driver, f"{level:g} at a time", level, None)
        for rate in rates:
            if driver.stop is None:
                self._step(driver, f"{rate:g} a second", None, rate)
                if not is_sustained(self.steps[-1]):
                    break
        left = [rate for rate in rates if self.steps and rate > self.steps[-1].load]
        if rates and left and driver.stop is None:
            named = ", ".join(f"{rate:g}" for rate in left)
            self.notes.append(f"Rates above that were not tried: {named}.")
        self.stop = driver.stop

    def _step(self, driver: Driver, told: str, level: float | None, rate: float | None) -> None:
        typer.echo(f"{told} …", err=True)
        step = driver.closed(int(level)) if level is not None else driver.open(rate or 0.0)
        self.steps.append(step)

    def _keep(self, result: Result) -> None:
        self.ledger.add([result])

    def close(self) -> None:
        """End the event loop and everything that was opened."""
        self._runner.close()
        self._deck.close()

    def told(self, plan: Plan) -> dict[str, Any]:
        """Return everything as plain JSON."""
        from dataclasses import asdict

        from pytest_rag.load import figures

        found = {loop: self._saturation(loop) for loop in ("closed", "open")}
        return {
            "evalset": self._evalset.name,
            "plan": asdict(plan),
            "complete": self.stop is None,
            "stopped": self.stop,
            "steps": [figures(step) for step in self.steps],
            "saturation": {loop: asdict(each) for loop, each in found.items() if each is not None},
            "known_usd": self.ledger.costs.known_usd,
            "notes": self.notes,
        }

    def _saturation(self, loop: str) -> Any:
        from pytest_rag.load import saturation

        return saturation([step for step in self.steps if step.loop == loop])

    def say(self) -> None:
        """Print it."""
        from pytest_rag.cli.terminal import say, width
        from pytest_rag.report.load import load_lines

        for loop in ("closed", "open"):
            steps = [step for step in self.steps if step.loop == loop]
            say(load_lines(steps, self._saturation(loop), width=width()))
        say((note, "dim") for note in self.notes)
        say(self.ledger.finish())

    @property
    def status(self) -> int:
        """The exit status."""
        if self.stop == "interrupted":
            return _INTERRUPTED
        if not any(step.times for step in self.steps):
            return _NOTHING
        return int(self.stop == "the ceiling on costs")


def _bare(case: Case) -> Case:
    from dataclasses import replace

    return replace(case, checks=(), repeat=1, min_pass=1)


def _nothing(said: str) -> typer.Exit:
    typer.echo(said, err=True)
    return typer.Exit(_NOTHING)
