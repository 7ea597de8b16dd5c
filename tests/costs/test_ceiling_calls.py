"""Under a ceiling no call of a model starts that could pass it."""

from __future__ import annotations

import json
import random
import threading

import llama_index.embeddings.openai
import llama_index.llms.openai
import pytest
from counting_server import recorded, results

import pytest_rag.errors
import pytest_rag.metrics.llamaindex
import pytest_rag.replay.paced
from pytest_rag.costs.budget import Budget

__all__ = ["llama_index", "pytest_rag"]

# LlamaIndex never closes the clients that it makes, so their sockets are left to Python.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SETTINGS = "[tool.pytest-rag]\nprices = {acme = {input = 1, output = 10}, free = 0}\n"
JUDGE = """
[tool.pytest-rag.judge]
model = "app:judge"
"""
APP = """
    import asyncio, os
    from llama_index.llms.openai_like import OpenAILike

    def model(name="acme", **given):
        return OpenAILike(
            model=name, api_base=os.environ["SERVER"], api_key="none", is_chat_model=True,
            **{"max_tokens": 100, "max_retries": 4, "timeout": 10.0, **given},
        )

    def build(name="acme", calls=1, **given):
        llm = model(name, **given)

        async def ask(query):
            said = [await llm.acomplete(f"{query}, {n}") for n in range(calls)]
            return said[-1].text

        return ask

    def blocking(name="acme", **given):
        llm = model(name, **given)
        return lambda query: llm.complete(query).text

    def streaming(name="acme", **given):
        llm = model(name, **given)
        return lambda query: "".join(piece.delta or "" for piece in llm.stream_complete(query))

    def unlimited():
        from llama_index.core.llms import CustomLLM, LLMMetadata

        class Foreign(CustomLLM):
            @property
            def metadata(self):
                return LLMMetadata(model_name="acme")

            def complete(self, prompt, formatted=False, **kwargs):
                return model(max_tokens=None).complete(prompt)

            def stream_complete(self, prompt, formatted=False, **kwargs):
                raise NotImplementedError

        llm = Foreign()
        return lambda query: llm.complete(query).text

    def engine():
        from llama_index.core.query_engine import CustomQueryEngine

        class Plain(CustomQueryEngine):
            llm: object

            def custom_query(self, query_str):
                return self.llm.complete(query_str).text

        return Plain(llm=model())

    def swallowing(calls=50):
        llm = model()

        async def ask(query):
            said = "nothing"
            for n in range(calls):
                try:
                    said = (await llm.acomplete(f"{query}, {n}")).text
                except Exception:
                    break
            return said

        return ask

    def judge():
        return model(max_tokens=100)
"""


def evalset(count: int, factory: str = "build", checks: str = "", **params: object) -> str:
    """Return an evalset of some cases."""
    cases = "".join(f"  - {{id: c{n}, query: question {n}{checks}}}\n" for n in range(count))
    return f"pipeline: {{factory: 'app:{factory}', params: {json.dumps(params)}}}\ncases:\n{cases}"


def run(run_rag, text: str, limit: float, *args: str, more: str = "", **how: object):
    """Run an evalset under a ceiling."""
    files = {"app.py": APP, "pyproject.toml": SETTINGS + more, "a.rag.yaml": text}
    out = ("--rag-out=run.jsonl", "--rag-baseline=none")
    return run_rag(files, f"--rag-max-cost={limit}", *out, *args, **how)


# --- the bound holds ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("factory", "params"),
    [("build", {"calls": 3}), ("blocking", {}), ("streaming", {})],
    ids=["async", "blocking", "streaming"],
)
def test_the_ceiling_is_never_passed(run_rag, pytester, server, factory, params, seed):
    """Whatever the calls cost; eight cases at a time; what was served is what is recorded."""
    server.chance.seed(seed)
    done = run(run_rag, evalset(24, factory, **params), 0.006)
    assert 0 < server.usd <= 0.006
    assert done.ret == 1
    outcomes = {result["outcome"] for result in results(pytester)}
    assert outcomes == {"passed", "not_run"}
    assert recorded(pytester) == pytest.approx(server.usd) or factory == "streaming"


def test_workers_share_it(run_rag, pytester, server):
    """Two processes draw on one file."""
    run(run_rag, evalset(24, calls=2), 0.006, "-n2", apart=True)
    assert 0 < server.usd <= 0.006
    assert recorded(pytester) == pytest.approx(server.usd)
    assert {r["outcome"] for r in results(pytester)} == {"passed", "not_run"}


def test_a_probe_cannot_pass_it(run_rag, pytester, server):
    """The first case of an evalset makes many calls, and stops in the middle of them."""
    run(run_rag, evalset(1, calls=50), 0.005)
    (result,) = results(pytester)
    assert result["outcome"] == "not_run"
    assert result["error"]["message"].startswith("A call of acme can cost $0.0010 (")
    assert 0 < len(server.tokens) < 50
    assert server.usd <= 0.005
    assert sum(c["cost_usd"] for c in result["calls"]) == pytest.approx(server.usd)


def test_a_refusal_that_is_swallowed(run_rag, pytester, server):
    """It is `not_run`, whatever the pipeline answered; what it had spent stays counted."""
    done = run(run_rag, evalset(2, "swallowing"), 0.005)
    assert {r["outcome"] for r in results(pytester)} == {"not_run"}
    assert done.ret == 1
    assert 0 < server.usd <= 0.005
    assert recorded(pytester) == pytest.approx(server.usd)
    done.stdout.fnmatch_lines(["ceiling: $0.00* of $0.0050 spent; for its sake 2 runs did not *"])


def test_retries_count(run_rag, pytester, server):
    """Each attempt is set aside anew; those that were refused by the provider cost nothing."""
    server.failing = 3
    run(run_rag, evalset(1), 0.0012)
    assert [r["outcome"] for r in results(pytester)] == ["passed"]
    assert (server.requests, len(server.tokens)) == (4, 1)


@pytest.mark.parametrize("factory", ["build", "blocking"])
def test_a_model_without_a_price_is_not_asked(run_rag, pytester, server, factory):
    """The line to add is told before the first request."""
    done = run(run_rag, evalset(3, factory, name="unheard-of"), 1.0, "-rs")
    assert server.requests == 0
    done.stdout.fnmatch_lines(['*add "unheard-of" = {input = …, output = …} to [[]tool.pytest*'])
    assert {r["outcome"] for r in results(pytester)} == {"not_run"}


def test_a_free_model_is_always_asked(run_rag, pytester, server):
    """However low the ceiling."""
    run(run_rag, evalset(3, name="free"), 1e-9).assert_outcomes(passed=3)


@pytest.mark.parametrize("factory", ["build", "blocking", "streaming"])
def test_a_model_without_a_limit_is_told_one(run_rag, pytester, server, factory):
    """4096 tokens, or what the project says, so that its answers cannot pass the ceiling."""
    text = evalset(8, factory, max_tokens=None)
    run(run_rag, text, 0.03)
    assert server.requests == 0
    assert "4,096 of output, by max_output_tokens" in results(pytester)[0]["error"]["message"]
    more = SETTINGS.replace("prices", "max_output_tokens = 900\nprices")
    run_rag({"pyproject.toml": more}, "--rag-max-cost=0.03")
    assert set(server.limits) == {900}
    assert 0 < server.usd <= 0.03


def test_a_model_that_cannot_be_told_one_is_not_asked(run_rag, pytester, server):
    """Unless the project says how much it answers at most."""
    text = evalset(1, "unlimited")
    done = run(run_rag, text, 1.0, "-rs")
    assert server.requests == 0
    done.stdout.fnmatch_lines(["*acme has no limit to its answers*"])
    more = SETTINGS.replace("prices", "max_output_tokens = 900\nprices")
    run_rag({"pyproject.toml": more}, "--rag-max-cost=1").assert_outcomes(passed=1)
    assert server.limits == [None]


def test_a_judge_counts(run_rag, pytester, server):
    """Its calls are set aside with the case's; one that is refused is no score of 0."""
    checks = ", checks: {polite: {rubric: {question: Is it polite?, scale: [0, 5]}, min: 0.1}}"
    run(run_rag, evalset(12, checks=checks), 0.006, more=JUDGE)
    assert 0 < server.usd <= 0.006
    judged = [c for r in results(pytester) for c in r["calls"] if c["stage"] == "judge"]
    assert judged
    assert recorded(pytester) == pytest.approx(server.usd)
    assert "not_run" in {r["outcome"] for r in results(pytester)}


def test_a_judge_alone_is_refused(run_rag, pytester, server):
    """The pipeline was asked and is paid for; the judge was not."""
    checks = ", checks: {polite: {rubric: {question: Is it polite?, scale: [0, 5]}, min: 0.1}}"
    run(run_rag, evalset(1, name="free", checks=checks), 0.0005, more=JUDGE)
    (result,) = results(pytester)
    assert (result["outcome"], server.requests) == ("not_run", 1)
    assert "A call of acme can cost" in result["error"]["message"]
    assert [call["model"] for call in result["calls"]] == ["free"]


def test_python_tests_and_building_are_in_it(run_rag, pytester, server):
    """`rag.ask` stops as a case does; so does a pipeline that asks while it is built."""
    test = """
        import pytest
        from app import build, model

        @pytest.fixture(scope="session")
        def rag_pipeline():
            model().complete("a greeting")
            return build(calls=2)

        @pytest.mark.parametrize("n", range(12))
        def test_it(rag, n):
            rag.ask(f"question {n}")
    """
    files = {"app.py": APP, "pyproject.toml": SETTINGS, "test_a.py": test}
    done = run_rag(files, "--rag-max-cost=0.006", "--rag-out=run.jsonl", "--rag-baseline=none")
    assert 0 < server.usd <= 0.006
    assert done.parseoutcomes().keys() == {"passed", "skipped"}
    assert recorded(pytester) < server.usd  # that of building is in no case


def test_what_came_from_a_cache_costs_nothing(run_rag, pytester, server):
    """Under a ceiling that no call fits, a second run is whole; its ledger has nothing twice."""
    text = evalset(3, "engine")
    run(run_rag, text, 1.0, "--rag-cache=sqlite").assert_outcomes(passed=3)
    asked = server.requests
    run(run_rag, text, 1e-6, "--rag-cache=sqlite").assert_outcomes(passed=3)
    assert server.requests == asked
    assert pytester.run("pytest-rag", "costs", "--by", "model").stdout.str().count("acme") == 1
    shown = pytester.run("pytest-rag", "costs", "--json").stdout.str()
    assert json.loads(shown)["total"]["calls"] == asked


# --- the calls of a case ------------------------------------------------------------------------


@pytest.fixture
def budget(tmp_path):
    """A ceiling of 1000 nano-dollars."""
    return Budget(tmp_path / "budget.sqlite", 1e-6)


def test_a_call_takes_what_its_case_has_and_then_more(budget):
    """What another case may still give back is waited for; what never will be there is not."""
    first, second = budget.open_hold(), budget.open_hold()
    assert first.begin_call(600, "acme") == 600
    assert second.begin_call(600, "acme") is None
    first.end_call(600, 300, "acme")
    first.settle_calls()
    assert second.begin_call(600, "acme") == 600
    second.end_call(600, 600, "acme")
    with pytest.raises(pytest_rag.errors.BudgetError):
        second.begin_call(200, "acme")
    second.settle_calls()
    assert budget.spent_usd == pytest.approx(900e-9)


def test_a_call_dearer_than_it_could_be_raises_the_next_bounds(budget):
    """A provider that counts more than there was is believed from then on."""
    hold = budget.open_hold()
    hold.end_call(hold.begin_call(100, "acme"), 150, "acme")
    assert hold.begin_call(100, "acme") == 150
    assert hold.begin_call(100, "other") == 100


def test_a_case_that_was_given_up_pays_for_its_calls_and_makes_no_more(budget):
    """A thread nobody waits for any more may still be asking."""
    hold = budget.open_hold()
    hold.begin_call(400, "acme")
    hold.settle_calls()
    assert budget.spent_usd == pytest.approx(400e-9)
    with pytest.raises(pytest_rag.errors.BudgetError):
        hold.begin_call(1, "acme")


def test_calls_of_many_threads_never_pass_it(budget):
    """Set aside and spent together stay below, in any order."""
    chance = random.Random(1)
    costs = [chance.randint(1, 30) for _ in range(200)]

    def work(part: list[int]) -> None:
        hold = budget.open_hold()
        for cost in part:
            try:
                held = hold.begin_call(30, "acme")
            except pytest_rag.errors.BudgetError:
                break
            if held is not None:
                hold.end_call(held, cost, "acme")
        hold.settle_calls()

    threads = [threading.Thread(target=work, args=(costs[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.9e-6 < budget.spent_usd <= 1e-6
