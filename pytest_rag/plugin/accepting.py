"""What the `rag_baseline` fixture gives a Python test: figures held to accepted ones."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag import baseline as baselines
from pytest_rag.compare import compare
from pytest_rag.pipelines.nodes import is_number
from pytest_rag.records import Result
from pytest_rag.report.regression import evidence, fall
from pytest_rag.types import GateLimit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pytest_rag.baseline import Baseline, Measured
    from pytest_rag.plugin.settings import Settings
    from pytest_rag.verdict import Update

__all__ = ["ACCEPTED", "RagBaseline", "write_accepted"]

ACCEPTED: pytest.StashKey[list[str]] = pytest.StashKey()
"""Baselines, as text, that a test wants written; on their way to its report."""

Values = Mapping[str, "float | Mapping[str, float]"]


class RagBaseline:
    """Holds what a test has measured to what was accepted of it.

    Accepted figures lie in ``baselines/test_file.py.json`` beside the test's file. The first run
    writes them, outside CI; ``--rag-update`` accepts new ones.
    """

    def __init__(self, request: pytest.FixtureRequest, settings: Settings) -> None:
        self._item = request.node
        self._file: Path = request.path
        self._settings = settings

    def check(
        self,
        values: Values,
        *,
        max_drop: float = 0.0,
        alpha: float = 0.05,
        lower_is_better: Collection[str] = (),
    ) -> None:
        """Fail the test where a figure is worse than the accepted one.

        A number is held as it is: any fall beyond ``max_drop`` is one. Scores by case are held
        as an evalset's are: by a one-sided paired test, and by the size of the fall of the mean.

        Args:
            values: By metric, a number, or ``{case: number}``.
            max_drop: The fall that is tolerated.
            alpha: Chance of a false alarm over all scores by case.
            lower_is_better: Metrics of which less is better, unless it is known of them.

        Raises:
            AssertionError: where a figure regressed, or CI has nothing to hold it to.
            ValueError: for a value that is no finite number.
            BaselineError: if the baseline cannot be used.
        """
        __tracebackhide__ = True
        measured = self._measure(values, lower_is_better)
        mine = set(measured.baseline.cases)
        bar = self._settings.bars.of(self._file, self._file.name)
        base = None if bar.baseline is None else _of(bar.baseline, mine)
        left_out = {} if bar.baseline is None else self._left_out(bar.baseline, values)
        if self._settings.update is not None:
            self._accept(measured.baseline, gone=left_out)
            return
        if base is None or not base.cases:
            self._first(measured.baseline, told=bar.told)
            return
        if left_out:
            warnings.warn(
                f"no longer among the figures, and accepted in {bar.told}: "
                f"{', '.join(left_out.values())}; {self._how()}",
                stacklevel=2,
            )
        limits = [GateLimit(metric=name, max_drop=max_drop) for name in values]
        base = replace(base, deterministic=measured.baseline.deterministic)
        found = compare(base, measured, limits, alpha=alpha)
        bad = [each for each in found.metrics if each.bad or each.verdict == "not comparable"]
        if bad:
            lines = [f"{each.metric}: {fall(each)}; {evidence(each)}" for each in bad]
            raise AssertionError("\n".join([*lines, f"against {bar.told}; {self._how()}"]))

    def _left_out(self, accepted: Baseline, values: Values) -> dict[str, str]:
        """Return what to say of cases with an accepted score that have none now, by their id."""
        head = f"{self._test}::"
        own = [(at, case) for at, case in enumerate(accepted.cases) if case.startswith(head)]
        return {
            case: f"{metric} of {case.removeprefix(head)}"
            for metric, given in values.items()
            if isinstance(given, Mapping) and metric in accepted.scores
            for at, case in own
            if isfinite(accepted.scores[metric][at]) and case.removeprefix(head) not in given
        }

    @property
    def _test(self) -> str:
        name: str = self._item.nodeid.partition("::")[2]
        return name

    def _how(self) -> str:
        return f"to accept it: pytest {self._item.nodeid!r} --rag-update"

    def _measure(self, values: Values, lower: Collection[str]) -> Measured:
        name = self._file.name
        numbers = [each for each in values.values() if not isinstance(each, Mapping)]
        if not values:
            raise ValueError("rag_baseline.check() was given no figure.")
        gate = {f"{metric}.mean": {"lower_is_better": True} for metric in lower}
        facts = {"deterministic": len(numbers) == len(values), "gate": gate}
        return baselines.measure(name, self._results(values), facts)

    def _results(self, values: Values) -> Iterator[Result]:
        """Yield a result for every case; the test itself is the case of a plain number."""
        scores: dict[str, dict[str, Any]] = {}
        for metric, value in values.items():
            by_case = value if isinstance(value, Mapping) else {None: value}
            for case, number in by_case.items():
                known = self._test if case is None else f"{self._test}::{case}"
                scores.setdefault(known, {})[metric] = _score(metric, number)
        for known, of in scores.items():
            yield Result(evalset=self._file.name, case=known, outcome="passed", query="", scores=of)

    def _first(self, new: Baseline, *, told: str) -> None:
        __tracebackhide__ = True
        ci = self._settings.bars.ci
        if self._settings.bars.option == "none" or self._settings.shard is not None:
            return
        if ci is not None:
            raise AssertionError(
                f"{told} holds no figures of this test, and nothing is written while {ci} is set; "
                f"{self._how()}"
            )
        self._accept(new)

    def _accept(self, new: Baseline, gone: Iterable[str] = ()) -> None:
        path = baselines.path_of(self._file)
        told = {"file": str(path), "text": baselines.text_of(new), "gone": list(gone)}
        message = json.dumps(told)
        self._item.stash.setdefault(ACCEPTED, []).append(message)


def _of(baseline: Baseline, cases: Collection[str]) -> Baseline:
    return baseline.take([place for place, case in enumerate(baseline.cases) if case in cases])


def _score(metric: str, value: Any) -> dict[str, Any]:
    if not is_number(value) or not isfinite(value):
        raise ValueError(f"rag_baseline.check(): {metric!r} is {value!r}, not a finite number.")
    return {"value": float(value), "reason": None, "version": "1"}


@dataclass(frozen=True, slots=True)
class _New:
    file: Path
    baseline: Baseline
    gone: Sequence[str]


def write_accepted(messages: Iterable[str], update: Update | None) -> list[str]:
    """Write what tests accepted, each file in one step, and return what to say of it.

    Args:
        messages: What `ACCEPTED` carried, in any order.
        update: Whether the cases a file holds already are written anew.

    Raises:
        BaselineError: if a file that is there cannot be used; nothing is then written.
    """
    told = (json.loads(message) for message in messages)
    news = [
        _New(Path(each["file"]), baselines.parse(each["text"], each["file"]), each["gone"])
        for each in told
    ]
    files: dict[Path, Baseline | None] = {}
    first = set()
    for new in sorted(news, key=lambda each: (each.file, list(each.baseline.cases))):
        if new.file not in files:
            files[new.file] = baselines.read(new.file)
            first |= {new.file} if files[new.file] is None else set()
        old = files[new.file]
        files[new.file] = baselines.accept(old, new.baseline, only_new=update == "new", whole=False)
    if update != "new":
        for file, baseline in files.items():
            files[file] = _without_gone(baseline, [new for new in news if new.file == file])
    said = []
    for file, baseline in files.items():
        if baseline is not None and baselines.write(file, baseline):
            verb = "written" if file in first else "updated"
            said.append(f"baseline {verb}: {file}. Review it and commit it.")
    return said


def _without_gone(baseline: Baseline | None, news: Sequence[_New]) -> Baseline | None:
    """Return a baseline without the cases that tests gave no score any more."""
    gone = {case for new in news for case in new.gone}
    gone -= {case for new in news for case in new.baseline.cases}
    if baseline is None or not gone:
        return baseline
    return baseline.take([at for at, case in enumerate(baseline.cases) if case not in gone])
