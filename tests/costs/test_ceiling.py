"""``--rag-max-cost``: nothing starts that could pass it, in one process and in several."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from pytest_rag.costs.budget import Budget, join
from pytest_rag.errors import BudgetError

# A case costs 0.00021 USD: 1000 tokens at 0.15, 100 at 0.60 a million.
APP = """
    def build(model="gpt-4o-mini", fails=0):
        asked = []
        def answer(query):
            asked.append(query)
            if len(asked) <= fails:
                raise ValueError("no such shard")
            usage = {"model": model, "input_tokens": 1000, "output_tokens": 100}
            return {"answer": "five", "usage": usage}
        return answer

    def free():
        return lambda query: {"answer": "five", "usage": {"model": "free", "input_tokens": 1}}

    def opaque():
        return lambda query: "five"
"""
SETTINGS = "[tool.pytest-rag.prices]\nfree = 0\n"


def evalset(count: int = 12, factory: str = "build", **params: object) -> str:
    """Return an evalset of some cases."""
    cases = "".join(f"  - {{id: c{n}, query: q{n}}}\n" for n in range(count))
    return f"pipeline: {{factory: 'app:{factory}', params: {json.dumps(params)}}}\ncases:\n{cases}"


def results(pytester) -> list[dict]:
    """Return the results of the record."""
    lines = (pytester.path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "result"]


def spent(pytester) -> float:
    """Return what the record's calls cost."""
    return sum(call["cost_usd"] or 0 for result in results(pytester) for call in result["calls"])


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=["one process", "two workers"])
def test_the_ceiling_holds(run_rag, pytester, args):
    """Of twelve cases those run that surely fit; the rest is not run, says so, and is not green."""
    files = {"app.py": APP, "pyproject.toml": SETTINGS, "a.rag.yaml": evalset()}
    out = "--rag-out=run.jsonl"
    done = run_rag(files, "--rag-max-cost=0.001", out, *args, apart=bool(args))
    done.assert_outcomes(passed=4, skipped=8)
    assert done.ret == 1
    assert 0 < spent(pytester) <= 0.001
    left = [r["error"]["message"] for r in results(pytester) if r["outcome"] == "not_run"]
    assert set(left) == {"What is left of the run's ceiling of $0.001 may not be enough."}
    told = "ceiling: $0.00084 of $0.0010 spent; for its sake 8 runs did not start"
    assert told in done.stdout.lines


def test_evalsets_and_python_tests_share_it(run_rag, pytester):
    """Whoever asks; what costs nothing is run in any case."""
    test = """
        import pytest

        @pytest.mark.rag(evalset="a")
        def test_it(rag, rag_costs):
            rag.ask()
            assert rag_costs.by_model.keys() >= {"gpt-4o-mini"}
            assert rag_costs.total_usd == pytest.approx(0.00021 * (rag_costs.calls - 12))
    """
    files = {
        "app.py": APP,
        "pyproject.toml": SETTINGS,
        "a.rag.yaml": evalset(3),
        "b.rag.yaml": evalset(12, "free"),
        "test_a.py": test,
    }
    done = run_rag(files, "--rag-max-cost=0.001", "--rag-out=run.jsonl")
    done.assert_outcomes(passed=3 + 12 + 1, skipped=2)
    assert spent(pytester) <= 0.001


@pytest.mark.parametrize(
    ("factory", "params", "said"),
    [
        ("build", {"model": "acme"}, 'add "acme" = {input = …, output = …} to [[]tool.pytest-rag'),
        ("opaque", {}, "it is no LlamaIndex object and returned no 'usage'"),
    ],
)
def test_what_cannot_be_known_is_stopped(run_rag, factory, params, said):
    """One case shows it; the others wait until somebody writes down a price."""
    files = {"app.py": APP, "a.rag.yaml": evalset(5, factory, **params)}
    done = run_rag(files, "--rag-max-cost=1", "-rs")
    done.assert_outcomes(passed=1, skipped=4)
    done.stdout.fnmatch_lines([f"*Under a ceiling costs must be known.*{said}*"])
    assert done.ret == 1


def test_a_case_that_breaks_before_it_calls_costs_nothing(run_rag):
    """The next one is the probe."""
    files = {"app.py": APP, "a.rag.yaml": evalset(6, fails=2)}
    run_rag(files, "--rag-max-cost=1").assert_outcomes(passed=4, errors=2)


@pytest.mark.parametrize("typed", ["0", "-1", "much", "nan", "inf"])
def test_what_is_no_amount(run_rag, typed):
    """Is a usage error."""
    done = run_rag({"a.rag.yaml": evalset(1)}, f"--rag-max-cost={typed}")
    assert done.ret == 4
    done.stderr.fnmatch_lines([f"*--rag-max-cost takes US dollars above 0*{typed!r}*"])


# --- the budget itself --------------------------------------------------------------------------


@pytest.fixture
def budget(tmp_path):
    """A ceiling of a dollar."""
    return Budget(tmp_path / "budget.sqlite", 1.0)


def test_what_is_set_aside_is_not_there_for_others(budget):
    """Wait where it may come back, give up where it will not."""
    held = budget.reserve(0.75)
    assert budget.reserve(0.5) is None
    with pytest.raises(BudgetError, match=r"ceiling of \$1 "):
        budget.reserve(1.5)
    held.settle(0.25)
    again = budget.reserve(0.5)
    again.settle(None)  # unknown: all of it counts
    assert budget.spent_usd == 0.75
    with pytest.raises(BudgetError):
        budget.reserve(0.5)


def test_a_probe_is_alone_and_the_next_know_more(budget):
    """Half as much again as the dearest case so far is set aside."""
    probe = budget.admit("hr")
    assert budget.admit("hr") is None
    probe.settle_case([{"cost_usd": 0.2}], cost_usd=0.2, broke=False)
    holds = [budget.admit("hr") for _ in range(3)]  # 0.3 + 0.3 of 0.8
    assert [hold is None for hold in holds] == [False, False, True]


def test_three_broken_probes_are_enough(budget):
    """Nobody knows what they cost."""
    for _ in range(3):
        budget.admit("hr").settle_case([{"cost_usd": None}], cost_usd=None, broke=True)
    with pytest.raises(BudgetError, match="The first 3 cases broke"):
        budget.admit("hr")


def test_many_threads_never_pass_it(budget):
    """Reserved and spent together stay below, whoever is faster."""

    def work():
        try:
            for _ in range(40):
                held = budget.reserve(0.01)
                if held is not None:
                    held.settle(0.01)
        except BudgetError:
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent_usd == pytest.approx(1.0)


def test_what_a_dead_process_held_is_spent(budget, tmp_path):
    """A worker that was killed may have made its call."""
    code = (
        "import sys; from pathlib import Path; from pytest_rag.costs.budget import Budget\n"
        "assert Budget(Path(sys.argv[1])).reserve(0.75) is not None"
    )
    subprocess.run([sys.executable, "-c", code, str(budget.path)], check=True, timeout=60)
    with pytest.raises(BudgetError):
        budget.reserve(0.5)
    assert budget.spent_usd == 0.75
    assert join(str(budget.path), None).limit_usd == 1.0
