"""The rules of the house, read from the code: who imports whom, what start-up costs."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_rag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGE = Path(pytest_rag.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up: a part imports from its own layer and those below it.
LAYERS = (
    {"errors", "types", "trust", "rates", "extras", "sentences", "files", "git", "recordshape"},
    {"registry", "intervals", "vectors"},
    {"metrics", "stats", "redact", "zones"},
    {"calibration"},
    {"buildings", "cache"},
    {"registry", "intervals", "vectors"},
    {"metrics", "stats", "redact", "zones"},
    {"calibration"},
    {"buildings", "cache"},
    {"config", "checks", "params", "fate"},
    {"evalset", "trace", "records", "costs"},
    {"sharding"},
    {"loop", "crew", "replay"},
    {"pipelines"},
    {"observe"},
    {"judge", "judging", "writing", "gate", "merging"},
    {"evaluation", "runner", "baseline", "resume"},
    {
        "changes",
        "correction",
        "noise",
        "ratios",
        "rejudge",
        "exchange",
        "authoring",
        "bottleneck",
        "load",
    },
    {"pairing"},
    {"compare"},
    {"calibrating", "verdict", "sides", "sweep"},
    {"report"},
    {"cli", "plugin"},
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
MAY_NAME_LLAMA_INDEX = {"trace", "pipelines", "replay", "metrics/llamaindex.py"}
MAY_IMPORT_PYTEST = {"plugin"}


def part_of(path: Path) -> str:
    """Return the part of the house a file belongs to."""
    return _part(path.relative_to(PACKAGE).with_suffix("").parts)


def _part(names: Sequence[str]) -> str:
    """Return the part by a module's names; parameters are checked where evalsets are read."""
    if tuple(names[:2]) in {("pipelines", "params"), ("pipelines", "language")}:
        return "params"
    return names[0] if names else ""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every absolute module a file imports, within functions and for types alike."""
    for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(found, ast.Import):
            yield from ((alias.name, found.lineno) for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and found.module:
            yield found.module, found.lineno
            if found.module == "pytest_rag":
                yield from ((f"pytest_rag.{alias.name}", found.lineno) for alias in found.names)


def test_every_part_has_its_layer():
    """A new part of the house is given its place here."""
    parts = {part_of(path) for path in FILES} - {"__init__", "__main__"}
    assert parts <= LEVEL.keys(), f"without a layer: {parts - LEVEL.keys()}"


def test_imports_point_one_way():
    """From the plugin and the command line down to types and errors, never up."""
    wrong = []
    for path in FILES:
        mine = LEVEL.get(part_of(path), len(LAYERS))
        for module, line in imports(path):
            head, *rest = module.split(".")
            if head == "pytest_rag" and LEVEL.get(_part(rest), -1) > mine:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize(
    ("foreign", "allowed"),
    [
        (("pytest", "_pytest", "pluggy"), MAY_IMPORT_PYTEST),
        (("llama_index", "llama_index_instrumentation", "workflows"), MAY_NAME_LLAMA_INDEX),
    ],
    ids=["pytest", "llama_index"],
)
def test_frameworks_stay_in_their_rooms(foreign, allowed):
    """Only the plugin knows pytest; only what runs a pipeline knows LlamaIndex."""
    for path in FILES:
        place = path.relative_to(PACKAGE).as_posix()
        if part_of(path) not in allowed and place not in allowed:
            named = {module.partition(".")[0] for module, _ in imports(path)}
            assert not named & set(foreign), place


def test_the_core_prints_nothing():
    """Only the command line speaks by itself."""
    for path in FILES:
        if part_of(path) == "cli":
            continue
        calls = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
        named = [c.func.id for c in calls if isinstance(c.func, ast.Name)]
        assert "print" not in named, path


def test_no_file_is_too_long():
    """A file of more than 400 lines wants to be two."""
    assert not [p for p in FILES if len(p.read_text(encoding="utf-8").splitlines()) > 400]


def test_what_a_module_names_as_public_is_there():
    """Every name in every ``__all__`` resolves."""
    found = pkgutil.walk_packages(pytest_rag.__path__, "pytest_rag.")
    for name in ("pytest_rag", *(m.name for m in found if not m.name.endswith("__main__"))):
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            assert getattr(module, public, None) is not None, f"{name}.{public}"


# --- start-up -----------------------------------------------------------------------------------


def loaded(code: str, *before: str) -> set[str]:
    """Return the modules that code loads in a fresh Python, beyond those of other code."""
    program = f"import sys\n{code}\nimport json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    every = set(json.loads(done.stdout.splitlines()[-1]))
    return every - loaded(before[0]) if before else every


def test_the_plugin_loads_nothing_but_itself():
    """At most three modules of ours, and no other package that pytest has not loaded."""
    added = loaded("import pytest, pytest_rag.plugin", "import pytest")
    ours = {name for name in added if name.startswith("pytest_rag")}
    assert len(ours) <= 3
    foreign = {name.partition(".")[0] for name in added - ours} - set(sys.stdlib_module_names)
    assert not foreign


def test_a_run_without_evalsets_loads_two_modules(pytester):
    """In a project that does not use it, the plugin is a package and a file."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            ours = sorted(name for name in sys.modules if name.startswith("pytest_rag"))
            assert ours == ["pytest_rag", "pytest_rag.plugin"]
            assert "llama_index" not in sys.modules
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_llama_index_is_imported_late():
    """Loading an evalset, adapting and running a plain function need none of it."""
    names = ("evalset", "evaluation", "runner", "pipelines.adapters", "pipelines.local", "trace")
    added = loaded("import " + ", ".join(f"pytest_rag.{name}" for name in names))
    assert not {name.partition(".")[0] for name in added} & {"llama_index", "openai", "wordllama"}


def test_records_are_judged_and_shown_without_llama_index():
    """Gate, records and report work where it is not installed."""
    code = "import pytest_rag.gate, pytest_rag.records, pytest_rag.report.text"
    foreign = {name.partition(".")[0] for name in loaded(code)}
    assert not foreign & {"llama_index", "llama_index_instrumentation", "openai", "pytest"}
