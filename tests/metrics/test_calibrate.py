"""``pytest-rag calibrate``: what is said of metrics and judges, and what the gate makes of it."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from textwrap import dedent

import pytest
from judges import KEY, JudgeServer, trusted
from typer.testing import CliRunner

from pytest_rag.cli import app
from pytest_rag.metrics import METRICS
from pytest_rag.metrics.rubric import RubricMetric

CONFIG = """
    [tool.pytest-rag]
    ledger = false
    prices = {{judge-1 = {{input = 1, output = 2}}, judge-2 = 0}}

    [tool.pytest-rag.judge]
    model = {{openai_compatible = {{base_url = "{url}", model = "{model}"}}}}
    """
APP = """
    def build():
        return lambda query: {"answer": query, "retrieved": []}
    """
EVALSET = """
    pipeline: echoing:build
    defaults:
      checks:
        manners: {rubric: {question: POLITE}, min: 0.5}
    cases:
      - {id: polite, query: "Five, please."}
      - {id: rude, query: Five.}
    gate: {manners: {min: 0.8}}
    """
MANNERS = {"question": "POLITE", "scale": [0, 1], "show": ["reference"]}


@pytest.fixture
def judge():
    """A judge that knows what people would say, or throws dice, as it is asked."""
    asked = Counter()

    def rule(prompt):
        asked[prompt] += 1
        dice = random.Random(f"{prompt} {asked[prompt]}")  # in whatever order they are asked
        polite = "please" in prompt.partition("<answer>")[2].partition("</answer>")[0]
        return {"reason": "r", "score": dice.randint(0, 1) if "DICE" in prompt else int(polite)}

    server = JudgeServer(rule)
    yield server
    server.close()


@pytest.fixture
def project(tmp_path, monkeypatch, judge, outside_ci):
    """A folder with a judge, an evalset and answers that people judged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(KEY, raising=False)
    for name, text in (
        ("pyproject.toml", CONFIG.format(url=judge.url, model="judge-1")),
        ("echoing.py", APP),
        ("evalsets/a.rag.yaml", EVALSET),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    labels(tmp_path / "human.jsonl")
    forgotten = ("echoing", "mine")
    for name in forgotten:
        sys.modules.pop(name, None)
    yield tmp_path
    for name in forgotten:
        sys.modules.pop(name, None)


def labels(path, n=24, **more):
    """Write answers of which every other one is polite, and what people said."""
    rows = [
        {"question": f"q{i}?", "answer": f"{i}{', please' * (i % 2)}.", "label": i % 2, **more}
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def typed(*words):
    """Return exit status and output of ``pytest-rag``, wrapped lines joined."""
    done = CliRunner().invoke(app, list(map(str, words)))
    return done.exit_code, " ".join(done.output.split())


ONCE = ("calibrate", "human.jsonl", "--evalset", "evalsets/a.rag.yaml", "--repeat", "1")
CALIBRATE = (*ONCE, "--metric", "manners")
FILE = "evalsets/calibration/a.json"


def found(project, metric="manners"):
    """Return what the file says of a metric."""
    return json.loads((project / FILE).read_text())["metrics"][metric]


def test_a_copy_of_the_labels_may_gate_and_dice_may_not(project):
    """From the same answers, in one table; what a judge costs is told, and what it repeats."""
    more = "    dice: {rubric: {question: DICE}, min: 1}"
    text = EVALSET.replace("    cases:", f"    {more}\n    cases:")
    (project / "evalsets/a.rag.yaml").write_text(dedent(text))
    labels(project / "human.jsonl", n=52)
    status, said = typed(*CALIBRATE, "--metric", "dice", "--repeat", "2")
    assert status == 0
    assert "52 answers that people judged: 26 good, 26 not" in said
    assert "manners 52 1.000 100.0% 1.000 [0.86, 1.00] ≥ 0.500 gate" in said
    assert "50 answers judged 2 times: 100% the same every time" in said
    assert "judge judge-1, $0.00012 a judgement (102 made)" in said
    assert "is not shown to be better than chance" in said
    manners, dice = found(project), found(project, "dice")
    assert (manners["use"], dice["use"]) == ("gate", "do not use")
    assert manners["kappa"][0] == 1.0
    assert dice["kappa"][1] <= 0
    assert manners["stability"]["same"] == 1.0
    assert dice["stability"]["same"] < 0.8
    assert (manners["judge"], manners["version"]) == ("judge-1", f"{manners['prompt']} judge-1")
    assert manners["labels"]["file"] == "human.jsonl"
    assert manners["table"] == {"bad_bad": 26, "bad_good": 0, "good_bad": 0, "good_good": 26}


def test_too_few_questions_are_not_blamed_on_the_metric(project):
    """Twenty answers to one question leave nothing to try a threshold on, however they are told."""
    row = {"question": "q", "references": ["Five days."]}
    rows = [{**row, "answer": "Five days.", "label": 1}, {**row, "answer": "No.", "label": 0}] * 10
    (project / "human.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    status, said = typed("calibrate", "human.jsonl", "--metric", "token_f1")
    assert (status, "token_f1: do not use" in said) == (0, True)
    assert "there are too few questions to choose by some and try it on the others" in said


def test_the_file_is_made_for_review(project):
    """Sorted, the same again, and other metrics stay in it."""
    typed(*CALIBRATE)
    text = (project / FILE).read_text()
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert "calibration unchanged" in typed(*CALIBRATE)[1]
    typed(*ONCE, "--metric", "answer_relevance")
    assert found(project)["use"] == "gate"
    assert found(project, "answer_relevance")["judge"] is None


def test_a_judge_that_was_down_overwrites_nothing(project, judge):
    """What could not be measured says nothing of what was."""
    typed(*CALIBRATE)
    before = (project / FILE).read_text()
    judge.rule = 401
    status, said = typed(*CALIBRATE)
    assert status == 3
    assert "manners is not written: 24 answers got no score." in said
    assert "AuthenticationError" in said
    assert (project / FILE).read_text() == before


def test_without_an_evalset_nothing_is_written(project):
    """A table for whoever wants to see; JSON for programs."""
    status, said = typed("calibrate", "human.jsonl", "--metric", "answer_relevance", "--seed", "3")
    assert status == 0
    assert "Nothing was written. To let a gate know, say what it is for: --evalset FILE" in said
    done = CliRunner().invoke(app, [*CALIBRATE, "--json"])
    told = json.loads(done.stdout)
    assert told["metrics"]["manners"]["use"] == "gate"
    assert told["labels"]["kind"] == "binary"


def test_grades_are_ranked(project, judge):
    """More than two labels are grades: Spearman and Kendall, and no threshold."""
    rows = ({"question": f"q{i}", "answer": "x" * i, "label": i // 10 + 1} for i in range(50))
    (project / "human.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge.rule = lambda p: {"score": len(p.partition("<answer>\n")[2].partition("\n<")[0]) / 100}
    status, said = typed(*CALIBRATE)
    assert status == 0
    assert "50 answers that people graded from 1 to 5" in said
    told = found(project)
    assert told["use"] == "gate"
    assert told["spearman"][0] == pytest.approx(0.98, abs=0.01)
    assert told["kendall"][0] == pytest.approx(0.9, abs=0.02)
    assert {"kappa", "threshold", "auc"}.isdisjoint(told)


def test_less_may_be_better(project, monkeypatch):
    """A function of one's own, by its import path; its threshold is a ceiling."""
    monkeypatch.setattr(METRICS, "_objects", dict(METRICS._objects))
    own = """
        import pytest_rag

        @pytest_rag.metric("bluntness", higher_is_better=False, needs={"answer"})
        def bluntness(answer):
            return 0.2 if "please" in answer else 0.9
        """
    (project / "mine.py").write_text(dedent(own))
    status, said = typed("calibrate", "human.jsonl", "--metric", "mine:bluntness")
    assert status == 0
    assert "bluntness 24 1.000 100.0% 1.000 [0.72, 1.00] ≤ 0.600 gate" in said


# --- what the gate makes of it ----------------------------------------------------------------


def test_a_judge_decides_once_it_is_calibrated(project):
    """Until then its checks and limits are told, with what to type, and nothing is red."""
    status, said = typed("run", "evalsets", "--out", "run.jsonl", "--baseline", "none")
    assert status == 0
    assert "2 passed" in said
    assert "advisory, missed: manners mean 0.500, limit ≥ 0.800" in said
    assert "manners decides nothing; its check was missed by rude: judge 'judge-1' is not" in said
    assert "pytest-rag calibrate HUMAN.jsonl --metric manners --evalset evalsets/a.rag.yaml" in said
    typed(*CALIBRATE)
    status, said = typed("run", "evalsets", "--baseline", "none")
    assert status == 1
    assert "FAILED: manners mean 0.500, limit ≥ 0.800" in said
    assert "rude: manners = 0, limit ≥ 0.500 (r)" in said
    assert "people 0.500" in said
    status, said = typed("gate", "run.jsonl", "--baseline", "none")
    assert (status, "1 passed, 1 failed" in said) == (1, True)
    status, said = typed("run", "evalsets", "--baseline", "none", "--resume", "run.jsonl")
    assert (status, "1 passed, 1 failed" in said) == (1, True)


def trust(path, **change):
    """Write that the judge of manners may decide, but for what is changed."""
    rubric = RubricMetric.of("manners", {"rubric": MANNERS})
    told = json.loads(trusted(path.stem, {"manners": (rubric.version, "judge-1")}))
    told["metrics"]["manners"] |= change
    path.parent.mkdir()
    path.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"judge": "judge-0"}, "calibrated was judge 'judge-0', and 'judge-1' was asked"),
        ({"version": "0 judge-1"}, "its prompt is not the one that was calibrated"),
        ({"use": "advise", "why": "so so"}, "its calibration says 'advise': so so"),
        ({"use": "do not use", "why": "dice"}, "its calibration says 'do not use': dice"),
    ],
)
def test_only_what_was_calibrated_decides(project, change, reason):
    """Another judge, another prompt, or a worse verdict: advice again, and the reason."""
    trust(project / FILE, **change)
    status, said = typed("run", "evalsets", "--baseline", "none")
    assert status == 0
    assert reason in said


def test_an_error_of_a_trusted_judge_is_an_error(project, judge):
    """And one of a judge that nobody trusts is advice."""
    judge.rule = 401
    status, said = typed("run", "evalsets", "--baseline", "none")
    assert (status, "2 passed" in said) == (0, True)
    assert "missed: manners mean 2 of 2 cases could not be measured" in said
    assert "the judge failed: AuthenticationError" in said
    trust(project / FILE)
    status, said = typed("run", "evalsets", "--baseline", "none")
    assert (status, "2 errors" in said) == (3, True)
    assert "FAILED: manners mean 2 of 2 cases could not be measured" in said


def test_a_fall_that_a_judge_alone_sees_is_advice(project):
    """Against the baseline as well, where nothing is missing for want of one in CI."""
    gate = EVALSET.replace("{min: 0.8}", "{max_drop: 0.01}")
    (project / "evalsets/a.rag.yaml").write_text(dedent(gate))
    typed("run", "evalsets")
    (project / "echoing.py").write_text("def build():\n    return lambda query: 'No.'\n")
    status, said = typed("run", "evalsets")
    assert status == 0
    assert ", advisory" in said


def test_python_tests_hold_to_the_same(run_rag, pytester, judge):
    """A check on a judge that nobody trusts raises nothing; its file lies beside the test's."""
    test = """
        def test_it(rag):
            rag("Five.")
            rag.check({"manners": {"rubric": {"question": "POLITE"}, "min": 0.5}})
        """
    conftest = """
        import pytest

        @pytest.fixture(scope="session")
        def rag_pipeline():
            return lambda query: query
        """
    config = CONFIG.format(url=judge.url, model="judge-1")
    files = {"test_a.py": test, "conftest.py": conftest, "pyproject.toml": config}
    done = run_rag(files)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*advisory*manners decides nothing*"])
    trust(pytester.path / "calibration/test_a.json")
    run_rag(files).assert_outcomes(failed=1)


def test_a_run_is_corrected_by_labels(project):
    """What people would say of its answers on average, beside what its judge says."""
    cases = "".join(
        f"      - {{id: c{i}, query: '{i}{', please' * (i % 4 == 0)}.'}}\n" for i in range(60)
    )
    head = EVALSET.partition("      - {id")[0]
    (project / "evalsets/a.rag.yaml").write_text(dedent(head + cases))
    typed("run", "evalsets", "--out", "run.jsonl")
    status, said = typed(*CALIBRATE, "--run", "run.jsonl")
    assert status == 0
    assert "by 24 labelled questions and 60 judged cases" in said
    assert "the labels alone 0.500 [0.284, 0.716] · the scores alone 0.250" in said
    mean = float(said.partition("manners, as people would judge the run ")[2].split()[0])
    assert 0.25 < mean < 0.4
    words = ("--metric", "answer_relevance", "--run", "run.jsonl")
    status, said = typed("calibrate", "human.jsonl", *words)
    assert (status, "The run holds no score 'answer_relevance'." in said) == (2, True)


# --- hostile input ----------------------------------------------------------------------------

GOOD_ROW = '{"question": "q", "answer": "a", "label": "yes"}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "human.jsonl holds no row."),
        (["{"], "human.jsonl:1:1: This is not valid JSON:"),
        ([GOOD_ROW, "[1]"], "human.jsonl:2: A line must be an object, not [1]."),
        (['{"question": "q", "label": 1}'], "human.jsonl:1: There is no 'answer': a row has"),
        (['{"question": 7.5, "answer": [], "label": 1}'], "'answer' must be a text, not []."),
        (['{"question": " ", "answer": "", "label": 1}'], "'question' must be a text, not ' '."),
        (['{"question": "q", "answer": "a", "label": [[1]]}'], "must be a number, true, false or"),
        (['{"question": "q", "answer": "a", "label": NaN}'], "NaN is not a finite number."),
        (
            ['{"question": "q", "answer": "a", "label": 1' + "0" * 400 + "}"],
            "human.jsonl:1: 'label' is too large a number for a label.",
        ),
        (
            ['{"question": "q", "answer": "a", "human": {"right": 1, "fluent": 0}}'],
            "'human' holds 'right' and 'fluent': say which counts: --map label=human.right",
        ),
        (['{"question": "q", "answer": "a", "label": null}'], "No row has a label."),
        (
            [GOOD_ROW, GOOD_ROW.replace("yes", "meh")],
            "Which labels mean good? Say so: --good LABEL. There are 'yes' (1), 'meh' (1).",
        ),
        (
            ['{"question": "q", "answer": "a", "label": 1, "contexts": [7]}'],
            "'contexts' must be texts, or objects with a 'text', not 7.",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_said(project, lines, message):
    """With its line, and what to write."""
    (project / "human.jsonl").write_text("".join(f"{line}\n" for line in lines))
    status, said = typed("calibrate", "human.jsonl", "--metric", "answer_relevance")
    assert (status, message in said) == (2, True), said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.jsonl", "-m", "token_f1"), "Cannot read none.jsonl: No such file"),
        ((".", "-m", "token_f1"), ". is not a regular file."),
        (("human.jsonl", "-m", "token_f1"), "it needs reference answers, and no row has any"),
        (("human.jsonl", "-m", "tokenf"), "--metric tokenf: Unknown metric 'tokenf'."),
        (("human.jsonl", "-m", "contains"), "there is nothing to calibrate."),
        (("human.jsonl", "-m", "R@5"), "R@5 needs `relevant`, which no row has."),
        (("human.jsonl", "-m", "manners"), "A rubric is found with --evalset FILE."),
        (
            ("human.jsonl", "-m", "echoing:build"),
            "it is no function decorated with",
        ),
        (("human.jsonl", "-m", "all", "--map", "lable=x"), "--map knows no 'lable'. Did you mean"),
        (("human.jsonl", "-m", "all", "--map", "label"), "--map takes FIELD=KEY"),
        (
            ("human.jsonl", "-m", "all", "--map", "label=lable"),
            "has 'lable'. Did you mean 'label'?",
        ),
        (("human.jsonl", "-m", "all", "--good", "perfect"), "--good 'perfect': no answer is"),
        (("human.jsonl", "-m", "all", "--max-cost", "much"), "--max-cost takes US dollars"),
        (("human.jsonl", "-m", "all", "--run", "human.jsonl"), "no part of a run record"),
    ],
)
def test_what_is_typed_wrong_is_said(project, words, message):
    """Before anything is asked."""
    status, said = typed("calibrate", *words)
    assert (status, message in said) == (2, True), said


def test_a_judge_is_asked_for_no_more_than_was_allowed(project, judge):
    """A ceiling stops it, and nothing is written."""
    status, said = typed(*CALIBRATE, "--max-cost", "0.001")
    assert status == 2
    assert "Nothing was written: raise --max-cost" in said
    assert len(judge.prompts) < 60
    assert not (project / FILE).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "it has no 'schema_version'"),
        ('{"schema_version": 9}', "has schema_version 9; this pytest-rag reads 1. Upgrade"),
        ('{"schema_version": 1, "evalset": "b"}', "is the calibration of 'b', not of 'a'"),
        ('{"schema_version": 1, "evalset": "a", "metrics": {"m": {"use": "yes"}}}', "'use' of 'm'"),
        ("<<<<<<< ours\n", "holds merge conflict markers"),
    ],
)
def test_a_calibration_that_cannot_be_read_is_no_calibration(project, text, message):
    """Nothing runs by what is broken; it is told, with how to mend it."""
    (project / FILE).parent.mkdir()
    (project / FILE).write_text(text)
    status, said = typed("run", "evalsets")
    assert (status, message in said) == (2, True), said
