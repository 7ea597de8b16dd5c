"""`pytest-rag ab`: two commits of a project of its own, measured in turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

PIPELINE = """
    import os, pathlib, time

    SIDE = {side!r}

    def build(answer="five"):
        with open(os.environ["ASKED"], "a") as log:
            log.write(SIDE + "\\n")

        def ask(query):
            time.sleep({sleep})
            found = [] if query in {lost} else [{{"id": "a.md", "score": 1.0, "text": query}}]
            return {{"answer": answer, "retrieved": found}}

        return ask
"""
EVALSET = """\
    pipeline: shop.rag:build
    defaults: {checks: {contains: five, R@5: 1}}
    cases:
      - {id: leave, query: leave, relevant: [a.md]}
      - {id: pay, query: pay, relevant: [a.md]}
    gate: {R@5: {max_drop: 0.02}}
"""


class Shop:
    """A project in git with its code in `src/`, and a log of which side was built when."""

    def __init__(self, project, log):
        self.project, self.log, self.path = project, log, project.path
        project.write(".gitignore", "__pycache__/\n")
        project.write("src/shop/__init__.py", "")
        project.write("evalsets/hr.rag.yaml", EVALSET)
        self.code("base", sleep=0.001)
        self.git("init", "-q")
        self.git("symbolic-ref", "HEAD", "refs/heads/main")
        self.commit("first")

    def code(self, side, *, sleep=0.001, lost=()):
        """Write the pipeline."""
        text = PIPELINE.format(side=side, sleep=sleep, lost=list(lost))
        self.project.write("src/shop/rag.py", text)

    def git(self, *words):
        """Run git."""
        who = ["-c", "user.name=x", "-c", "user.email=x@y"]
        done = subprocess.run(
            ["git", *who, *words], cwd=self.path, capture_output=True, text=True, check=True
        )
        return done.stdout

    def commit(self, message):
        """Commit everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def built(self):
        """Return which sides were built, in turn."""
        return self.log.read_text("utf-8").split() if self.log.exists() else []

    def is_clean(self):
        """Tell whether no worktree is left."""
        return len(self.git("worktree", "list").splitlines()) == 1


@pytest.fixture
def shop(project, tmp_path_factory, monkeypatch):
    """A project in git whose temporary folders are its own, so that leftovers are seen."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("ASKED", str(elsewhere / "asked.txt"))
    (elsewhere / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    made = Shop(project, elsewhere / "asked.txt")
    yield made
    assert made.is_clean()
    assert list((elsewhere / "tmp").glob("pytest-rag-*")) == []


def test_a_head_that_is_slower_and_worse_is_red(shop, monkeypatch):
    """Base and head take turns, each with its own code; the warm-up does not count."""
    shop.code("head", sleep=0.3, lost=["pay"])
    # As an editable install does: head's code is on the path of every process.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(shop.path / "src"), *sys.path]))
    status = shop.git("status", "--porcelain")
    ran = shop.project("ab", "--base", "main", "--rounds", "2", "--max-slowdown", "1.2", "--json")
    assert ran.exit_code == 1, ran.output
    assert shop.built() == ["base", "head"] * 3
    told = json.loads(ran.stdout)
    assert (told["rounds"], told["bad"], told["head"]["dirty"]) == (2, True, True)
    hr = told["evalsets"]["hr"]
    latency = hr["latency"]["latency"]
    assert 1.2 < latency["low"] <= latency["ratio"] <= latency["high"]
    assert set(hr["cases"]) == {"leave", "pay"}
    assert hr["scores"]["R@5"] == {"base": 1.0, "head": 0.5, "change": -0.5}
    assert hr["quality"]["broke"] == ["pay"]
    assert hr["spend"]["base"]["questions"] == 4
    reasons = " ".join(hr["reasons"])
    assert "fail on head in every run: pay" in reasons
    assert "latency: head takes at least" in reasons
    assert shop.git("status", "--porcelain") == status


def test_two_commits_are_compared_whatever_lies_in_the_tree(shop):
    """With `--head` both sides are commits; one that is no worse is green."""
    shop.code("later")
    shop.commit("second")
    shop.project.write("src/shop/rag.py", "raise RuntimeError('half-written')\n")
    words = ("ab", "evalsets", "--base", "main~1", "--head", "main")
    ran = shop.project(*words, "--rounds", "1", "--warmup", "0")
    assert ran.exit_code == 0, ran.output
    assert shop.built() == ["base", "later"]
    assert "hr · 2 cases timed" in ran.stdout
    assert "unchanged  1.000 → 1.000" in ran.stdout
    assert "1 round after 0 of warm-up" in ran.stdout
    assert ran.stderr == ""  # progress is for terminals
    assert "a question" in ran.stdout


def test_both_sides_answer_heads_questions_through_their_own_pipeline(shop):
    """New cases, from bulk files too, are asked of base; its `pipeline:` stays its own."""
    head = EVALSET.replace(
        "pipeline: shop.rag:build", "pipeline: {factory: shop.rag:build, params: {answer: six}}"
    )
    shop.project.write("evalsets/hr.rag.yaml", head + "    cases_from: {path: more.jsonl}\n")
    more = {"id": "sick", "query": "sick", "relevant": ["a.md"]}
    shop.project.write("evalsets/more.jsonl", json.dumps(more) + "\n")
    ran = shop.project("ab", "--base", "HEAD", "--rounds", "2", "--warmup", "0", "--json")
    assert ran.exit_code == 1, ran.output
    told = json.loads(ran.stdout)
    assert told["notes"] == ["hr: `pipeline:` differs, and each side is asked through its own."]
    assert told["evalsets"]["hr"]["scores"]["passed"] == {"base": 1.0, "head": 0.0, "change": -1.0}
    assert told["evalsets"]["hr"]["quality"]["broke"] == ["leave", "pay", "sick"]


def test_a_base_without_the_factory_is_3(shop):
    """What head's evalset names is not there on base: that is said, and nothing is decided."""
    new = EVALSET.replace("shop.rag:build", "shop.fresh:build")
    shop.project.write("evalsets/new.rag.yaml", new)
    shop.project.write("src/shop/fresh.py", "from shop.rag import build\n")
    ran = shop.project("ab", "evalsets/new.rag.yaml", "--base", "main")
    assert ran.exit_code == 3
    assert "base measured nothing of 'new'. PipelineError: There is no module" in ran.stderr
    assert "Traceback" not in ran.output


def test_a_base_that_imports_heads_code_is_3(shop):
    """Code that points into the working tree would compare head with itself: it is refused."""
    shop.project.write("tools/helper.py", "")
    path = str(shop.path / "tools")
    code = f"import sys\nsys.path.insert(0, {path!r})\nimport helper\n"
    rag = shop.path / "src/shop/rag.py"
    rag.write_text(code + rag.read_text("utf-8"), encoding="utf-8")
    shop.commit("pointing")
    ran = shop.project("ab", "--base", "main")
    assert ran.exit_code == 3
    assert f"base imported {shop.path / 'tools/helper.py'}" in ran.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--base", "mian"], "no branch, tag or commit 'mian'. Did you mean 'main'?"),
        (["--base", ""], "no branch, tag or commit ''"),
        (["--base", "--help"], "no branch, tag or commit '--help'"),
        (["--base", "main", "--head", "nowhere"], "no branch, tag or commit 'nowhere'"),
        (["--base", "main", "nowhere"], "There is no file or folder 'nowhere'"),
        (["--base", "main", "--own-evalsets", "late.rag.yaml"], "base has no late.rag.yaml"),
        (["fixture.rag.yaml", "--base", "main"], "rag_pipeline"),
        ([], "--base"),
    ],
)
def test_usage_errors_are_2_and_name_the_way_out(shop, args, said):
    """What the person can mend is one message, before anything is asked."""
    shop.project.write("late.rag.yaml", EVALSET)
    shop.project.write("fixture.rag.yaml", "cases: [{id: one, query: What?}]\n")
    ran = shop.project("ab", *args)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.output
    assert shop.built() == []


def test_outside_git_is_2(project):
    """Base is a commit, so without a repository there is none."""
    project.evalset("hr", "good", "leave")
    ran = project("ab", "--base", "main")
    assert ran.exit_code == 2
    assert "lies in no git repository" in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_worktree(shop, how):
    """Ctrl-C, and the end that CI sends: exit status 130, the run and the worktree are gone."""
    shop.code("base", sleep=60)
    shop.commit("slow")
    process = shop.project.start("ab", "--base", "main")
    deadline = time.monotonic() + 50
    while not shop.built():
        assert time.monotonic() < deadline, "base was never built"
        time.sleep(0.05)
    process.send_signal(how)
    shown, complaints = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (shown, complaints.count("Interrupted")) == ("", 1)


def test_both_sides_share_a_ceiling_and_a_ledger(shop):
    """What base is asked in its worktree is paid for like the rest, the warm-up too."""
    paid = PIPELINE.replace('"answer": answer', '"answer": answer, "usage": USAGE')
    usage = 'USAGE = {{"model": "acme", "input_tokens": 1000, "output_tokens": 0}}\n\n    def build'
    text = paid.replace("def build", usage, 1).format(side="base", sleep=0, lost=[])
    shop.project.write("src/shop/rag.py", text)
    prices = "[tool.pytest-rag]\nprices = {acme = {input = 1, output = 1}}\n"
    shop.project.write("pyproject.toml", prices)
    shop.commit("paid")
    words = ("ab", "--base", "main", "evalsets", "--rounds", "2", "--warmup", "0")
    cut = shop.project(*words, "--max-cost", "0.009", "--json")  # a run warms up too
    assert cut.exit_code == 0, cut.output
    found = json.loads(cut.stdout)
    assert found["rounds"] == 1
    assert "1 of 2 rounds are whole" in " ".join(found["notes"])
    assert "ceiling: $0.008" in cut.stderr
    assert json.loads(shop.project("costs", "--json").stdout)["total"]["cost_usd"] == 0.008
