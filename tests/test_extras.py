"""Without an optional package the message names the extra that brings it, whatever asks for it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_rag import evalset, metrics
from pytest_rag.cache import open_cache
from pytest_rag.cli import app
from pytest_rag.config import JudgeSettings, OpenAICompatible
from pytest_rag.errors import EvalSetError, MissingExtraError
from pytest_rag.judging import Models
from pytest_rag.pipelines import language, local
from pytest_rag.plugin.benchmarking import RagBenchmark
from pytest_rag.report.dashboard import charts, dashboard
from pytest_rag.sweep.proposer import Proposer

ROOT = Path(__file__).resolve().parents[1]
SERVED = OpenAICompatible(base_url="http://127.0.0.1:1/v1", model="m")
SETTINGS = JudgeSettings(model=SERVED, embeddings=SERVED)


def models():
    """Return a judge on a server."""
    return Models(SETTINGS, Path())


def pdf(folder):
    """Read a folder with a PDF."""
    from pytest_rag.pipelines.corpus import read_folder

    (folder / "a.pdf").write_bytes(b"%PDF-1.4")
    read_folder(folder)


def vectors(_):
    """Load the vectors, though they were loaded before."""
    module = importlib.import_module("pytest_rag.vectors")
    module._model.__wrapped__()


def table(folder, said="path: x.parquet"):
    """Load an evalset whose cases stand in a table."""
    (folder / "x.parquet").write_bytes(b"PAR1")
    path = folder / "a.rag.yaml"
    path.write_text(f"cases_from: {{{said}}}\n")
    try:
        evalset.load(path)
    except EvalSetError as error:
        raise MissingExtraError(str(error)) from error


def generated(folder):
    """Let ragas propose cases."""
    done = CliRunner().invoke(app, ["generate", "--from", str(folder), "--with", "ragas"])
    assert done.exit_code == 2
    raise MissingExtraError(done.output)


USES = {
    "demo": [
        ("wordllama", vectors),
        ("wordllama", lambda _: metrics.get("semantic_similarity")),
        ("llama_index.retrievers.bm25", lambda folder: local.build(folder, corpus=str(folder))),
        ("Stemmer", lambda _: language.stem_words(["a"], "en")),
        ("pypdf", pdf),
        ("wordllama", lambda _: Models(JudgeSettings(), Path()).embeddings),
    ],
    "openai": [
        ("llama_index.llms.openai_like", lambda _: models().llm),
        ("llama_index.embeddings.openai", lambda _: models().embeddings),
    ],
    "datasets": [
        ("pyarrow", table),
        ("datasets", lambda folder: table(folder, "dataset: squad, split: train")),
    ],
    "benchmark": [("pytest_benchmark", lambda _: RagBenchmark(None, None))],
    "sweep": [("optuna", lambda _: Proposer(None, {}))],
    "ragas": [("ragas", lambda _: metrics.get("ragas.faithfulness")), ("ragas", generated)],
    "redis": [("redis", lambda _: open_cache("redis://127.0.0.1:1", Path()))],
    "report": [
        ("jinja2", lambda _: dashboard([])),
        ("vl_convert", lambda _: charts._draw({}, [], (1, 1))),
    ],
}
CASES = [
    pytest.param(extra, module, use, id=f"{extra}-{module}-{n}")
    for extra, uses in USES.items()
    for n, (module, use) in enumerate(uses)
]


@pytest.mark.slow
def test_everything_imports():
    """With all extras, every module of ours and every package they name is imported."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/everything.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_every_extra_is_among_them():
    """A new extra gets its line above."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = table["project"]["optional-dependencies"]
    assert extras.keys() - {"all", "dev", "docs", "test"} == USES.keys()


@pytest.mark.parametrize(("extra", "module", "use"), CASES)
def test_the_message_says_what_to_type(extra, module, use, tmp_path, monkeypatch):
    """``pip install 'pytest-rag[EXTRA]'``, and no traceback of an import."""
    (tmp_path / "a.md").write_text("# A\n\nText.\n")
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    for asking in ("pytest_rag.metrics.semantic", "pytest_rag.extras"):
        monkeypatch.setattr(f"{asking}.find_spec", lambda _: None)
    monkeypatch.setattr(sys, "meta_path", [_Missing(module), *sys.meta_path])
    _forget()
    with pytest.raises(MissingExtraError, match=rf"pip install 'pytest-rag\[{extra}\]'"):
        use(tmp_path)
    _forget()


def test_cases_show_no_traceback_of_it(tmp_path, monkeypatch):
    """The command to type is all there is to be said."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("# A\n\nText.\n")
    cases = "pipeline: {local: {corpus: docs}}\ncases:\n  - {id: a, query: What?}\n"
    (tmp_path / "a.rag.yaml").write_text(cases)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "llama_index.retrievers.bm25", None)
    done = CliRunner().invoke(app, ["run", "a.rag.yaml"])
    assert done.exit_code == 3
    assert "pip install 'pytest-rag[demo]'" in done.output
    assert "Traceback" not in done.output


def _forget():
    """Forget what was found while the package was, or was not, there."""
    from pytest_rag.metrics import ragas

    ragas.load.cache_clear()
    ragas._known.cache_clear()


class _Missing:
    """Finds no module of a package, as where it is not installed."""

    def __init__(self, module):
        self._module = module

    def find_spec(self, name, path=None, target=None):
        if name == self._module or name.startswith(f"{self._module}."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
