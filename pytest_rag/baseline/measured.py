"""Results of a run → what could be accepted of it; one pass, scores go straight into columns."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any

from pytest_rag.baseline.model import DIGITS, Baseline
from pytest_rag.gate import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy import float64
    from numpy.typing import NDArray

    from pytest_rag.records import Result

__all__ = ["Measured", "measure"]

_RANKED = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What a run measured of an evalset, and what it could not.

    Attributes:
        baseline: Cases of which at least one run was measured.
        broken: Cases all of whose runs broke, or were not run.
        errors: Those among them of which a run broke.
        missing: By metric, cases in which it should have a value and has none.
        times: Mean milliseconds by stage, ``latency`` among them, shape ``(cases,)``; NaN where a
            case has none.
    """

    baseline: Baseline
    broken: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    missing: Mapping[str, frozenset[str]] = field(default_factory=dict)
    times: Mapping[str, NDArray[float64]] = field(default_factory=dict)


def measure(evalset: str, results: Iterable[Result], facts: Mapping[str, Any]) -> Measured:
    """Gather what a run measured; repeats of a case are averaged, as one cluster.

    Args:
        evalset: Its name.
        results: Of this evalset, in any order; each case and repeat once.
        facts: What the record's header says of it: ``fingerprint``, ``deterministic``, ``gate``.
    """
    sheet = _Sheet()
    for result in results:
        sheet.add(result)
    return sheet.close(evalset, facts)


def _bounds(check: Mapping[str, Any]) -> dict[str, float]:
    return {name: check[name] for name in ("min", "max") if check.get(name) is not None}


class _Sheet:
    """A row a measured run, a column a metric."""

    def __init__(self) -> None:
        self.cases: dict[str, int] = {}
        self.first: list[int] = []  # by case: the lowest repeat met, which is the one told of
        self.told: list[tuple[str, str, str]] = []
        self.of_row = array("q")
        self.repeats = array("q")
        self.passed = array("b")
        self.columns: dict[str, array[float]] = {}
        self.times: dict[str, array[float]] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, set[str]] = {}
        self.unmeasured: dict[str, bool] = {}
        self._texts: dict[str, str] = {}

    def add(self, result: Result) -> None:
        """Take in one run."""
        for name, score in result.scores.items():
            if score["value"] is None and reading(result, name).missing:
                self.missing.setdefault(name, set()).add(result.case)
        if result.outcome not in ("passed", "failed"):
            broke = self.unmeasured.get(result.case, False) or result.outcome == "error"
            self.unmeasured[result.case] = broke
            return
        place = self.cases.setdefault(result.case, len(self.cases))
        if place == len(self.told):
            self.first.append(result.repeat)
            self.told.append(self._details(result))
        elif result.repeat < self.first[place]:
            self.first[place], self.told[place] = result.repeat, self._details(result)
        row = len(self.of_row)
        self.of_row.append(place)
        self.repeats.append(result.repeat)
        self.passed.append(result.outcome == "passed")
        for name, score in result.scores.items():
            if score["value"] is not None:
                _put(self.columns, name, row, score["value"])
                self.versions[name] = score["version"]
        if result.latency_ms is not None:
            _put(self.times, "latency", row, result.latency_ms)
        for stage, ms in result.stages_ms.items():
            _put(self.times, stage, row, ms)

    def _details(self, result: Result) -> tuple[str, str, str]:
        gold = {name: of["grade"] for name, of in result.gold.items()}
        limits = {_check(check): _bounds(check) for check in result.checks}
        if result.min_pass < 1:
            limits["repeats passed"] = {"min": round(result.min_pass, DIGITS)}
        asked = {"fingerprint": result.fingerprint, "gold": gold}
        return self._text(asked), self._text(limits), _json(_seen(result))

    def _text(self, value: Any) -> str:
        """Return JSON; equal texts, of which there are many, are one object."""
        text = _json(value)
        return self._texts.setdefault(text, text)

    def close(self, evalset: str, facts: Mapping[str, Any]) -> Measured:
        """Average repeats and sort cases."""
        import numpy as np

        places = np.array(self.of_row, dtype=np.int64)
        # Summed in the order of repeats, so that the order of arrival changes no digit.
        rows = np.lexsort((np.array(self.repeats, dtype=np.int64), places))
        agree = True
        scores = {}
        for name in sorted(self.columns):
            means, alike = self._mean(self.columns[name], places, rows)
            scores[name] = np.round(means, DIGITS) + 0.0
            agree = agree and alike
        count = len(self.cases)
        passes = np.bincount(places, np.array(self.passed, dtype=float), minlength=count)
        ids = list(self.cases)
        unsorted = Baseline(
            evalset=evalset,
            cases=ids,
            runs=np.bincount(places, minlength=count),
            passed=passes.astype(np.int64),
            scores=scores,
            asked=[told[0] for told in self.told],
            limits=[told[1] for told in self.told],
            seen=[told[2] for told in self.told],
            gate=facts.get("gate") or {},
            fingerprint=facts.get("fingerprint") or {},
            versions=dict(sorted(self.versions.items())),
            deterministic=agree and _is_deterministic(facts),
        )
        lost = [case for case in self.unmeasured if case not in self.cases]
        order = sorted(range(count), key=ids.__getitem__)
        times = {name: self._mean(of, places, rows)[0][order] for name, of in self.times.items()}
        return Measured(
            baseline=unsorted.take(order),
            times=times,
            broken=tuple(sorted(lost)),
            errors=tuple(sorted(case for case in lost if self.unmeasured[case])),
            missing={name: frozenset(of) for name, of in self.missing.items()},
        )

    def _mean(self, values: array[float], places: Any, rows: Any) -> tuple[NDArray[float64], bool]:
        """Return a column's mean by case, and whether repeats agree."""
        import numpy as np

        column = np.full(len(places), nan)
        column[: len(values)] = values
        rows = rows[~np.isnan(column[rows])]
        found, at = column[rows], places[rows]
        counts = np.bincount(at, minlength=len(self.cases))
        with np.errstate(invalid="ignore"):
            means = np.bincount(at, found, minlength=len(self.cases)) / counts
        return means, bool(np.all(np.abs(found - means[at]) < 0.5 * 10.0**-DIGITS))


def _put(columns: dict[str, array[float]], name: str, row: int, value: float) -> None:
    column = columns.get(name)
    if column is None:
        column = columns[name] = array("d")
    if len(column) != row:
        column.extend([nan] * (row - len(column)))
    column.append(value)


def _is_deterministic(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("deterministic")) or facts.get("mode") == "replay"


def _check(check: Mapping[str, Any]) -> str:
    argument = check.get("argument")
    return check["metric"] if argument is None else f"{check['metric']} {_json(argument)}"


def _seen(result: Result) -> dict[str, Any]:
    ranked = dict.fromkeys(node["id"] for node in result.retrieved or ())
    tokens = {"input": result.input_tokens, "output": result.output_tokens}
    told: dict[str, Any] = {
        "ranks": {name: of["rank"] for name, of in result.gold.items() if of["rank"] is not None},
        "retrieved": list(ranked)[:_RANKED],
        "tokens": {side: n for side, n in tokens.items() if n},
        "lost": {name: of["lost"] for name, of in result.gold.items() if of.get("lost")},
        "unindexed": [name for name, of in result.gold.items() if of["indexed"] is False],
    }
    return {name: value for name, value in told.items() if value}


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True)


def _json(value: Any) -> str:
    return _ENCODER.encode(value)
