"""Run record ↔ JSON lines: one header, one result a case and repeat, one footer."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic_core import from_json

from pytest_rag.buildings import Building
from pytest_rag.errors import RecordError
from pytest_rag.git import git
from pytest_rag.recordshape import fault
from pytest_rag.redact import redact
from pytest_rag.types import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_rag.types import Outcome

__all__ = [
    "SCHEMA_VERSION",
    "Result",
    "Run",
    "dumps",
    "footer",
    "header",
    "read",
    "stream",
    "text_of",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of one case, as plain values that JSON knows.

    Attributes:
        evalset: The evalset's name; the test file for questions asked from Python.
        case: The case's id.
        repeat: 0 for the first run of the case, then 1, 2, …
        outcome: ``passed``, ``failed``, ``error`` or ``not_run``.
        query: The question.
        reference: Answers that were acceptable when it was asked; empty where none was written.
        answer: The pipeline's answer, or None.
        retrieved: ``[{id, rank, score, node, tokens, used}]``, rank from 1; None where nothing is
            known. ``tokens`` is about how long the node's text is, ``used`` how much of it the
            answer can have drawn on.
        gold: ``{id: {grade, rank, indexed, lost}}``; the rank is None where it was not retrieved,
            ``indexed`` None where the index does not tell what it holds, ``lost`` the stage that
            lost it in words, where one did.
        scores: ``{metric: {value, reason, version}}``, and ``judge`` where one was asked.
        checks: ``[{metric, min, max, argument, value, passed, reason}]``, and ``advisory``,
            the reason why it decides nothing, where it does not.
        stages_ms: Inclusive milliseconds by stage.
        self_ms: Milliseconds by stage without the stages inside it.
        cpu_ms: Processor milliseconds by stage without the stages inside it.
        spans: ``[[depth, stage, class, start_ms, ms], …]``: when components ran, in the order they
            began; at most forty, those that took longest.
        latency_ms: Service time; None where the pipeline never ran.
        wait_ms: Time before that.
        calls: ``[{stage, model, input_tokens, …, cost_usd, latency_ms, origin, ended}]``.
        input_tokens: Of the language model's calls, or None where unknown.
        output_tokens: Likewise.
        cost_usd: US dollars, or None where unknown; without the judges.
        judge_cost_usd: Of the judges' calls; 0 where there are none, None where unknown.
        error: ``{type, message, traceback}``, or None.
        tags: The case's tags.
        notes: What a person should know of the run, in whole sentences.
        fingerprint: Of the question and what is known of its answer; a change of it makes runs
            of the case incomparable.
        min_pass: The share of the case's repeats that must pass.
    """

    evalset: str
    case: str
    repeat: int = 0
    outcome: Outcome
    query: str
    reference: list[str] = field(default_factory=list)
    answer: str | None = None
    retrieved: list[dict[str, Any]] | None = None
    gold: dict[str, dict[str, Any]] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    stages_ms: dict[str, float] = field(default_factory=dict)
    self_ms: dict[str, float] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)
    spans: list[list[Any]] = field(default_factory=list)
    latency_ms: float | None = None
    wait_ms: float | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    judge_cost_usd: float | None = 0.0
    error: dict[str, str] | None = None
    tags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fingerprint: str | None = None
    min_pass: float = 1.0

    @property
    def key(self) -> tuple[str, str, int]:
        """What identifies the result in a run."""
        return self.evalset, self.case, self.repeat

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a record line's mapping, secrets redacted."""
        return {"kind": "result", **redact({name: getattr(self, name) for name in self.__slots__})}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Self:
        """Read a record line's mapping; keys of a later minor version are dropped."""
        return cls(**{name: line[name] for name in cls.__slots__ if name in line})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run record in memory.

    Attributes:
        header: ``{schema_version, run_id, started, git, versions, machine, config, evalsets}``, and
            ``buildings`` where there are any.
        results: The last one of each case and repeat, in the order they were made.
        footer: ``{ended, outcomes, complete, cut_short, verdicts}``, or None after a crash.
        buildings: Of pipelines, those that asked models for something.
    """

    header: Mapping[str, Any]
    results: tuple[Result, ...]
    footer: Mapping[str, Any] | None = None
    buildings: tuple[Building, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that was declared was run to the end."""
        return self.footer is not None and bool(self.footer.get("complete"))


def header(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return a new run's header; `evalsets` is filled in by the one who runs them."""
    return {
        "kind": "header",
        "schema_version": SCHEMA_VERSION,
        "run_id": uuid.uuid4().hex,
        "started": _now(),
        "git": _git(root),
        "versions": _versions(),
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "config": redact(dict(config)),
        "evalsets": {},
    }


def footer(
    results: Iterable[Result],
    *,
    complete: bool,
    verdicts: Mapping[str, Any] | None = None,
    cut_short: bool = False,
) -> dict[str, Any]:
    """Return a run's footer: when it ended, counts by outcome, whether anything is missing.

    Args:
        results: Of the run.
        complete: Whether everything that was declared was run.
        verdicts: What was decided, by evalset, as plain JSON.
        cut_short: Whether the run was interrupted, or stopped by ``-x``.
    """
    counts = Counter(result.outcome for result in results)
    return {
        "kind": "footer",
        "ended": _now(),
        "outcomes": {outcome: counts[outcome] for outcome in OUTCOMES},
        "complete": complete,
        "cut_short": cut_short,
        "verdicts": dict(verdicts or {}),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("pytest-rag", "pytest", "llama-index-core"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _git(root: Path) -> dict[str, Any] | None:
    """Return commit, None before the first, and whether the tree has changes; None outside git."""
    try:
        done = git(root, "status", "--porcelain=v2", "--branch", timeout_s=20)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    lines = done.stdout.splitlines()
    commit = next((x.split()[-1] for x in lines if x.startswith("# branch.oid ")), None)
    if commit == "(initial)":  # as git says where there is none yet
        commit = None
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ESCAPED = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(line: Mapping[str, Any]) -> str:
    """Write one line; NaN and infinities are refused."""
    text = _JSON.encode(line)
    if _LONE_SURROGATE.search(text):  # UTF-8 cannot hold it
        return _ESCAPED.encode(line)
    return text


def text_of(head: Mapping[str, Any], results: Iterable[Result], foot: Mapping[str, Any]) -> str:
    """Return the text of a whole record."""
    lines = (head, *(result.to_dict() for result in results), foot)
    return "".join(dumps(line) + "\n" for line in lines)


_REQUIRED = frozenset({"evalset", "case", "outcome", "query"})
_TEXT = rb'("(?:[^"\\]|\\.)*")'
_KEY = re.compile(
    rb'\{"kind":"result","evalset":' + _TEXT + rb',"case":' + _TEXT + rb',"repeat":(\d+),.*\n'
)


def read(path: Path) -> Run:
    """Read a run record; a torn last line, as a crash leaves it, is dropped.

    Raises:
        RecordError: if the file is missing, is no run record, is broken before its last line, or
            was written by a newer pytest-rag.
    """
    lines = _parse(path)
    head = _header(path, lines)
    results: dict[tuple[str, str, int], Result] = {}
    foot = None
    built = list(head.get("buildings", ()))
    for number, line in lines:
        if line["kind"] == "result":
            result = _result(path, number, line)
            results[result.key] = result
        elif line["kind"] == "evalset":  # until the header is complete, at the end
            head["evalsets"].setdefault(line["name"], line["facts"])
        elif line["kind"] == "building":  # likewise
            built.append(line)
        elif line["kind"] == "footer":
            foot = line
        elif line["kind"] == "header":
            raise RecordError(f"{path}:{number} is a second header: a record holds one run.")
    buildings = tuple(map(Building.from_dict, built))
    return Run(header=head, results=tuple(results.values()), footer=foot, buildings=buildings)


def stream(path: Path, evalset: str) -> tuple[Mapping[str, Any], Iterator[Result]]:
    """Read a run record's header, and its results of one evalset one at a time.

    The record is gone through twice: first for which result of a case and repeat is its last.
    Memory then grows with cases, not with what was retrieved and answered in them.

    Raises:
        RecordError: as `read` does; what is broken further on is told when it is come to.
    """
    head = _header(path, _parse(path))
    last = {key: number for number, key in _keys(path) if key[0] == evalset}
    numbers = frozenset(last.values())
    lines = _parse(path, numbers)
    return head, (_result(path, number, line) for number, line in lines)


def _header(path: Path, lines: Iterator[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    _, head = next(lines, (0, {}))
    if head.get("kind") != "header":
        raise RecordError(f"{path} is no run record: its first line is no header.")
    if head.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema_version {head.get('schema_version')!r}; this pytest-rag reads "
            f"{SCHEMA_VERSION}. Upgrade: pip install -U pytest-rag"
        )
    return head


def _result(path: Path, number: int, line: Mapping[str, Any]) -> Result:
    missing = _REQUIRED - line.keys()
    if missing:
        raise RecordError(f"{path}:{number}: a result without {', '.join(sorted(missing))}.")
    wrong = fault(line)
    if wrong is not None:
        raise RecordError(f"{path}:{number}: {wrong}.")
    return Result.from_dict(line)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line != b"\n":
                    yield number, line
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error}") from error


def _keys(path: Path) -> Iterator[tuple[int, tuple[str, str, int]]]:
    """Yield the number and the key of each result, without parsing more of it than that."""
    for number, line in _lines(path):
        found = _KEY.match(line)
        value = None if found else _value(path, number, line)
        if found:
            yield number, (_text(found[1]), _text(found[2]), int(found[3]))
        elif value is not None and value["kind"] == "result":
            yield number, _result(path, number, value).key


def _text(written: bytes) -> str:
    return str(json.loads(written.decode("utf-8", "replace")))


def _parse(
    path: Path, numbers: frozenset[int] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what the lines say; those with other numbers are not looked at."""
    for number, line in _lines(path):
        if numbers is None or number in numbers:
            value = _value(path, number, line)
            if value is not None:
                yield number, value


def _loads(line: bytes) -> Any:
    """Read JSON twice as fast as the standard library, which alone reads halves of characters."""
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line)


def _value(path: Path, number: int, line: bytes) -> dict[str, Any] | None:
    """Return what a line says, or None where a crash tore it off before its newline."""
    try:
        value = _loads(line)
    except ValueError:
        if not line.endswith(b"\n"):
            return None
        raise RecordError(f"{path}:{number}: this line is no JSON.") from None
    if not isinstance(value, dict) or "kind" not in value:
        raise RecordError(f"{path}:{number}: this line is no part of a run record.")
    return value
