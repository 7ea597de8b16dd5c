"""`pytest-rag capture`: a question to today's pipeline becomes a case of a file."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_rag.authoring.casefile import add_case, slug_of
from pytest_rag.cli import app
from pytest_rag.errors import UsageError
from pytest_rag.evalset import load

capture = sys.modules["pytest_rag.cli.capture"]  # its name in the package is the command

FILE = """\
# Our leave questions.
pipeline: {local: {corpus: docs}}
cases:
  # the first one
  - id: carry   # keep
    query: How many unused days of leave carry over?
    answer: "Five."
    relevant: [leave.md]

# The gate is strict.
gate: {R@5: 0.1}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with documents and an evalset; runs `capture` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "leave.md").write_text("# Leave\nUp to five unused days carry over.\n")
    (tmp_path / "docs" / "pay.md").write_text("# Pay\nSalaries are paid on the last day.\n")
    (tmp_path / "a.rag.yaml").write_text(FILE)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest-rag]\n")

    def run(*args):
        done = CliRunner().invoke(app, ["capture", "a.rag.yaml", *args], catch_exceptions=False)
        return done.exit_code, done.output

    return run


def test_everything_said_at_once(project):
    """The case stands behind the last one; all else in the file stays byte for byte."""
    code, told = project(
        "When are salaries paid?", "--relevant", "1", "--accept-answer", "--tag", "pay"
    )
    assert code == 0, told
    assert "answer     Salaries are paid on the last day." in told
    assert " 1  pay.md" in told
    text = Path("a.rag.yaml").read_text()
    added = (
        "  - id: when-salaries-paid\n    query: When are salaries paid?\n"
        "    answer: Salaries are paid on the last day.\n    relevant: [pay.md]\n    tags: [pay]\n"
    )
    assert text == FILE.replace("[leave.md]\n\n", f"[leave.md]\n{added}\n")
    case = load(Path("a.rag.yaml")).cases[1]
    assert (case.relevant, case.tags) == ({"pay.md": 1}, ("pay",))


def test_filters_of_the_defaults_hold(project):
    """The pipeline is asked as it will be when the case is run."""
    Path("docs/old.md").write_text("---\nstatus: old\n---\nSalaries were paid on day ten.\n")
    path = Path("a.rag.yaml")
    path.write_text(FILE + "defaults: {filters: {status: old}}\n")
    _, told = project("When are salaries paid?", "--relevant", "1", "--accept-answer")
    assert load(path).cases[1].relevant == {"old.md": 1}, told


def test_a_question_without_an_answer(project):
    """A refusal is right: no gold, no reference."""
    assert project("Who is the mayor of Kotka?", "--unanswerable")[0] == 0
    case = load(Path("a.rag.yaml")).cases[1]
    assert (case.answerable, case.relevant, case.answers) == (False, {}, ())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("how many unused days of leave carry over", "--relevant", "1"),
            "a.rag.yaml:5: 'carry' asks this already.",
        ),
        (("When?", "--relevant", "9"), "There is no document number 9; "),
        (("When?", "--relevant", "pya.md"), "no document 'pya.md'. Did you mean 'pay.md'?"),
        (("When?", "--relevant", "pay.md", "--id", "carry"), "Id 'carry' is taken"),
        ((" ", "--relevant", "pay.md"), "The question is blank."),
    ],
)
def test_what_cannot_be_captured(project, args, message):
    """One sentence, exit status 2, and the file is as it was."""
    code, told = project(*args, "--accept-answer")
    assert (code, message in told) == (2, True), told
    assert Path("a.rag.yaml").read_text() == FILE


def test_no_terminal_to_ask_in(project):
    """What was not said cannot be asked for, and the pipeline is not asked either."""
    for args in ((), ("When?",), ("When?", "--relevant", "1"), ("When?", "--answer", "x")):
        code, told = project(*args)
        assert (code, told.startswith("This is no terminal to ask in.")) == (2, True)
    code, told = project("When?", "--unanswerable", "--relevant", "1")
    assert (code, "--unanswerable goes without" in told) == (2, True)


def test_what_is_suspicious_is_noted(project):
    """A near-duplicate, a leak and an answer that its gold hardly holds."""
    args = ("--relevant", "leave.md", "--answer")
    _, told = project("How many unused days of leave do carry over?", *args, "Five.")
    assert "note: 'carry' asks nearly the same: How many unused days" in told
    _, told = project(
        "Which last day pays salaries?", "--relevant", "pay.md", "--answer", "last day"
    )
    assert "note: the question holds its answer: 'last day'" in told
    _, told = project("When are the wages paid?", *args, "Because quarks tumble.")
    assert "note: little of the answer stands in what was retrieved of its gold" in told


def test_a_pipeline_that_breaks_is_one_sentence(project):
    """What it raised is told, and nothing is written."""
    Path("a.rag.yaml").write_text(FILE.replace("{local: {corpus: docs}}", "no_such_module:build"))
    code, told = project("When?", "--unanswerable")
    assert code == 2
    assert "no_such_module" in told
    Path("a.rag.yaml").write_text(FILE.replace("pipeline: {local: {corpus: docs}}\n", ""))
    code, told = project("When?", "--unanswerable")
    assert (code, "names no pipeline" in told) == (2, True)


def _asked(monkeypatch, args, answers):
    """Run `capture` as in a terminal, whose answers are typed ahead."""
    monkeypatch.setattr(capture, "in_terminal", lambda: True)
    typed = "".join(f"{answer}\n" for answer in answers)
    done = CliRunner().invoke(app, ["capture", "a.rag.yaml", *args], input=typed)
    return done.exit_code, done.output


def test_in_a_terminal_the_gold_is_asked_for(project, monkeypatch):
    """Numbers with grades and ids are taken, a wrong one is asked again, the answer is edited."""
    answers = ["When are the salaries paid out?", "9", "1=2 leave.md", "On the last day."]
    code, told = _asked(monkeypatch, (), answers)
    assert code == 0, told
    assert "There is no document number 9" in told
    case = load(Path("a.rag.yaml")).cases[1]
    assert (case.relevant, case.answers) == ({"pay.md": 2, "leave.md": 1}, ("On the last day.",))


def test_in_a_terminal_enter_takes_the_answer(project, monkeypatch):
    """An empty line is the pipeline's answer; a dash for the gold is a question without answer."""
    _asked(monkeypatch, ("When are salaries paid?",), ["1", ""])
    _asked(monkeypatch, ("Who is the mayor?",), ["-"])
    first, second = load(Path("a.rag.yaml")).cases[1:]
    assert first.answers == ("Salaries are paid on the last day.",)
    assert not second.answerable


def test_in_a_terminal_a_suspicious_case_may_be_dropped(project, monkeypatch):
    """After a note it asks whether to keep the case."""
    question = "How many unused days of leave do carry over?"
    code, told = _asked(monkeypatch, (question,), ["leave.md", "Five.", "n"])
    assert (code, "Keep it?" in told) == (1, True)
    assert Path("a.rag.yaml").read_text() == FILE


@pytest.mark.slow
def test_a_real_terminal(project, tmp_path):
    """The same in a pseudo-terminal of its own."""
    told = _typed(tmp_path, ["When are the salaries paid out?"], ["1=2 leave.md", "Last day."])
    assert "wrote a.rag.yaml: case" in told
    assert load(Path("a.rag.yaml")).cases[1].answers == ("Last day.",)


@pytest.mark.slow
@pytest.mark.parametrize("typed", [["\x03"], ["\x04"], ["1", "\x03"]], ids=["C", "D", "later"])
def test_ctrl_c_and_ctrl_d_leave_the_file_alone(project, tmp_path, typed):
    """At any question; no traceback, and nothing half written."""
    told = _typed(tmp_path, ["When are the salaries paid out?"], typed)
    assert "wrote" not in told
    assert "Traceback" not in told
    assert "Aborted." in told.rstrip().splitlines()[-1], told
    assert Path("a.rag.yaml").read_text() == FILE


def _typed(folder, args, answers):
    """Run `capture` in a terminal and type answers to its questions, or a control character."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
        command = [sys.executable, "-m", "pytest_rag", "capture", "a.rag.yaml", *args]
        os.execv(sys.executable, command)
    told, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            read = os.read(terminal, 4096)
        except OSError:
            break
        told += read
        if not read:
            break
        if answers and told.rstrip().endswith(b":"):
            said = answers.pop(0)
            os.write(terminal, (said if said < " " else f"{said}\n").encode())
            told += b"\n"
    os.waitpid(pid, 0)
    os.close(terminal)
    return told.decode()


# --- the file ---------------------------------------------------------------------------------

VALUES = {"id": "new", "query": "Is it: new?", "answer": "2.10", "relevant": ["a b.md"]}
ITEM = "- id: new\n  query: 'Is it: new?'\n  answer: '2.10'\n  relevant: [a b.md]\n"


def _indented(columns):
    return "".join(f"{' ' * columns}{line}\n" for line in ITEM.splitlines())


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("cases:\n- {id: a, query: q}", "cases:\n- {id: a, query: q}\n" + _indented(0)),
        ("cases:\n    - id: a\n      query: q\n", None),
        ("cases:\n  -\n    id: a\n    query: q\n# end\n", None),
        ("cases_from: {path: q.jsonl}\n", "cases_from: {path: q.jsonl}\ncases:\n" + _indented(2)),
        ("\ufeffcases:\r\n  - {id: a, query: q}\r\ngate: {R@5: 1}\r\n", None),
        ("cases:\n- id: a\n  query: |\n    x\n\n    y\n\n\ndefaults: {repeat: 1}\n", None),
    ],
)
def test_a_case_is_put_behind_the_last(tmp_path, text, after):
    """Whatever the file's indentation and line ends, only lines are added to it."""
    (tmp_path / "q.jsonl").write_text('{"id": "a", "query": "q"}\n')
    path = tmp_path / "x.rag.yaml"
    path.write_bytes(text.encode())
    found = add_case(path, VALUES)
    assert [case.id for case in found.cases] in (["a", "new"], ["new", "a"])
    new = next(case for case in found.cases if case.id == "new")
    assert (new.query, new.answers, new.relevant) == ("Is it: new?", ("2.10",), {"a b.md": 1})
    now = path.read_bytes().decode()
    if "cases:" not in text:
        assert now == after
        return
    kept = [line for line in now.splitlines() if line.lstrip(" -") not in ITEM.replace("- ", "  ")]
    old = [line for line in text.splitlines() if line.lstrip(" -") not in ITEM.replace("- ", "  ")]
    assert kept == old
    assert ("\r\n" in text) == ("\r\n" in now)
    assert "\n\n\n" in now or "\n\n\n" not in text
    assert after is None or now == after


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cases: [{id: a, query: q}]\n", "`cases` stands in brackets"),
        ("cases: []\ncases_from: {path: q.jsonl}\n", "`cases` is []"),
        ("cases:\n  - {id: new, query: q}\n", "it would not load: Id 'new' is taken"),
        ("cases:\n  - id: a\n    query: |+\n      text\n\n\n", "another case would change by it"),
    ],
)
def test_a_file_that_cannot_take_one_is_left_alone(tmp_path, text, why):
    """It says why, and every byte stays."""
    (tmp_path / "q.jsonl").write_text('{"id": "b", "query": "q"}\n')
    path = tmp_path / "x.rag.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="was left as it is") as error:
        add_case(path, VALUES)
    assert why in str(error.value)
    assert path.read_text() == text


def test_ids_are_words_of_the_question():
    """Letters lose their marks, function words go, and no id comes twice."""
    assert slug_of("Quantos dias de férias há por ano?", ()) == "quantos-dias-ferias-ha-ano"
    assert slug_of("Why?", {"why"}) == "why-2"
    assert slug_of("???", ()) == "case"
