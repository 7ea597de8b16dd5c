"""``pytest-rag costs``: tables and files of what the ledger holds, rebuilt from records."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from costs_parts import a_call, a_result
from typer.testing import CliRunner

from pytest_rag import records
from pytest_rag.cli import app
from pytest_rag.costs.ledger import Ledger

RESULTS = (
    a_result("a", a_call(0.5, "2026-10-31T23:30:00+00:00"), a_call(None, model="acme-1")),
    a_result("b", a_call(0.25, stage="judge", estimated=True), evalset="leave"),
)


def costs(*args: str):
    """Run the command."""
    return CliRunner().invoke(app, ["costs", *args], catch_exceptions=False)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with a ledger of three calls."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest-rag]\n")
    ledger = Ledger(tmp_path / ".pytest_rag" / "ledger.sqlite")
    ledger.add("run", RESULTS)
    ledger.close()
    return tmp_path


def test_the_table_tells_what_it_leaves_out():
    """Sums, means, unknown and estimated calls, the zone and the forecast's formula."""
    shown = costs("--by", "model")
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert lines[0] == "costs by model · from the first call until now · time zone Europe/Lisbon"
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[2:5]]
    assert [(row[0], row[-2], row[-1]) for row in rows] == [
        ("gpt-4o-mini", "$0.75", "$0.38"),
        ("acme-1", "unknown", "unknown"),
        ("total", "≥ $0.75", "$0.38"),
    ]
    assert "  the cost of 1 call is unknown and in no sum" in lines
    assert "  the tokens of 1 call were counted here (estimated)" in lines
    assert lines[-1].startswith("forecast: ")


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("day", ["2026-10-31", "2026-11-22"]),
        ("month", ["2026-10", "2026-11"]),
        ("model", ["gpt-4o-mini", "acme-1"]),
        ("evalset", ["hr", "leave"]),
        ("stage", ["llm", "judge"]),
        ("source", ["run"]),
    ],
)
def test_every_way_to_look_at_it(by, keys):
    """The same calls, whatever a row is; CSV and JSON have the same figures."""
    found = json.loads(costs("--by", by, "--json").output)
    assert [row[by] for row in found["rows"]] == keys
    assert (found["total"]["calls"], found["total"]["known_usd"]) == (3, 0.75)
    assert (found["total"]["cost_usd"], found["total"]["unknown_calls"]) == (None, 1)
    rows = list(csv.DictReader(io.StringIO(costs("--by", by, "--csv").output)))
    assert [row[by] for row in rows] == keys
    assert sum(float(row["known_usd"]) for row in rows) == 0.75


def test_days_are_those_of_the_zone():
    """In Kathmandu the first call was made in November."""
    found = json.loads(costs("--by", "month", "--tz", "Asia/Kathmandu", "--json").output)
    assert [row["month"] for row in found["rows"]] == ["2026-11"]
    assert found["timezone"] == "Asia/Kathmandu"
    within = ("--since", "2026-10-31", "--until", "2026-10-31", "--json")
    assert json.loads(costs(*within).output)["total"]["known_usd"] == 0.5


def test_the_page_runs_nothing(project):
    """A model's name is text, whatever it says; nothing is loaded from elsewhere."""
    ledger = Ledger(project / ".pytest_rag" / "ledger.sqlite")
    ledger.add("evil", [a_result("a", a_call(1.0, model="<script>alert(1)</script>"))])
    ledger.close()
    assert costs("--by", "model", "--html", "--out", "costs.html").output == ""
    page = (project / "costs.html").read_text(encoding="utf-8")
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    Reader().feed(page)
    assert "script" not in tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_no_spreadsheet_reckons_with_a_name(project):
    """A name that begins like a formula is not one."""
    ledger = Ledger(project / ".pytest_rag" / "ledger.sqlite")
    ledger.add("evil", [a_result("a", a_call(1.0, model="=1+1"))])
    ledger.close()
    assert "\n'=1+1," in costs("--by", "model", "--csv").output


def test_it_is_rebuilt_from_records(project):
    """A ledger that is lost comes back from the records of the runs, however often."""
    head, foot = records.header({}, project), records.footer(RESULTS, complete=True)
    lines = [head, *(result.to_dict() for result in RESULTS), foot]
    Path("run.jsonl").write_text("".join(records.dumps(line) + "\n" for line in lines))
    before = costs("--by", "day", "--json").output
    for left in project.glob(".pytest_rag/ledger*"):
        left.unlink()
    for _ in range(2):
        shown = costs("--rebuild", "run.jsonl")
        assert (shown.exit_code, shown.output) == (0, "run.jsonl: 3 calls that cost money\n")
    assert json.loads(costs("--by", "day", "--json").output)["rows"] == json.loads(before)["rows"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--by", "dya"), "--by takes no 'dya'. Did you mean 'day'?"),
        (("--tz", "Europe/Lissabon"), "Did you mean 'Europe/Lisbon'?"),
        (("--since", "yesterday"), "'yesterday' is no date. Write it as 2026-11-01."),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "lies after"),
        (("--csv", "--html"), "Only one of --csv and --html."),
        (("run.jsonl",), "To take a record in: pytest-rag costs --rebuild run.jsonl"),
        (("--rebuild",), "--rebuild takes run records"),
        (("--rebuild", "none.jsonl"), "none.jsonl cannot be read"),
        (("--ledger", "none.sqlite"), "There is no ledger 'none.sqlite'."),
    ],
)
def test_what_is_typed_wrong(args, said):
    """One sentence, and exit status 2."""
    shown = costs(*args)
    assert shown.exit_code == 2
    assert said in shown.output


def test_a_project_without_calls(tmp_path, monkeypatch):
    """Nothing is made by looking."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "pyproject.toml").write_text("[tool.pytest-rag]\n")
    monkeypatch.chdir(empty)
    shown = costs()
    assert (shown.exit_code, "no call that costs money is known" in shown.output) == (0, True)
    assert not (empty / ".pytest_rag").exists()
    (empty / "pyproject.toml").write_text("[tool.pytest-rag]\nledger = false\n")
    assert "`ledger = false` stands in" in costs().output
