"""How a fenced block is executed, by the language behind its fence."""

from __future__ import annotations

import ast
import csv
import io
import json
import tomllib
from typing import TYPE_CHECKING, Any

import yaml
from docs_commands import mistakes
from docs_output import agrees, difference, fitted
from docs_page import ROOT, Block

from pytest_rag import config, evalset
from pytest_rag.errors import EvalSetError
from pytest_rag.sweep.model import SweepModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from docs_stage import Stage

_QUESTION = {"id": "x", "query": "What?"}


class DriftError(AssertionError):
    """A page says something else than what is printed.

    Attributes:
        body: What the block would say if it were written anew.
    """

    def __init__(self, said: str, printed: str, body: str) -> None:
        super().__init__(difference(said, printed))
        self.body = body


def run(block: Block, stage: Stage) -> None:
    """Execute a block.

    Raises:
        DriftError: if an output is not what the page says.
        AssertionError: if something else is not as the page says, or there is no rule for it.
    """
    assert not block.unknown, f"what is {block.unknown[0]!r} behind the fence?"
    rule = _elsewhere if "by" in block.words else RULES.get(block.language)
    assert rule is not None, f"no rule for {block.language!r}"
    rule(block, stage)


# --- commands ---------------------------------------------------------------------------------


def _console(block: Block, stage: Stage) -> None:
    body, drift = "", []
    for typed, said in commands(block.body):
        printed = _done(typed, block, stage, said=bool(said.strip()))
        same = agrees(said, printed)
        drift += [] if same else [(said, printed)]
        body += "".join(f"{line}\n" for line in f"$ {typed}".splitlines())
        body += said if not said.strip() else fitted(said, printed)
    if drift:
        raise DriftError(*map("\n".join, zip(*drift, strict=True)), body)


def _done(typed: str, block: Block, stage: Stage, *, said: bool) -> str:
    done = stage.run(typed)
    wanted = "fails" in block.words
    assert said or bool(done.status) == wanted, f"{typed}: exit status {done.status}\n{done.output}"
    return done.output


def commands(body: str) -> list[tuple[str, str]]:
    """Return each command of a block with what the page says that it prints.

    A command begins with ``$ ``; where none does, every line is one and no output is told.
    """
    if not body.startswith("$ "):
        joined = body.replace("\\\n", " ")
        return [(line, "") for line in joined.splitlines() if line.strip()]
    found: list[tuple[str, str]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line}", "")
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def _elsewhere(block: Block, stage: Stage) -> None:
    """Another test, or .ci/run, runs these commands: they stand in it."""
    there = " ".join((ROOT / block.name).read_text(encoding="utf-8").replace(" -qq", "").split())
    for typed, _ in commands(block.body):
        for each in typed.removesuffix(" &").split(" && "):
            if each.startswith("pip install"):
                assert stage.run(each).status == 0, each
            else:
                assert each in there, f"{block.name} does not run {each!r}"


# --- outputs ----------------------------------------------------------------------------------


def _excerpt(block: Block, stage: Stage) -> None:
    """Part of what was printed on the page so far, or of a file that was written."""
    if block.words & {"figure", "imports"}:
        return
    if block.command:
        candidates = [stage.run(block.command).output]
    else:
        candidates = [*reversed(stage.seen), *_files(stage)]
    for printed in candidates:
        if agrees(block.body, printed):
            return
    nearest = max(candidates, key=lambda text: _shared(block.body, text), default="")
    raise DriftError(block.body, nearest, fitted(block.body, nearest))


def _shared(said: str, printed: str) -> int:
    return len({*said.split()} & {*printed.split()})


def _files(stage: Stage) -> list[str]:
    kinds = ("*.jsonl", "*.json", "*.md", "*.csv", "*.txt", "*.xml")
    found = [path for kind in kinds for path in sorted(stage.path.rglob(kind))]
    return [path.read_text(encoding="utf-8") for path in found]


# --- files ------------------------------------------------------------------------------------


def _yaml(block: Block, stage: Stage) -> None:
    value = yaml.safe_load(block.body) if "broken" not in block.words else None
    if "workflow" in block.words and isinstance(value, list):
        value = {"runs": {"steps": value}}
    if isinstance(value, dict) and value.keys() & {"jobs", "runs"}:
        return _workflow(block, stage, value)
    if isinstance(value, dict) and "objectives" in value:
        SweepModel.model_validate(value)
        return None
    path = stage.write(block.name or "leave.rag.yaml", block.body)
    if "broken" in block.words:
        try:
            evalset.load(path)
        except EvalSetError as error:
            stage.seen.append(str(error).replace(f"{stage.path}/", ""))
            return None
        raise AssertionError("nothing is wrong with it")
    path.write_text(stage.here(completed(block.body)), encoding="utf-8")
    assert evalset.load(path).cases
    if not block.name:
        path.unlink()
    return None


def completed(written: str) -> str:
    """Return an example as a whole file: a case, a piece of a case or of a file is made one."""
    value = yaml.safe_load(written)
    if isinstance(value, list):
        value = {"cases": value}
    elif "checks" in value:
        value = {"cases": [{**_QUESTION, "answer": "five", "relevant": ["a.md"], **value}]}
    elif not value.keys() & {"cases", "cases_from"}:
        value = {**value, "cases": [_QUESTION]}
    else:
        return written
    return yaml.safe_dump(value, allow_unicode=True)


def _workflow(block: Block, stage: Stage, value: dict[str, Any]) -> None:
    """GitHub's: what its steps run exists, and so do the options."""
    if block.name:
        stage.write(block.name, block.body)
    places = [value.get("runs", {}), *value.get("jobs", {}).values()]
    steps = [step for place in places for step in place.get("steps", [])]
    for step in steps:
        for line in str(step.get("run", "")).replace("\\\n", " ").splitlines():
            assert mistakes(line) == [], mistakes(line)


def _python(block: Block, stage: Stage) -> None:
    """A file is written and imported, tests are run, all else is executed."""
    tree = ast.parse(block.body)
    tests = any(isinstance(n, ast.FunctionDef) and n.name.startswith("test_") for n in tree.body)
    fixtures = "@pytest.fixture" in block.body or "@pytest_rag.metric" in block.body
    if not block.name and not tests and not fixtures:
        stage.execute(block.body, f"line {block.line}")
        return
    name = block.name or (f"test_line_{block.line}.py" if tests else "conftest.py")
    stage.write(name, block.body)
    if tests:
        done = stage.run(f"pytest -q {name}")
        assert ("fails" in block.words) == bool(done.status), done.output
    elif name == "conftest.py":
        done = stage.run("pytest -q --collect-only")
        assert done.status in (0, 5), done.output
    else:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        stage.execute(f"import {module}", name)


def _toml(block: Block, stage: Stage) -> None:
    """Settings are read, and what entry points name is imported; with a name it stays."""
    value = tomllib.loads(block.body)
    path = stage.write("pyproject.toml", block.body)
    config.load(stage.path)
    if block.name:
        return
    path.unlink()
    groups = value.get("project", {}).get("entry-points", {})
    for target in (target for points in groups.values() for target in points.values()):
        module, _, name = target.partition(":")
        stage.execute(f"import {module}\n{module}.{name}", f"line {block.line}")


def _data(block: Block, stage: Stage) -> None:
    """A file of data is one that can be read, and lies there for the blocks that follow."""
    if not block.name:
        _excerpt(block, stage)
        return
    stage.write(block.name, block.body)
    if block.name.endswith(".csv"):
        assert len({len(row) for row in csv.reader(io.StringIO(block.body))}) == 1
    elif block.name.endswith(".jsonl"):
        assert all(map(json.loads, block.body.splitlines()))
    elif block.name.endswith(".json"):
        json.loads(block.body)


RULES: dict[str, Callable[[Block, Stage], None]] = {
    "": _console,
    "bash": _console,
    "console": _console,
    "csv": _data,
    "json": _data,
    "jsonl": _data,
    "markdown": _data,
    "python": _python,
    "text": _data,
    "toml": _toml,
    "yaml": _yaml,
}
