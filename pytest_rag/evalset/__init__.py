"""``*.rag.yaml`` and bulk files → `EvalSet`: strict, with every problem at once and its place."""

from __future__ import annotations

import gc
import stat
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rag import calibration
from pytest_rag.errors import ConfigError, UsageError
from pytest_rag.evalset.build import Builder, read_defaults
from pytest_rag.evalset.bulk import read_bulk
from pytest_rag.evalset.limits import read_gate
from pytest_rag.evalset.model import TEXT_KEYS, FactoryModel, FileModel, LocalModel, validated
from pytest_rag.evalset.paramsfile import merged, read_params
from pytest_rag.evalset.problems import Problems, Source, show
from pytest_rag.evalset.schema import json_schema
from pytest_rag.evalset.yamlpos import as_text, compose, decode, plain
from pytest_rag.metrics.rubric import is_rubric
from pytest_rag.registry import did_you_mean
from pytest_rag.types import EvalSet, PipelineSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_rag.evalset.yamlpos import Node

__all__ = ["MAX_BYTES", "contents", "json_schema", "load", "select"]

MAX_BYTES = 64 << 20


def load(path: Path, *, text: bytes | None = None) -> EvalSet:
    """Load an evalset and everything it names under ``cases_from``.

    Args:
        path: The ``*.rag.yaml`` file; relative paths in it begin at its folder.
        text: Its content where that is known already; the file is not read then.

    Raises:
        EvalSetError: with every problem of the files.
        CalibrationError: if what was found of its judges cannot be read.
    """
    problems = Problems(path)
    data = contents(path, problems) if text is None else _bounded(text, len(text), problems)
    with _no_collection():
        evalset = None if data is None else _parse(data, problems)
    if evalset is None or problems.found:
        problems.throw()
    return replace(evalset, trust=calibration.read(path, evalset.name))


def _parse(data: bytes, problems: Problems) -> EvalSet | None:
    text = decode(data, problems)
    root = None if text is None else compose(text, problems)
    return None if root is None else _evalset(root, problems)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cycle collector, which finds nothing in a growing tree and doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def select(evalset: EvalSet, *, ids: Iterable[str] = (), tags: Iterable[str] = ()) -> EvalSet:
    """Return the evalset with only the cases of these ids that carry one of these tags.

    An empty ``ids`` or ``tags`` selects all.

    Raises:
        UsageError: if no case has one of the ids or tags; names the nearest.
    """
    ids, tags = frozenset(ids), frozenset(tags)
    _known("id", ids, {case.id for case in evalset.cases}, evalset)
    _known("tag", tags, {tag for case in evalset.cases for tag in case.tags}, evalset)
    cases = (
        case
        for case in evalset.cases
        if (not ids or case.id in ids) and (not tags or tags & set(case.tags))
    )
    return replace(evalset, cases=tuple(cases))


def _known(kind: str, wanted: frozenset[str], there: set[str], evalset: EvalSet) -> None:
    for name in sorted(wanted - there):
        hint = did_you_mean(name, there)
        raise UsageError(f"No case of evalset {evalset.name!r} has {kind} {show(name)}.{hint}")


def contents(path: Path, problems: Problems) -> bytes | None:
    """Return the bytes of a file, or None and what is wrong with it."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            problems.add("This is not a regular file.")
            return None
        if _bounded(b"", status.st_size, problems) is None:
            return None
        with path.open("rb") as file:
            data = file.read(status.st_size + 1)
    except (OSError, ValueError) as error:
        problems.add(f"Cannot read the file: {getattr(error, 'strerror', None) or error}.")
        return None
    return _bounded(data, len(data), problems)


def _bounded(data: bytes, size: int, problems: Problems) -> bytes | None:
    if size <= MAX_BYTES:
        return data
    limit = f"The file has {size / (1 << 20):,.0f} MiB, and {MAX_BYTES >> 20} are allowed."
    problems.add(f"{limit} Move the cases to a JSONL file and name it under 'cases_from'.")
    return None


# --- the pieces of a file ---------------------------------------------------------------------


def _evalset(root: Node, problems: Problems) -> EvalSet | None:
    if not isinstance(root.value, dict):
        problems.at(root, "An evalset is a mapping. Begin with 'cases:'.")
        return None
    source = Source(problems, root)
    raw = _values(root, problems, without="cases")
    for key in [key for key, value in raw.items() if value is None]:
        source.report(f"{show(key)} has no value. Write one, or take the key away.", (key,))
        del raw[key]
    model: FileModel = validated(FileModel, raw, source)
    builder = Builder(read_defaults(model.defaults, source, reviewed=model.reviewed))
    _inline(root, builder, problems)
    _bulk(model, builder, source)
    if not builder.cases and not problems.found:
        problems.at(root, "The file holds no case. Write at least one under 'cases'.")
    checks = (limit for case in builder.cases for limit in case.checks)
    rubrics = {limit.metric for limit in checks if is_rubric(limit.argument)}
    gate, alpha = read_gate(model.gate, source, rubrics)
    return EvalSet(
        name=model.evalset or problems.path.stem.removesuffix(".rag"),
        path=problems.path,
        cases=tuple(case for case in builder.cases if case.reviewed),
        drafts=tuple(case for case in builder.cases if not case.reviewed),
        pipeline=_pipeline(model.pipeline, root, source),
        gate=gate,
        alpha=alpha,
        mode=model.mode,
        rubrics=frozenset(rubrics),
        filters=model.defaults.filters,
    )


def _values(node: Node, problems: Problems, *, without: str = "") -> dict[str, Any]:
    entries: Any = node.value
    return {
        key: (as_text if key in TEXT_KEYS else plain)(value, problems)
        for key, (_, value) in entries.items()
        if key != without
    }


def _inline(root: Node, builder: Builder, problems: Problems) -> None:
    entries: Any = root.value
    _, cases = entries.get("cases", (root, None))
    if cases is None:
        return
    if not isinstance(cases.value, list):
        problems.at(cases, "'cases' must be a list. Begin each case with '- id: …'.")
        return
    for number, node in enumerate(cases.value, start=1):
        if problems.full:
            break
        if isinstance(node.value, dict):
            source = Source(problems, node, owner="a case")
            builder.add(_values(node, problems), source)
        else:
            value = show(plain(node, problems))
            problems.at(
                node, f"Case {number} must be a mapping with 'id' and 'query', not {value}."
            )


def _bulk(model: FileModel, builder: Builder, source: Source) -> None:
    if isinstance(model.cases_from, list):
        for index, bulk in enumerate(model.cases_from):
            read_bulk(bulk, builder, source, ("cases_from", index))
    else:
        read_bulk(model.cases_from, builder, source, ("cases_from",))


def _pipeline(
    model: str | FactoryModel | LocalModel, root: Node, source: Source
) -> PipelineSpec | None:
    if not model:
        return None
    entries: Any = root.value
    line = entries["pipeline"][0].line
    if isinstance(model, str):
        return PipelineSpec(factory=model, line=line)
    own = (model.local or {}) if isinstance(model, LocalModel) else model.params
    params = merged(own, read_params(model.params_from, source))
    if isinstance(model, LocalModel):
        _check_local(params, source)
    return PipelineSpec(
        factory=None if isinstance(model, LocalModel) else model.factory,
        params=params,
        params_from=model.params_from,
        line=line,
    )


def _check_local(params: Mapping[str, Any], source: Source) -> None:
    """Report a parameter that the local pipeline does not have, or a value it does not take."""
    from pytest_rag.pipelines.params import LocalParams

    try:
        checked = LocalParams.of(params)
    except ConfigError as error:
        source.report(str(error), ("pipeline", "local"), key=True)
    else:
        if checked.corpus is None:
            message = "The local pipeline needs a corpus. Write {local: {corpus: FOLDER}}."
            source.report(message, ("pipeline", "local"), key=True)
