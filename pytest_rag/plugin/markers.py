"""The markers ``rag`` and ``rag_budget`` on Python tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rag.checks import BUDGETS
from pytest_rag.errors import UsageError
from pytest_rag.evaluation import with_repeat
from pytest_rag.plugin import session_of
from pytest_rag.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_rag.types import Case, EvalSet

__all__ = ["Parameter", "budget_of", "hold", "parametrise"]

_RAG_KEYS = ("evalset", "tags", "repeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A case of an evalset, as a parameter of a Python test."""

    evalset: EvalSet
    case: Case
    repeat: int = 0


def parametrise(metafunc: pytest.Metafunc) -> None:
    """Give a marked test one run a case.

    Raises:
        pytest.Collector.CollectError: for an unknown keyword, an evalset that does not load, or a
            test that does not ask for the `rag` fixture.
    """
    session_of(metafunc.config)
    node = metafunc.definition
    budget_of(node)
    given = _keywords(node, "rag", _RAG_KEYS)
    if given.get("evalset") is None:
        for key in given:
            raise _usage(node, f"@pytest.mark.rag({key}=…) goes with evalset=….")
        return
    if "rag_case" not in metafunc.fixturenames:
        name = node.name
        raise _usage(node, f"@pytest.mark.rag(evalset=…) needs the fixture: def {name}(rag).")
    evalset = _load(node, given)
    parameters = [
        Parameter(evalset=evalset, case=case, repeat=repeat)
        for case in evalset.cases
        for repeat in range(case.repeat)
    ]
    metafunc.parametrize(
        "rag_case",
        [
            pytest.param(p, id=_id(p), marks=[getattr(pytest.mark, t) for t in p.case.tags])
            for p in parameters
        ],
        indirect=True,
    )


def _id(parameter: Parameter) -> str:
    case = parameter.case
    return case.id if case.repeat == 1 else f"{case.id}-{parameter.repeat + 1}"


def _load(node: pytest.Item, given: Mapping[str, Any]) -> EvalSet:
    from dataclasses import replace

    from pytest_rag import evalset as evalsets

    session = session_of(node.config)
    path = _find(node, given["evalset"])
    tags = given.get("tags") or ()
    try:
        loaded = session.add(evalsets.load(path))
        chosen = evalsets.select(loaded, tags=[tags] if isinstance(tags, str) else tags)
    except UsageError as error:
        raise _usage(node, str(error)) from error
    for tag in sorted({tag for case in chosen.cases for tag in case.tags}):
        node.config.addinivalue_line("markers", f"{tag}: a tag of {chosen.name}.")
    repeat = session.settings.repeat or given.get("repeat")
    return replace(chosen, cases=tuple(with_repeat(case, repeat) for case in chosen.cases))


def _find(node: pytest.Item, name: str) -> Path:
    """Return the evalset's file: a path from the test's folder or the root, or a bare name."""
    folders = (node.path.parent, node.config.rootpath)
    tried = (name, f"{name}.rag.yaml", f"evalsets/{name}.rag.yaml")
    for folder in folders:
        for candidate in tried:
            if (folder / candidate).is_file():
                return folder / candidate
    files = (p for f in folders for p in (*f.glob("*.rag.yaml"), *f.glob("*/*.rag.yaml")))
    known = (path.name.removesuffix(".rag.yaml") for path in files)
    raise _usage(node, f"There is no evalset {name!r}.{did_you_mean(name, set(known))}")


def budget_of(node: pytest.Item) -> dict[str, float]:
    """Return the ceilings of ``@pytest.mark.rag_budget``.

    Raises:
        pytest.Collector.CollectError: for an unknown budget or a value that is no number.
    """
    given = _keywords(node, "rag_budget", tuple(BUDGETS))
    for name, value in given.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
            raise _usage(node, f"@pytest.mark.rag_budget({name}={value!r}) takes a number.")
    return given


def _keywords(node: pytest.Item, marker: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return a marker's keywords, the nearest marker's first."""
    merged: dict[str, Any] = {}
    for mark in node.iter_markers(marker):
        if mark.args:
            raise _usage(node, f"@pytest.mark.{marker} takes keywords: {', '.join(known)}.")
        for key in mark.kwargs:
            if key not in known:
                hint = did_you_mean(key, known)
                raise _usage(node, f"@pytest.mark.{marker} has no keyword {key!r}.{hint}")
        merged = {**mark.kwargs, **merged}
    return merged


def _usage(node: pytest.Item, message: str) -> pytest.Collector.CollectError:
    return pytest.Collector.CollectError(f"{node.nodeid}: {message}")


def hold(item: pytest.Item) -> None:
    """Fail a marked test that evaluated nothing, or that broke its budget."""
    from pytest_rag.plugin.asking import RAG

    marker = next((name for name in ("rag", "rag_budget") if item.get_closest_marker(name)), None)
    asked = item.stash.get(RAG, None)
    if marker is None:
        return
    if asked is None or not asked.observations:
        pytest.fail(
            f"This test is marked {marker!r} and evaluated nothing. Ask the pipeline: rag.ask(…).",
            pytrace=False,
        )
    asked.hold()
