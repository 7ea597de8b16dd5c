"""``pytest-rag cache`` tells what a cache saved, empties it and prunes it."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner

from pytest_rag.cache import key_of, open_cache
from pytest_rag.cli import app


@pytest.fixture
def cli():
    """Run the command line."""
    return lambda *args: CliRunner().invoke(app, list(args))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose cache is SQLite, with three answers and some counts."""
    settings = '[tool.pytest-rag]\ncache = "sqlite:.cache/answers.db"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    cache = open_cache("sqlite:.cache/answers.db", tmp_path)
    cache.put(key_of("answers/Engine/1/2", n=1), b"x" * 1500, ttl=60)
    cache.put(key_of("stages/embed", n=1), b"x" * 500)
    cache.put(key_of("answers/Engine/1/2", n=2), b"x", ttl=0.001)
    cache.tally({"hits": 30, "misses": 10, "stored": 10, "saved_ms": 65_000, "saved_usd": 0.125})
    cache.tally({"unpriced_hits": 1})
    time.sleep(0.01)
    cache.close()
    return tmp_path


def test_stats_of_the_configured_cache(project, cli):
    """Found from a folder below the project's root."""
    done = cli("cache", "stats")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"sqlite:{project / '.cache/answers.db'}"
    assert lines[1:] == [
        "holds 2 entries, 2.0 kB; 1 expired",
        "answers 1",
        "stages 1",
        "questions 40, of which 75% from the cache",
        "hits 30",
        "misses 10",
        "answers kept 10",
        "saved 65.0 s, $0.12, and 1 hit whose price is not known",
    ]


def test_stats_as_json(project, cli):
    """All of it, for scripts."""
    told = json.loads(cli("cache", "stats", "--json").stdout)
    assert (told["entries"], told["expired"], told["namespaces"]) == (
        2, 1, {"answers": 1, "stages": 1}
    )  # fmt: skip
    assert (told["use"]["hits"], told["use"]["saved_usd"]) == (30, 0.125)


def test_prune_and_clear(project, cli):
    """What has expired; a namespace; everything."""
    assert cli("cache", "prune").stdout.endswith("pruned 1 entry.\n")
    done = cli("cache", "clear", "--namespace", "answers", "--json")
    assert json.loads(done.stdout)["cleared"] == 1
    assert cli("cache", "clear").stdout.endswith("cleared 1 entry.\n")
    assert "no question has been asked" in cli("cache", "stats").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("stats", "--url", "sqlite:nowhere.db"), "nothing has been kept there yet"),
        (("stats", "--url", "sqlit:x"), "Did you mean 'sqlite'?"),
        (("stats", "--url", "memory"), "ends with its process"),
        (("stats", "--url", "redis://:hunter2000@127.0.0.1:1/0"), "redis://127.0.0.1:1/0 cannot"),
        (("clear", "--url", "off"), "No cache is configured"),
    ],
)
def test_a_cache_that_is_not_there(project, cli, args, said):
    """One sentence and exit status 2; no file is made and no password is shown."""
    done = cli("cache", *args)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "hunter" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (project / "below" / "nowhere.db").exists()


def test_a_wrong_setting_is_told(project, cli):
    """The configuration is read strictly."""
    (project / "pyproject.toml").write_text('[tool.pytest-rag]\ncache = "reddis://x"\n')
    done = cli("cache", "stats")
    assert done.exit_code == 2
    assert "Unknown cache 'reddis'. Did you mean 'redis'?" in done.stderr
