"""Reports by name: what is asked for, where it goes, and what each form holds."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET

import jsonschema
import pytest
from report_parts import LONG, POISON, held, poisoned, result
from typer.testing import CliRunner

from pytest_rag.cli import app
from pytest_rag.errors import ConfigError
from pytest_rag.plugin.reporting import Progress
from pytest_rag.report.document import document, document_schema
from pytest_rag.report.reporters import REPORTERS, View, Wanted, parse, parse_all, write_reports
from pytest_rag.report.sheet import sheet
from pytest_rag.report.summary import summarise

EVALSET = """
    pipeline: my_rag:build
    cases:
      - {id: good, query: one, relevant: [a.md], checks: {contains: five}}
      - {id: bad, query: two, relevant: [b.md], checks: {contains: six}}
"""
PIPELINE = """
    def build():
        usage = {"model": "gpt-4o-mini", "input_tokens": 1000, "output_tokens": 100}
        found = [{"id": "a.md", "score": 1.0, "text": "five"}]
        return lambda query: {"answer": "five", "retrieved": found, "usage": usage}
"""
FILES = {"evalsets/demo.rag.yaml": EVALSET, "my_rag.py": PIPELINE}


def view(*results, of=None, **fields):
    """Return what a reporter renders."""
    summary = summarise(results, {} if of is None else {"handbook": of})
    return View(summary=summary, header={}, results=results, **fields)


# --- what is asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("htm:x", "Unknown report format 'htm'. Did you mean 'html'?"),
        ("md", "'md' is not FORMAT:PATH. Write md:report.md"),
        ("report.html", "'report.html' is not FORMAT:PATH. Write md:report.md"),
        ("md:.", "is a folder. Name a file in it: "),
        ("md:taken/report.md", "is no folder one may write in."),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(text, said, tmp_path):
    """The nearest format, the right form, or why the path cannot be."""
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigError) as error:
        parse(text, tmp_path)
    assert said in str(error.value)


def test_two_reports_need_two_files(tmp_path):
    """One would replace the other."""
    with pytest.raises(ConfigError, match="Two reports would go to"):
        parse_all(["md:x", "json:./x"], tmp_path)


def test_pytest_and_the_command_line_refuse_alike(run_rag):
    """A typo costs nothing: exit status 4 of pytest, 2 of ours."""
    done = run_rag(FILES, "--rag-report=htlm:x.html")
    assert done.ret == 4
    done.stderr.fnmatch_lines(["*--rag-report: Unknown report format 'htlm'. Did you mean 'html'?"])
    mine = CliRunner().invoke(app, ["run", "evalsets", "--report", "htlm:x.html"])
    assert (mine.exit_code, "Did you mean 'html'?" in mine.output) == (2, True)


def test_a_reporter_of_ones_own(tmp_path, monkeypatch):
    """What is registered under a name is asked by that name; one that breaks takes none along."""
    monkeypatch.setattr(REPORTERS, "_objects", dict(REPORTERS._objects))
    REPORTERS.register("ids", lambda view: ",".join(r.case for r in view.results))
    REPORTERS.register("broken", lambda view: 1 / 0)
    wanted = [parse(f"{name}:{name}.txt", tmp_path) for name in ("broken", "ids")]
    told = list(write_reports(wanted, view(result("a"), result("b")), {}))
    assert (tmp_path / "ids.txt").read_text() == "a,b"
    assert [well for _, well in told] == [False, True]
    assert "division by zero" in told[0][0]


# --- where it goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_run_writes_what_was_asked_for(run_rag, pytester, workers):
    """Every form at once, by the controller alone, and each case's figures in pytest's JUnit."""
    done = run_rag(
        FILES, "--rag-report=md:out/r.md", "--rag-report=json:r.json", "--rag-report=csv:r.csv",
        "--rag-report=html:r.html", "--rag-report=github:a.txt", "--junitxml=j.xml", *workers,
        apart=bool(workers),
    )  # fmt: skip
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["report: out/r.md", "report: r.json", "report: r.csv"])
    assert "> - `demo`: 1 case failed" in (pytester.path / "out/r.md").read_text()
    assert "<!doctype html>" in (pytester.path / "r.html").read_text()
    annotation = "::error file=evalsets/demo.rag.yaml,line=4,title=bad failed::contains 'six'"
    assert (pytester.path / "a.txt").read_text().startswith(annotation)
    told = json.loads((pytester.path / "r.json").read_text())
    jsonschema.validate(told, document_schema())
    assert (told["verdict"], told["evalsets"][0]["outcomes"]["failed"]) == ("red", 1)
    table = (pytester.path / "r.csv").read_text()
    rows = {row["case"]: row for row in csv.DictReader(table.splitlines())}
    assert (rows["good"]["outcome"], rows["bad"]["outcome"]) == ("passed", "failed")
    cases = ET.parse(pytester.path / "j.xml").getroot().iter("testcase")
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in cases
    }
    assert found["good"]["rag.R@5"] == "1"
    assert found["bad"]["rag.R@5"] == "0"
    assert float(found["good"]["rag.cost_usd"]) == pytest.approx(0.00021)
    assert float(found["good"]["rag.latency_ms"]) >= 0
    assert (found["good"]["rag.origin"], found["bad"]["rag.outcome"]) == ("live", "failed")


def test_in_github_actions_the_summary_is_written_unasked(run_rag, pytester, monkeypatch):
    """It is appended, and a run without a case of ours writes nothing."""
    page = pytester.path / "summary.md"
    page.write_text("# Another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run_rag({"test_it.py": "def test_it(): pass"}).assert_outcomes(passed=1)
    assert page.read_text() == "# Another step\n"
    run_rag(FILES, "--rag-baseline=none")
    first, _, rest = page.read_text().partition("\n")
    assert first == "# Another step"
    assert rest.startswith("> [!CAUTION]")


@pytest.mark.parametrize("actions", ["true", ""])
def test_the_summary_by_name_is_appended_too(tmp_path, actions):
    """Whoever asks for it by path gets it once, behind what is there."""
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    environ = {"GITHUB_STEP_SUMMARY": str(page), "GITHUB_ACTIONS": actions}
    assert list(write_reports([Wanted(format="md", path=page)], view(result()), environ))
    assert page.read_text().startswith("before\n> [!TIP]")
    assert page.read_text().count("[!TIP]") == 1
    assert not list(write_reports([], view(), environ))


# --- JSON -----------------------------------------------------------------------------------------


def test_the_document_keeps_to_its_schema():
    """With a comparison, with errors, with nothing known: always what was published."""
    error = {"type": "E", "message": "no", "traceback": ""}
    bare = {"scores": {"RR": {"value": None, "reason": "x"}}, "latency_ms": None, "cost_usd": None}
    runs = [result("a", outcome="failed"), result("b", outcome="error", error=error, **bare)]
    schema = document_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in (view(*runs, of=held(results=runs)), view(), view(*runs[1:])):
        jsonschema.validate(json.loads(document(each)), schema)
    told = json.loads(document(view(*runs, of=held(results=runs))))
    assert told["evalsets"][0]["comparison"]["metrics"][0]["verdict"] == "regressed"
    assert [case["outcome"] for case in told["evalsets"][0]["cases"]] == ["failed", "error"]
    assert json.loads(document(view(*runs[1:])))["verdict"] == "nothing measured"


def test_the_schema_is_printed():
    """`pytest-rag schema --report` prints the schema of the document."""
    done = CliRunner().invoke(app, ["schema", "--report"])
    assert json.loads(done.stdout) == document_schema()


# --- poison -----------------------------------------------------------------------------------


def test_no_cell_of_the_sheet_is_a_formula():
    """Text that a spreadsheet would run is text, on one line, and not ten megabytes of it."""
    rows = list(csv.reader(io.StringIO(sheet(list(poisoned())))))
    cells = [cell for row in rows[1:] for cell in (*row[:2], *row[4:7])]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert not [cell for cell in cells if not cell.isprintable()]
    assert max(map(len, cells)) < 3000
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)


SAID = ("script", "ansi", "bidi", "endscript", "nul", "surrogate", "entity")


def test_poison_goes_through_terminal_and_junit(run_rag, pytester):
    """What a pipeline says steers no terminal and breaks no XML."""
    texts = {name: POISON[name] for name in (*SAID, "hidden")}
    cases = "".join(f"  - {{id: {name}, query: {name}}}\n" for name in (*texts, "long"))
    source = (
        "TEXTS = " + repr(texts) + "\n"
        "def build():\n"
        f"    return lambda query: TEXTS.get(query) or 'long ' * {len(LONG) // 5}\n"
    )
    head = "pipeline: my_rag:build\ndefaults: {checks: {contains: nothing such}}\ncases:\n"
    files = {"my_rag.py": source, "poison.rag.yaml": head + cases}
    done = run_rag(files, "--junitxml=j.xml", "--rag-report=md:r.md", "--rag-report=json:r.json")
    done.assert_outcomes(failed=9)
    printed = done.stdout.str()
    assert "<script>window.pwned" in printed
    assert not set(printed) & set("\x1b\x07\x08\x00\u202e\u2066\u200b\ud800")
    assert len(printed) < 50_000
    told = ET.parse(pytester.path / "j.xml")
    assert len(list(told.iter("failure"))) == 9
    assert (pytester.path / "j.xml").stat().st_size < 200_000
    assert (pytester.path / "r.json").stat().st_size < 200_000


# --- progress -----------------------------------------------------------------------------------


class _Terminal:
    """What pytest's terminal reporter offers to others."""

    def __init__(self, *, isatty):
        self.isatty, self.lines = isatty, []

    def ensure_newline(self):
        pass

    def write_line(self, line, **_):
        self.lines.append(line)


class _Config:
    """As much of pytest's as the progress asks for."""

    def __init__(self, terminal, verbosity=0):
        self.pluginmanager = self
        self._terminal, self._verbosity = terminal, verbosity

    def get_plugin(self, name):
        return self._terminal

    def getoption(self, name, default):
        return default

    def get_verbosity(self):
        return self._verbosity


def _walk(terminal, verbosity=0, environ=None, total=100, **fields):
    """Run a case each second for a minute."""
    now = iter(range(1000))
    progress = Progress(_Config(terminal, verbosity), lambda: next(now), environ or {})
    for n in range(60):
        progress.add([result(f"c{n}", **fields)], total)
    return terminal.lines


def test_progress_of_a_long_run():
    """Every ten seconds: cases done, cost so far, and how long the rest will take."""
    lines = _walk(_Terminal(isatty=True))
    assert lines[0] == "rag: 10 of 100 cases done · $2.50 · about 2 min left"
    assert lines[-1] == "rag: 60 of 100 cases done · $15.00 · about 40 s left"
    assert len(lines) == 6
    assert _walk(_Terminal(isatty=True), total=None)[0] == "rag: 10 cases done · $2.50"
    unknown = _walk(_Terminal(isatty=True), cost_usd=None)
    assert unknown[0] == "rag: 10 of 100 cases done · cost unknown · about 2 min left"


@pytest.mark.parametrize(
    ("isatty", "verbosity", "environ", "total"),
    [(False, 0, {}, 100), (True, -1, {}, 100), (True, 0, {"CI": "true"}, 100), (True, 0, {}, 5)],
    ids=["captured", "quiet", "in CI", "few cases"],
)
def test_no_progress_where_nobody_watches(isatty, verbosity, environ, total):
    """Nothing in logs, with -q, in continuous integration, and for a handful of cases."""
    assert _walk(_Terminal(isatty=isatty), verbosity, environ, total) == []


def test_a_run_cut_short_is_not_called_green(run_rag, pytester):
    """What was stopped before anything of ours failed has no report that could say so."""
    files = {
        "evalsets/demo.rag.yaml": EVALSET.replace("contains: six", "contains: five"),
        "my_rag.py": PIPELINE,
        "evalsets/test_between.py": "def test_it(): raise KeyboardInterrupt",
    }
    done = run_rag(files, "evalsets", "--rag-report=md:r.md", apart=True)
    assert done.ret == 2
    done.stdout.fnmatch_lines(["no report was written, since the run was cut short"])
    assert not (pytester.path / "r.md").exists()


def test_limits_that_were_not_judged_are_told(run_rag, pytester):
    """A part of the cases judges no limit on the whole: green, with something to look at."""
    gated = EVALSET + "    gate: {R@5: 0.2}\n"
    run_rag({**FILES, "evalsets/demo.rag.yaml": gated}, "-k", "good", "--rag-report=md:r.md")
    text = (pytester.path / "r.md").read_text()
    assert text.startswith("> [!WARNING]")
    assert "1 limit not judged" in text
