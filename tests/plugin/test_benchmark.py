"""The `rag_benchmark` fixture: times of stages in pytest-benchmark's own storage and comparison."""

from __future__ import annotations

import json

import pytest

PIPELINE = """
    import pathlib, pytest

    def slow(name):
        return float(pathlib.Path(f"{name}.txt").read_text())

    @pytest.fixture(scope="session")
    def rag_pipeline():
        from llama_index.core.query_engine import RetrieverQueryEngine
        from llama_parts import ChatLLM, FixedRetriever
        retriever = FixedRetriever(wait_s=slow("retrieve"))
        return RetrieverQueryEngine.from_args(retriever, llm=ChatLLM(wait_s=slow("llm")))
"""
TEST = """
    def test_speed(rag_benchmark):
        seen = rag_benchmark("How much leave?", rounds=5)
        assert seen.answer
"""
OTHERS = ("hypothesispytest", "anyio", "platformdirs", "langsmith_plugin", "xdist")


@pytest.fixture
def bench(pytester, outside_ci):
    """Run a benchmark whose retriever and model take these times; timing is by sleeping alone."""
    pytester.makeconftest(PIPELINE.replace("\n    ", "\n"))

    def run(*args, retrieve=0.02, llm=0.02, test=TEST):
        for name, seconds in (("retrieve", retrieve), ("llm", llm)):
            (pytester.path / f"{name}.txt").write_text(str(seconds))
        pytester.makepyfile(test.replace("\n    ", "\n"))
        off = (word for name in OTHERS for word in ("-p", f"no:{name}"))
        return pytester.runpytest_inprocess(*off, *args)

    return run


def saved(path):
    """Return the entries of what pytest-benchmark saved, by name."""
    (file,) = path.glob(".benchmarks/*/*.json")
    return {each["name"]: each for each in json.loads(file.read_text())["benchmarks"]}


def test_a_slower_stage_turns_the_comparison_red(bench, pytester):
    """What is saved holds the whole, p95 and each stage; a stage or p95 that grew fails."""
    assert bench("--benchmark-save=before").ret == 0
    entries = saved(pytester.path)
    assert set(entries) == {
        "test_speed",
        "test_speed[p95]",
        "test_speed[stage=retrieve]",
        "test_speed[stage=synthesize]",
        "test_speed[stage=llm]",
    }
    assert entries["test_speed[stage=retrieve]"]["stats"]["rounds"] == 5
    assert entries["test_speed[stage=retrieve]"]["stats"]["min"] >= 0.02
    assert entries["test_speed[p95]"]["stats"]["median"] >= 0.04
    compare = ("--benchmark-compare", "--benchmark-compare-fail=min:300%")
    assert bench(*compare).ret == 0
    slower = bench(*compare, retrieve=0.5)
    assert slower.ret != 0
    told = slower.stdout.str() + slower.stderr.str()
    assert "test_speed[stage=retrieve] (" in told
    failed = [line for line in told.splitlines() if "has failed" in line]
    assert {line.split()[0] for line in failed} == {
        "test_speed",
        "test_speed[p95]",
        "test_speed[stage=retrieve]",
    }


def test_only_wanted_entries_are_kept(bench, pytester):
    """A stage that is not asked for is not compared; a misspelt one is told."""
    test = TEST.replace("rounds=5", 'rounds=2, entries=["p95", "llm"]')
    assert bench("--benchmark-save=x", "--benchmark-only", test=test).ret == 0
    assert set(saved(pytester.path)) == {"test_speed", "test_speed[p95]", "test_speed[stage=llm]"}
    wrong = bench(test=TEST.replace("rounds=5", 'entries=["retreive"]'))
    wrong.stdout.fnmatch_lines(["*no entry 'retreive'. Did you mean 'retrieve'?*"])


def test_a_case_of_an_evalset_is_timed(bench, pytester):
    """A marked test asks its case, and the label goes into its brackets."""
    evalset = "cases:\n- {id: leave, query: How much leave?}\n"
    (pytester.path / "hr.rag.yaml").write_text(evalset)
    test = """
    import pytest

    @pytest.mark.rag(evalset="hr")
    def test_case(rag_benchmark, rag):
        rag_benchmark(rounds=2)
        rag.check(latency_ms=60_000)
    """
    done = bench("--benchmark-save=x", "-k", "test_case", test=test)
    done.assert_outcomes(passed=1, deselected=1)
    assert "test_case[leave-p95]" in saved(pytester.path)


@pytest.mark.parametrize("how", ["--benchmark-disable", "--benchmark-skip"])
def test_without_measuring(bench, how):
    """Switched off, the question is asked once; skipped, not at all."""
    done = bench(how)
    wanted = {"passed": 1} if how == "--benchmark-disable" else {"skipped": 1}
    done.assert_outcomes(**wanted)


def test_the_plugin_that_is_switched_off(run_rag):
    """Without pytest-benchmark the fixture says what is missing."""
    done = run_rag({"conftest.py": PIPELINE, "test_speed.py": TEST})
    done.stdout.fnmatch_lines(["*rag_benchmark needs pytest-benchmark*leave out -p no:benchmark*"])
