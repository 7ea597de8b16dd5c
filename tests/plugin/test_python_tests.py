"""The same from Python: ask, check, parametrise with cases, keep to a budget."""

from __future__ import annotations

import json

import pytest

CONFTEST = """
    import pytest

    PAGES = {"vacation": ("leave.md", "Up to five days."), "laptop": ("it.md", "Call IT.")}

    @pytest.fixture(scope="session")
    def rag_pipeline():
        def ask(query, filters=None):
            for word, (page, answer) in PAGES.items():
                if word in query:
                    found = [{"id": page, "score": 1.0, "text": answer}]
                    usage = {"model": "gpt-4o-mini", "input_tokens": 100, "output_tokens": 10}
                    return {"answer": answer, "retrieved": found, "usage": usage}
            return {"answer": "I don't know.", "retrieved": [], "usage": {"cost_usd": 0.0}}
        return ask
"""
EVALSET = """
    evalset: hr
    cases:
      - {id: days, query: vacation days, relevant: [leave.md], tags: [smoke], checks: {R@5: 1}}
      - {id: laptop, query: broken laptop, relevant: [it.md], checks: {contains: "IT"}}
      - {id: shoes, query: size of shoes, answerable: false}
"""


def project(test: str) -> dict[str, str]:
    """Return a project with a pipeline, an evalset and one test module."""
    return {"conftest.py": CONFTEST, "hr.rag.yaml": EVALSET, "test_rag.py": test}


def lines(pytester: pytest.Pytester) -> list[dict]:
    """Return the results of the run record."""
    text = (pytester.path / "run.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["kind"] == "result"]


def test_ask_and_check(run_rag, pytester):
    """A test asks a question, looks at the observation and holds it to limits; all is recorded."""
    test = """
        def test_vacation(rag):
            seen = rag.ask("vacation?", relevant=["leave.md"], answer="Up to five days.")
            assert "five" in seen.answer
            assert seen.retrieved[0].id == "leave.md"
            values = rag.check(seen, {"R@5": 1, "contains": "five"}, latency_ms=2000, cost_usd=0.01)
            assert values["R@5"] == 1.0
            assert rag.score("nDCG@10") == 1.0
            assert seen.cost_usd > 0
    """
    run_rag(project(test), "test_rag.py", "--rag-out=run.jsonl").assert_outcomes(passed=1)
    (result,) = lines(pytester)
    assert result["evalset"] == "test_rag.py"
    assert result["outcome"] == "passed"
    assert {check["metric"] for check in result["checks"]} >= {"R@5", "contains", "latency_ms"}


def test_a_check_that_fails_names_all_that_do(run_rag, pytester):
    """The assertion tells every limit that does not hold, and the record says failed."""
    test = """
        def test_vacation(rag):
            rag.ask("vacation?", relevant=["other.md"])
            rag.check({"R@5": 1, "contains": "six"})
    """
    result = run_rag(project(test), "test_rag.py", "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*R@5 = 0, limit ≥ 1*", "*contains 'six'*"])
    assert lines(pytester)[0]["outcome"] == "failed"


@pytest.mark.parametrize("way", [(), ("-n2",)], ids=["alone", "n2"])
def test_a_marked_test_runs_once_a_case(run_rag, pytester, way):
    """Every case is a parameter; the case's own checks hold; tags select."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="hr")
        def test_hr(rag):
            seen = rag.ask()
            assert seen.query == rag.case.query
            rag.check()
    """
    result = run_rag(project(test), "test_rag.py", "-v", "--rag-out=run.jsonl", *way)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_hr?days?*"])
    assert {(r["evalset"], r["case"], r["outcome"]) for r in lines(pytester)} == {
        ("test_rag.py::test_hr", "days", "passed"),
        ("test_rag.py::test_hr", "laptop", "passed"),
        ("test_rag.py::test_hr", "shoes", "passed"),
    }
    run_rag({}, "test_rag.py", "-m", "smoke").assert_outcomes(passed=1)


def test_a_marker_can_choose_by_tag(run_rag):
    """Only cases with the tag become parameters."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="hr.rag.yaml", tags="smoke")
        def test_hr(rag):
            rag.check(rag.ask())
    """
    run_rag(project(test), "test_rag.py").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('rag(evalsett="hr")', "no keyword 'evalsett'. Did you mean 'evalset'?"),
        ('rag(evalset="hrr")', "There is no evalset 'hrr'. Did you mean 'hr"),
        ('rag("hr")', "takes keywords: evalset, tags, repeat"),
        ('rag(tags="smoke")', "goes with evalset"),
        ('rag(evalset="hr", tags="smokey")', "Did you mean 'smoke'?"),
        ("rag_budget(latency=2000)", "no keyword 'latency'. Did you mean 'latency_ms'?"),
        ('rag_budget(latency_ms="fast")', "takes a number"),
    ],
)
def test_a_misspelt_marker_is_a_usage_error(run_rag, marker, message):
    """The nearest right word is named, and nothing runs."""
    test = f"import pytest\n\n@pytest.mark.{marker}\ndef test_hr(rag):\n    rag.ask()\n"
    result = run_rag(project(test), "test_rag.py")
    text = result.stdout.str() + result.stderr.str()
    assert message in text
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR)
    assert "INTERNALERROR" not in text
    assert "pluggy" not in text.split("ERRORS")[-1]


@pytest.mark.parametrize("marker", ['rag(evalset="hr")', "rag", "rag_budget(latency_ms=5)"])
def test_a_marked_test_that_evaluates_nothing_fails(run_rag, marker):
    """A green test that asked nothing would be a lie."""
    test = f"import pytest\n\n@pytest.mark.{marker}\ndef test_hr(rag):\n    pass\n"
    result = run_rag(project(test), "test_rag.py")
    assert result.parseoutcomes()["failed"] > 0
    result.stdout.fnmatch_lines(["*evaluated nothing*"])


def test_a_marked_test_needs_the_fixture(run_rag):
    """A marked test that does not ask for ``rag`` is told so."""
    test = 'import pytest\n\n@pytest.mark.rag(evalset="hr")\ndef test_hr():\n    pass\n'
    result = run_rag(project(test), "test_rag.py")
    assert "def test_hr(rag)" in result.stdout.str() + result.stderr.str()


def test_a_budget_holds_every_question(run_rag):
    """Ceilings of the marker apply to all that the test asks, without a call of check."""
    test = """
        import pytest

        @pytest.mark.rag_budget(latency_ms=5000, cost_usd=0.001)
        def test_cheap(rag):
            rag.ask("vacation")

        @pytest.mark.rag_budget(cost_usd=0.000001)
        def test_dear(rag):
            rag.ask("shoes")
            rag.ask("vacation")
    """
    result = run_rag(project(test), "test_rag.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*cost_usd = *limit ≤ *"])


def test_the_configuration_can_be_overridden(run_rag):
    """A project's own ``rag_config`` fixture has its way."""
    conftest = (
        CONFTEST
        + """
    @pytest.fixture(scope="session")
    def rag_config(rag_config):
        from dataclasses import replace
        from pytest_rag.config import Price
        return replace(rag_config, prices={"gpt-4o-mini": Price(input=1e6, output=0)})
    """
    )
    test = "def test_dear(rag):\n    assert rag.ask('vacation').cost_usd == 100.0\n"
    run_rag({**project(test), "conftest.py": conftest}, "test_rag.py").assert_outcomes(passed=1)


def test_a_pipeline_made_anew_for_every_test(run_rag, pytester):
    """A function-scoped fixture gives each case its own pipeline, one after the other."""
    conftest = """
        import pathlib, pytest

        @pytest.fixture
        def rag_pipeline(tmp_path):
            def ask(query):
                with pathlib.Path("pipelines.txt").open("a") as file:
                    file.write(str(tmp_path) + "\\n")
                return "five"
            return ask
    """
    cases = "cases:\n  - {id: a, query: q}\n  - {id: b, query: q}\n"
    run_rag({"conftest.py": conftest, "a.rag.yaml": cases}).assert_outcomes(passed=2)
    made = (pytester.path / "pipelines.txt").read_text().splitlines()
    assert len(set(made)) == 2


def test_yaml_and_python_share_one_pipeline(run_rag, pytester):
    """An evalset's own pipeline is built once for its items and for Python tests."""
    app = """
        import pathlib

        def build():
            with pathlib.Path("built.txt").open("a") as file:
                file.write("x")
            return lambda query: "five"
    """
    test = """
        import pytest

        @pytest.mark.rag(evalset="own")
        def test_own(rag):
            assert rag.ask().answer == "five"
    """
    files = {"app.py": app, "own.rag.yaml": "pipeline: app:build\ncases: [{id: a, query: q}]"}
    run_rag({**files, "test_own.py": test}).assert_outcomes(passed=2)
    assert (pytester.path / "built.txt").read_text() == "x"


def test_yaml_and_python_results_stand_side_by_side(run_rag, pytester):
    """A case run from YAML and from a marked test leaves two results."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="hr", tags="smoke")
        def test_hr(rag):
            rag.check(rag.ask())
    """
    run_rag(project(test), "--rag-out=run.jsonl").assert_outcomes(passed=4)
    assert [r["evalset"] for r in lines(pytester) if r["case"] == "days"] == [
        "hr",
        "test_rag.py::test_hr",
    ]


def test_a_tests_own_assertion_counts(run_rag, pytester):
    """A plain assert that fails is a failure, on the terminal and in the record."""
    test = "def test_own(rag):\n    assert 'six' in rag.ask('vacation').answer\n"
    result = run_rag(project(test), "test_rag.py", "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1)
    (line,) = lines(pytester)
    assert line["outcome"] == "failed"
    assert "six" in line["error"]["message"]


def test_repeats_are_tests_of_their_own(run_rag, pytester):
    """``repeat`` of the marker and ``--rag-repeat`` run a case that often."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="hr", tags="smoke", repeat=2)
        def test_hr(rag):
            rag.ask()
    """
    result = run_rag(project(test), "test_rag.py", "-v", "--rag-out=run.jsonl")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_hr?days-2?*"])
    assert [r["repeat"] for r in lines(pytester)] == [0, 1]
    run_rag({}, "test_rag.py", "--rag-repeat=3").assert_outcomes(passed=3)


BROKEN = """
    import time, pytest

    @pytest.fixture(scope="session")
    def rag_pipeline():
        def ask(query):
            if query == "hang":
                time.sleep(600)
            raise OSError("disk on fire")
        return ask
"""


def test_a_pipeline_that_breaks_is_recorded(run_rag, pytester):
    """The test fails with the pipeline's own exception, and the record holds an error."""
    files = {"conftest.py": BROKEN, "test_rag.py": "def test_it(rag):\n    rag.ask('q')\n"}
    result = run_rag(files, "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*OSError: disk on fire*"])
    assert [(r["outcome"], r["error"]["type"]) for r in lines(pytester)] == [("error", "OSError")]


def test_a_pipeline_that_hangs_is_given_up(run_rag):
    """A marked case's ``timeout_s`` holds from Python, too."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="slow")
        def test_slow(rag):
            rag.ask()
    """
    cases = "cases: [{id: a, query: hang, timeout_s: 0.2}]"
    files = {"conftest.py": BROKEN, "slow.rag.yaml": cases, "test_rag.py": test}
    result = run_rag(files, "test_rag.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no answer within timeout_s: 0.2*"])


def test_a_missing_key_is_not_green(run_rag, monkeypatch):
    """Tests that were skipped for want of a key measured nothing."""
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    conftest = """
        import os, pytest

        @pytest.fixture(scope="session")
        def rag_pipeline():
            return os.environ["ACME_API_KEY"]
    """
    files = {"conftest.py": conftest, "test_rag.py": "def test_it(rag):\n    rag.ask('q')\n"}
    result = run_rag(files)
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*nothing was measured*"])


def test_the_configured_cache_as_a_fixture(run_rag):
    """What is configured, or one in memory that lives as long as the test."""
    test = """
        from pytest_rag.cache import key_of

        def test_it(rag_cache):
            key = key_of("mine", of="a thing")
            assert rag_cache.get(key) is None
            rag_cache.put(key, b"five")
            assert rag_cache.get(key) == b"five"

        def test_another(rag_cache):
            assert type(rag_cache).__name__ == "KIND"
    """
    memory = run_rag({"test_a.py": test.replace("KIND", "MemoryCache")})
    memory.assert_outcomes(passed=2)
    sqlite = run_rag({"test_a.py": test.replace("KIND", "SQLiteCache")}, "--rag-cache=sqlite")
    sqlite.assert_outcomes(passed=2)
