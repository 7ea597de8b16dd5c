"""YAML cases are ordinary pytest items: selected, marked, rerun and stopped like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

APP = """
    import pathlib, time

    DOCUMENTS = {"one": "one.md", "two": "two.md", "three": "three.md"}

    def build(answer="four"):
        def ask(query):
            with pathlib.Path("asked.txt").open("a") as file:
                file.write(query + "\\n")
            name = next((d for word, d in DOCUMENTS.items() if word in query), None)
            found = [{"id": name, "score": 1.0, "text": query}] if name else []
            return {"answer": answer, "retrieved": found, "usage": {"cost_usd": 0.001}}
        return ask
"""
NUMBERS = """
    evalset: numbers
    pipeline: {factory: "app:build", params: {answer: four}}
    defaults: {checks: {R@5: 1}}
    cases:
      - {id: first, query: what is one, relevant: [one.md], tags: [smoke]}
      - {id: second, query: what is two, relevant: [two.md], tags: [slow]}
      - {id: lost, query: what is three, relevant: [elsewhere.md]}
"""
FILES = {"app.py": APP, "numbers.rag.yaml": NUMBERS}
THREE_WAYS = pytest.mark.parametrize("way", [(), ("-n0",), ("-n2",)], ids=["alone", "n0", "n2"])


def asked(pytester: pytest.Pytester) -> list[str]:
    """Return the questions the pipeline was asked."""
    path = pytester.path / "asked.txt"
    return path.read_text().splitlines() if path.exists() else []


@THREE_WAYS
def test_a_file_of_cases_is_a_file_of_items(run_rag, pytester, way):
    """Two cases hold their floor, one does not; each has its line, and all end in one summary."""
    result = run_rag(FILES, "-v", *way)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines_random(
        ["*numbers.rag.yaml::first*PASSED*" if not way or way == ("-n0",) else "*PASSED*::first*"]
    )
    result.stdout.fnmatch_lines(["*numbers*3 cases*2 passed*1 failed*"])
    assert sorted(asked(pytester)) == ["what is one", "what is three", "what is two"]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@THREE_WAYS
@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (("-k", "first"), ["what is one"]),
        (("-m", "slow"), ["what is two"]),
        (("-k", "smoke or slow"), ["what is one", "what is two"]),
        (("numbers.rag.yaml::second",), ["what is two"]),
    ],
    ids=["k", "m", "k-tags", "node"],
)
def test_only_what_is_selected_is_asked(run_rag, pytester, way, selection, chosen):
    """``-k``, ``-m`` and ``file::case`` choose cases by name, tag and id, and spare the others."""
    result = run_rag(FILES, *selection, *way)
    result.assert_outcomes(passed=len(chosen))
    assert sorted(asked(pytester)) == chosen


def test_last_failed_runs_again_what_failed(run_rag, pytester):
    """After a red run ``--lf`` asks only what failed."""
    run_rag(FILES, "--lf").assert_outcomes(passed=2, failed=1)
    run_rag({}, "--lf").assert_outcomes(failed=1)
    assert asked(pytester)[3:] == ["what is three"]


def test_nothing_selected_is_pytests_own_exit_status(run_rag):
    """Where no case is selected, pytest says so as it always does."""
    assert run_rag(FILES, "-k", "nowhere").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_tags_are_declared_marks(run_rag):
    """Strict markers and warnings as errors leave tags alone."""
    run_rag(FILES, "--strict-markers", "-W", "error", "-k", "first").assert_outcomes(passed=1)


def test_the_first_failure_stops_what_has_not_started(run_rag, pytester):
    """With ``-x`` and one case at a time, nothing is asked after the first failure."""
    slow = APP.replace(
        "            name = next", "            time.sleep(0.3)\n            name = next"
    )
    files = {"app.py": slow, "numbers.rag.yaml": NUMBERS.replace("[one.md]", "[gone.md]")}
    result = run_rag(files, "-x", "--rag-concurrency=1", "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1)
    lines = [json.loads(line) for line in (pytester.path / "run.jsonl").read_text().splitlines()]
    assert lines[-1]["complete"] is False
    assert len(asked(pytester)) < 3


def test_a_failure_says_what_was_found_instead(run_rag):
    """The failure text names the limit, the gold that is missing and what came in its place."""
    result = run_rag(FILES, "-k", "lost")
    result.stdout.fnmatch_lines(["*R@5 = 0, limit*1*", "*elsewhere.md*", "*three.md*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_repeats_and_how_many_must_pass(run_rag):
    """A case is run as often as it says, and passes where enough of its runs do."""
    app = """
        import itertools
        count = itertools.count()

        def build():
            return lambda query: "yes" if next(count) % 2 else "no"
    """
    flaky = """
        pipeline: app:build
        cases:
          - {id: half, query: q, repeat: 4, min_pass: 2, checks: {contains: "yes"}}
          - {id: all, query: q, repeat: 4, checks: {contains: "yes"}}
    """
    files = {"app.py": app, "flaky.rag.yaml": flaky}
    result = run_rag(files, "--rag-concurrency=1", "--rag-out=run.jsonl")
    result.assert_outcomes(passed=1, failed=1)


def test_repeat_option_keeps_the_share_that_must_pass(run_rag, pytester):
    """``--rag-repeat`` runs every case as often as it says."""
    run_rag(FILES, "--rag-repeat=3", "-k", "first").assert_outcomes(passed=1)
    assert asked(pytester) == ["what is one"] * 3


def test_a_flaky_case_is_asked_again(run_rag, pytester):
    """pytest-rerunfailures asks the pipeline once more instead of taking the old answer."""
    app = """
        import pathlib
        def build():
            def ask(query):
                path = pathlib.Path("asked.txt")
                before = path.read_text() if path.exists() else ""
                path.write_text(before + query + "\\n")
                return "yes" if before else "no"
            return ask
    """
    one = "pipeline: app:build\ncases:\n  - {id: a, query: q, checks: {contains: 'yes'}}\n"
    files = {"app.py": app, "one.rag.yaml": one}
    result = run_rag(files, "--reruns", "1", "--rag-out=run.jsonl")
    result.assert_outcomes(passed=1)
    assert asked(pytester) == ["q", "q"]
    text = (pytester.path / "run.jsonl").read_text()
    kept = [json.loads(line) for line in text.splitlines()]
    assert [line["outcome"] for line in kept if line["kind"] == "result"] == ["passed"]


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_senseless_option_is_a_usage_error(run_rag, value):
    """An option that makes no sense is refused in one sentence."""
    result = run_rag(FILES, f"--rag-concurrency={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*--rag-concurrency takes a whole number above 0, not '{value}'*"]
    )


def test_two_files_of_one_name_are_refused(run_rag):
    """Results are kept by the evalset's name, so it must be the only one."""
    result = run_rag({**FILES, "other.rag.yaml": NUMBERS})
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*are both called 'numbers'*"])


def test_a_typo_is_told_with_its_place(run_rag):
    """A misspelt key stops collection with file, line, column and the nearest key."""
    result = run_rag({"app.py": APP, "numbers.rag.yaml": NUMBERS.replace("relevant", "relevnt", 1)})
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*numbers.rag.yaml:5:*'relevnt'*Did you mean 'relevant'*"])


def test_the_plan_runs_nothing(run_rag, pytester):
    """``--rag-plan`` says how much would be run."""
    result = run_rag(FILES, "--rag-plan", "-k", "first or second", "--rag-repeat=2")
    result.stdout.fnmatch_lines(["*numbers*2 cases*4 runs*"])
    assert result.ret == 0
    assert not asked(pytester)


def test_the_plan_needs_no_workers(run_rag):
    """Workers would each plan for themselves, so the two do not go together."""
    result = run_rag(FILES, "--rag-plan", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--rag-plan*-n*"])


@THREE_WAYS
def test_a_limit_on_the_whole_set_fails_the_build(run_rag, way):
    """Every case passes, the mean of the set does not: the build is red and says why."""
    gated = NUMBERS.replace("defaults: {checks: {R@5: 1}}", "gate: {R@5: 0.9}")
    result = run_rag({"app.py": APP, "numbers.rag.yaml": gated}, *way)
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*R@5*0.667*0.9*"])


def test_a_limit_on_the_whole_set_waits_for_the_whole_set(run_rag):
    """A selection is not held to a limit on the mean of all."""
    gated = NUMBERS.replace("defaults: {checks: {R@5: 1}}", "gate: {R@5: 0.9}")
    result = run_rag({"app.py": APP, "numbers.rag.yaml": gated}, "-k", "lost")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*1 of 3 cases*"])


def test_cases_run_at_the_same_time(run_rag, pytester):
    """As many cases as asked for are in flight at once, and no more."""
    app = """
        import asyncio, pathlib
        state = {"now": 0, "most": 0}

        def build():
            async def ask(query):
                state["now"] += 1
                state["most"] = max(state["most"], state["now"])
                pathlib.Path("most.txt").write_text(str(state["most"]))
                await asyncio.sleep(0.05)
                state["now"] -= 1
                return "yes"
            return ask
    """
    cases = "".join(f"  - {{id: c{n}, query: q}}\n" for n in range(12))
    files = {"app.py": app, "many.rag.yaml": f"pipeline: app:build\ncases:\n{cases}"}
    run_rag(files, "--rag-concurrency=4").assert_outcomes(passed=12)
    assert Path(pytester.path / "most.txt").read_text() == "4"


def test_rerunning_the_last_case_asks_only_that(run_rag, pytester):
    """A case that fails at the end is asked again alone; the others were paid for once."""
    last = NUMBERS.replace("[elsewhere.md]", "[never.md]")
    files = {"app.py": APP, "numbers.rag.yaml": last}
    run_rag(files, "--reruns", "1").assert_outcomes(passed=2, failed=1)
    assert sorted(asked(pytester)) == [
        "what is one",
        "what is three",
        "what is three",
        "what is two",
    ]


@pytest.mark.parametrize("extra", [(), ("-x",)], ids=["all", "x"])
def test_workers_leave_the_record_to_the_controller(run_rag, pytester, extra):
    """Under xdist there is one record, whole, and nothing beside it."""
    run_rag(FILES, "-n2", "--rag-out=run.jsonl", *extra)
    text = (pytester.path / "run.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in text]
    assert kinds[0] == "header"
    assert kinds[-1] == "footer"
    assert not list(pytester.path.glob("*.part"))
