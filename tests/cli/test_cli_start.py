"""The command line as a whole: help, version, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest
import yaml

import pytest_rag

HEAVY = ("llama_index", "numpy", "openai", "pytest", "genai_prices")
LOOK = """
import sys
from typer.testing import CliRunner
from pytest_rag.cli import app
assert CliRunner().invoke(app, sys.argv[2:]).exit_code == 0
print([name for name in sys.argv[1].split(",") if name in sys.modules])
"""


def heavy_modules(names, *args):
    """Return which of the modules a command has imported."""
    command = [sys.executable, "-c", LOOK, ",".join(names), *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_help_imports_nothing_heavy():
    """`--help` must be quick: not even pydantic and yaml are imported for it."""
    assert heavy_modules((*HEAVY, "pydantic", "yaml"), "--help") == "[]"


@pytest.mark.parametrize("args", [["schema"], ["run", "--help"], ["init"]])
def test_light_commands_import_neither_llama_index_nor_numpy(args, tmp_path, monkeypatch):
    """What runs no pipeline needs no library of pipelines."""
    monkeypatch.chdir(tmp_path)
    assert heavy_modules(HEAVY, *args) == "[]"


def test_help_names_every_command(project):
    """`--help` lists the commands and says how to ask for the version."""
    shown = project("--help")
    assert shown.exit_code == 0
    for word in ("init", "run", "schema", "doctor", "--version"):
        assert word in shown.output
    assert "completion" not in shown.output


def test_version(project):
    """`--version` prints name and version on one line."""
    assert project("--version").output == f"pytest-rag {pytest_rag.__version__}\n"


def test_no_command_is_a_usage_error(project):
    """Nothing to do prints the help and is no success."""
    shown = project()
    assert shown.exit_code == 2
    assert "init" in shown.output


def test_a_mistyped_command_names_the_right_one(project):
    """A typo in a command is a usage error with the nearest command."""
    shown = project("docter")
    assert shown.exit_code == 2
    assert "doctor" in shown.stderr


def test_module_and_entry_point_are_the_same(project):
    """`python -m pytest_rag` is the console script under its own name."""
    process = project.start("run")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Usage: pytest-rag run" in complaint


def test_schema_is_printed_and_describes_the_files(project):
    """The printed schema is valid, and the starter evalset is valid by it."""
    schema = json.loads(project("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    project("init")
    text = (project.path / "evalsets/example.rag.yaml").read_text(encoding="utf-8")
    jsonschema.validate(yaml.safe_load(text), schema)


def test_schema_goes_to_a_file(project):
    """`schema -o FILE` writes what `schema` prints, and nothing to stdout."""
    written = project("schema", "-o", "deep/schema.json")
    assert (written.exit_code, written.stdout) == (0, "")
    text = (project.path / "deep/schema.json").read_text(encoding="utf-8")
    assert text == project("schema").stdout
