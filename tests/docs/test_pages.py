"""Every fenced block of the documentation is executed.

For whoever writes a page: it needs a line in ``docs/index.md``, and its blocks run one after the
other in a folder that is empty at first. What a reader need not see stands in a comment: ``<!--``,
the block, ``-->``. Outputs are not written by hand: type the command and a first line, and let the
last command below do the rest.

The language behind the fence chooses the rule; a block that no rule covers fails.

=========================  ======================================================================
console, bash, none        ``$ `` begins a command, what follows is what it prints; without ``$ ``
                           every line is a command. ``pytest`` and ``pytest-rag`` run in this
                           process, ``pip install`` is looked at, the rest goes to a shell. Exit
                           status 0 where no output is shown; ``console fails`` where not
text, json, csv, markdown  part of what was printed on this page so far, or of a file it wrote.
                           ``text $ COMMAND`` runs the command and shows part of its output;
                           ``text figure`` is a drawing, and not looked at
jsonl NAME, text NAME, …   a file that is written
python                     is executed, in the names of the blocks before. With ``test_`` functions
                           it is a test file that must pass (``python fails``: must not); with a
                           fixture or metric it is the ``conftest.py``
python NAME                a file that is written and imported
yaml                       loaded as an evalset, or as the piece of one; GitHub's workflows: what
                           they run exists. ``yaml NAME`` stays there for commands
yaml workflow              the steps of a workflow: likewise
yaml broken                does not load; a ``text`` below shows what is said
toml                       read as settings; ``toml pyproject.toml`` stays there
=========================  ======================================================================

``… slow`` runs with ``-m slow`` only; ``… slow data`` where the public collections are, too, which
then lie in the folder. ``… by PATH`` says that another test, or .ci/run, runs these commands: they
stand in that file. In an output, ``…`` stands for what is cut; times, dates, hashes and widths may
differ. The addresses below, ``OPENAI`` and ``REDIS``, lead to servers on loopback.

To write the outputs anew::

    PYTEST_RAG_DOCS=write pytest tests/docs
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import vl_convert
from docs_commands import mistakes
from docs_page import PAGES, ROOT, name, read
from docs_rules import DriftError, run
from docs_stage import Stage
from docs_writer import say
from machine import sweep
from redis_server import RedisServer

from pytest_rag.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docs_page import Block

__all__ = ["vl_convert"]  # a pytest run in this process would forget it, and it loads only once
OPENAI = ("https://api.openai.com/v1", "https://gateway.example/v1")
REDIS = "redis://localhost:6379/0"
WRITE = os.environ.get("PYTEST_RAG_DOCS") == "write"


def pages() -> list[Any]:
    """Return every page that has blocks, and once more where some of them are slow."""
    found = []
    for path in PAGES:
        blocks = read(path)
        if blocks:
            found.append(pytest.param(path, False, id=name(path)))
        if any("slow" in block.words for block in blocks):
            found.append(pytest.param(path, True, id=f"{name(path)}-slow", marks=pytest.mark.slow))
    return found


@pytest.fixture(scope="session")
def openai() -> Iterator[str]:
    """The address of a server on loopback that speaks OpenAI's protocol."""
    from openai_server import Server

    server = Server(say)
    yield server.url
    server.close()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis server."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server.url
    server.stop()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch, outside_ci: None) -> None:
    """A terminal of eighty columns, somebody who commits, a key, no hub; metrics as before."""
    asyncio.set_event_loop(None)
    monkeypatch.setattr(METRICS, "_objects", dict(METRICS._objects))
    for variable in ("FORCE_COLOR", "PY_COLORS", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(variable, raising=False)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.org")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-documentation")


@pytest.fixture
def stage(
    path: Path,
    slow: bool,
    settled: None,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Stage]:
    """An empty project, with the servers on loopback that its page speaks of."""
    blocks = read(path)
    text = "".join(block.body for block in blocks)
    counterparts = {}
    if re.search("openai", text, re.IGNORECASE):
        for client in ("llms", "embeddings"):  # imported once, and not by every run
            importlib.import_module(f"llama_index.{client}.openai")
        url = request.getfixturevalue("openai")
        monkeypatch.setenv("OPENAI_API_BASE", url)
        counterparts |= dict.fromkeys(OPENAI, url)
    if REDIS in text:
        counterparts[REDIS] = request.getfixturevalue("redis")
    if slow and any("data" in block.words for block in blocks):
        for collection in filter(Path.is_dir, request.getfixturevalue("data_dir").iterdir()):
            (pytester.path / collection.name).symlink_to(collection)
    yield Stage(pytester=pytester, counterparts=counterparts)
    sweep()


@pytest.mark.parametrize(("path", "slow"), pages())
def test_every_block_of_the_page_does_what_it_says(path: Path, slow: bool, stage: Stage) -> None:
    """Commands run and print what is shown, Python runs, YAML and settings are accepted."""
    problems, drifted = [], []
    blocks = [block for block in read(path) if slow or "slow" not in block.words]
    for block in blocks:
        if block.language in ("csv", "jsonl") and block.name:
            stage.write(block.name, block.body)
    for block in blocks:
        try:
            run(block, stage)
        except DriftError as drift:
            drifted.append((block, drift.body))
            problems.append(f"{path.relative_to(ROOT)}:{block.line}\n{drift}")
        except Exception as error:  # noqa: BLE001  # whatever it is, the other blocks are run too
            said = f"{type(error).__name__}: {error}"
            problems.append(f"{path.relative_to(ROOT)}:{block.line}\n{said}")
    if WRITE:
        _write(path, drifted)
    assert not problems, "\n\n".join(problems)


def _write(path: Path, drifted: list[tuple[Block, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for block, body in reversed(drifted):
        begin, end = block.span
        text = text[:begin] + body + text[end:]
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=[name(path) for path in PAGES])
def test_every_command_of_the_prose_exists(path: Path) -> None:
    """What stands in backquotes names commands and options that there are."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]*\b(?:pytest-rag|--rag-)[^`\n]*)`", prose)
    assert [wrong for span in spans for wrong in mistakes(span.replace("\\|", "|"))] == []
