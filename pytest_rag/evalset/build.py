"""Cases from values: defaults merged in, rules that span several keys, ids unique in the set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_rag.evalset.limits import applying, lacks, read_checks
from pytest_rag.evalset.model import CaseModel, DefaultsModel, validated
from pytest_rag.evalset.problems import first_twice, show
from pytest_rag.types import Case, Limit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.evalset.limits import Checks
    from pytest_rag.evalset.problems import Source

__all__ = ["Builder", "Defaults", "read_defaults"]

_REFUSAL = Limit(metric="refusal", min=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds for every case that does not say otherwise."""

    checks: Checks = field(default_factory=dict)
    repeat: int = 1
    min_pass: int | None = None
    timeout_s: float = 60.0
    tags: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    reviewed: bool = True


def read_defaults(model: DefaultsModel, source: Source, *, reviewed: bool = True) -> Defaults:
    """Return the defaults of a file; problems of their checks are reported."""
    checks = read_checks(model.checks, source, ("defaults", "checks"))
    for name, limit in checks.items():
        if limit is None:
            message = f"Check {show(name)} has no value. Only a case can switch a default off."
            source.report(message, ("defaults", "checks", name), key=True)
    min_pass = model.min_pass if "min_pass" in model.model_fields_set else None
    _passable(min_pass, model.repeat, source, ("defaults", "min_pass"))
    return Defaults(
        checks=checks,
        repeat=model.repeat,
        min_pass=min_pass,
        timeout_s=model.timeout_s,
        tags=tuple(model.tags),
        filters=model.filters,
        reviewed=reviewed,
    )


class Builder:
    """Turns one piece after the other into cases and remembers the ids it has seen.

    Attributes:
        cases: Those without a problem, in order.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.cases: list[Case] = []
        self._defaults = defaults
        self._seen: dict[str, tuple[Path, str]] = {}

    def add(self, raw: Mapping[str, Any], source: Source) -> None:
        """Build one case; whatever is wrong with it is reported."""
        before = len(source.problems.found)
        own = read_checks(raw.get("checks"), source)
        model: CaseModel | None = validated(CaseModel, raw, source)
        if model:
            self._unique(model.id, source)
        if model is None or len(source.problems.found) > before:
            return
        relevant = _relevant(model, source)
        _refusable(model, source)
        case = self._case(model, relevant, source)
        _computable(own, case, source)
        self.cases.append(replace(case, checks=self._checks(own, case)))

    def _case(self, model: CaseModel, relevant: Mapping[str, int], source: Source) -> Case:
        defaults, given = self._defaults, model.model_fields_set
        repeat = model.repeat if "repeat" in given else defaults.repeat
        own = model.min_pass if "min_pass" in given else None
        _passable(own, repeat, source, ("min_pass",))
        return Case(
            id=model.id,
            query=model.query,
            answers=(model.answer,) if isinstance(model.answer, str) else tuple(model.answer),
            relevant=relevant,
            forbidden=tuple(model.forbidden),
            answerable=model.answerable,
            tags=tuple(dict.fromkeys((*defaults.tags, *model.tags))),
            filters={**defaults.filters, **model.filters},
            repeat=repeat,
            min_pass=own or min(defaults.min_pass or repeat, repeat),
            timeout_s=model.timeout_s if "timeout_s" in given else defaults.timeout_s,
            evidence={
                gold: (said,) if isinstance(said, str) else tuple(said)
                for gold, said in model.evidence.items()
            },
            reviewed=model.reviewed if "reviewed" in given else defaults.reviewed,
            path=source.problems.path,
            line=source.node.line if source.node else source.line,
        )

    def _checks(self, own: Checks, case: Case) -> tuple[Limit, ...]:
        defaults = self._defaults.checks
        inherited = [limit for name, limit in defaults.items() if limit and name not in own]
        checks = (*applying(inherited, case), *(limit for limit in own.values() if limit))
        refusal = case.answerable or "refusal" in own or "refusal" in defaults
        return checks if refusal else (*checks, _REFUSAL)

    def _unique(self, name: str, source: Source) -> None:
        here = (source.problems.path, source.place)
        if name not in self._seen:
            self._seen[name] = here
            return
        path, place = self._seen[name]
        number = place.rpartition(" ")[2]
        elsewhere = f"{path}:{number}" if place.startswith("line") else f"{place} of {path}"
        where = place if path == here[0] else elsewhere
        source.report(f"Id {show(name)} is taken by the case in {where}.", ("id",))


def _relevant(model: CaseModel, source: Source) -> Mapping[str, int]:
    if isinstance(model.relevant, dict):
        return model.relevant
    twice = first_twice(model.relevant)
    if twice is not None:
        source.report(f"Document {show(twice)} is listed twice. Remove one.", ("relevant",))
    return dict.fromkeys(model.relevant, 1)


def _refusable(model: CaseModel, source: Source) -> None:
    for key, value in (("answer", model.answer), ("relevant", model.relevant)):
        if value and not model.answerable:
            why = "a refusal is the right answer where 'answerable' is false"
            source.report(f"{source.named((key,))} cannot be given: {why}.", (key,), key=True)


def _computable(own: Checks, case: Case, source: Source) -> None:
    for name, limit in own.items():
        lack = limit and lacks(limit, case)
        if lack:
            message = f"Check {show(name)} cannot be computed for case {show(case.id)}: {lack}"
            source.report(f"{message.rstrip('.')}.", ("checks", name), key=True)


def _passable(min_pass: int | None, repeat: int, source: Source, loc: tuple[str, ...]) -> None:
    if min_pass is not None and min_pass > repeat:
        message = f"{source.named(loc)} is {min_pass}, but a case is run {repeat} times at most"
        source.report(f"{message}. Lower it, or raise 'repeat'.", loc)
