"""What a provider told, and what is made of it: cache writes, reasoning, tiers, estimates."""

from __future__ import annotations

import json

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse

from pytest_rag.config import Price
from pytest_rag.costs.prices import price_calls
from pytest_rag.trace.tokens import of_answer, of_prompt
from pytest_rag.trace.usage import of_response
from pytest_rag.types import Call

M = 1_000_000


def priced(model: str, raw: dict, prices: dict | None = None) -> float | None:
    """Return what a call costs that a provider told of in its own way."""
    told = of_response(CompletionResponse(text="x", raw=raw))
    call = Call(
        stage="llm",
        model=model,
        **{name: getattr(told, name) for name in told.__slots__ if name != "model"},
    )
    return price_calls([call], prices or {}).cost_usd


def test_a_write_to_anthropics_cache_costs_more():
    """3.00 fresh, 0.30 read, 3.75 written for minutes, 6.00 for an hour; a million tokens each."""
    kept = {"ephemeral_5m_input_tokens": 40_000, "ephemeral_1h_input_tokens": 10_000}
    usage = {
        "input_tokens": 10_000,
        "cache_read_input_tokens": 20_000,
        "cache_creation_input_tokens": 50_000,
        "cache_creation": kept,
        "output_tokens": 1_000,
    }
    wanted = 10_000 * 3 + 20_000 * 0.3 + 40_000 * 3.75 + 10_000 * 6 + 1_000 * 15
    assert priced("claude-sonnet-4-5", {"usage": usage}) == pytest.approx(wanted / M)


def test_a_proxy_tells_all_input_at_once():
    """OpenAI's count holds what it tells beside it: nothing is added."""
    usage = {
        "prompt_tokens": 100_000,
        "cache_read_input_tokens": 40_000,
        "completion_tokens": 0,
    }
    told = of_response(CompletionResponse(text="", raw={"usage": usage}))
    assert (told.input_tokens, told.cached_input_tokens) == (100_000, 40_000)


@pytest.mark.parametrize(
    ("usage", "output"),
    [
        (  # OpenAI: reasoning is part of the output
            {
                "prompt_tokens": 10,
                "completion_tokens": 300,
                "total_tokens": 310,
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            300,
        ),
        (  # xAI: it stands beside it, as the total shows
            {
                "prompt_tokens": 10,
                "completion_tokens": 100,
                "total_tokens": 310,
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            300,
        ),
        (  # Google: likewise
            {
                "prompt_token_count": 10,
                "candidates_token_count": 100,
                "thoughts_token_count": 200,
                "total_token_count": 310,
            },
            300,
        ),
    ],
    ids=["within", "beside", "google"],
)
def test_reasoning_is_billed_once(usage, output):
    """Whoever counts how: 300 tokens of output, 200 of them thought."""
    told = of_response(CompletionResponse(text="x", raw={"usage": usage}))
    assert (told.output_tokens, told.reasoning_tokens) == (output, 200)
    assert priced("gpt-5-mini", {"usage": usage}) == pytest.approx((10 * 0.25 + 300 * 2) / M)


@pytest.mark.parametrize(
    ("tier", "share"), [("default", 1), ("batch", 0.5), ("flex", 0.5), ("unheard-of", 1)]
)
def test_how_it_was_served_has_its_price(tier, share):
    """As the provider says in its answer."""
    raw = {"usage": {"prompt_tokens": M, "completion_tokens": M}, "service_tier": tier}
    assert priced("gpt-5-mini", raw) == pytest.approx(share * (0.25 + 2.0))


def test_the_projects_price_has_every_part():
    """What is not written costs as the whole does."""
    call = Call(
        stage="llm",
        model="mine",
        input_tokens=100,
        cached_input_tokens=20,
        cache_write_tokens=30,
        output_tokens=10,
        reasoning_tokens=4,
    )
    plain = {"mine": Price(input=M, output=2 * M)}
    assert price_calls([call], plain).cost_usd == pytest.approx(100 + 20)
    full = {"mine": Price(input=M, cached_input=0, cache_write=2 * M, output=M, reasoning=3 * M)}
    assert price_calls([call], full).cost_usd == pytest.approx(50 + 60 + 6 + 12)


def test_judges_are_summed_apart():
    """Each sum is unknown for its own reasons alone."""
    mine = Call(stage="llm", model="gpt-4o-mini", cost_usd=0.5)
    judge = Call(stage="judge", model="gpt-4o", cost_usd=0.25)
    bill = price_calls([mine, judge], {})
    assert (bill.cost_usd, bill.judge_cost_usd) == (0.5, 0.25)
    bill = price_calls([mine, Call(stage="judge", model="acme", input_tokens=1)], {})
    assert (bill.cost_usd, bill.reason, bill.judge_cost_usd) == (0.5, None, None)
    assert "acme" in bill.judge_reason


@pytest.mark.parametrize("zero", [{"input_tokens": 0, "output_tokens": 0}, {"input_tokens": None}])
def test_no_tokens_are_unknown_and_not_free(zero):
    """No live call has an empty prompt."""
    bill = price_calls([Call(stage="llm", model="gpt-4o-mini", **zero)], {})
    assert bill.cost_usd is None
    assert "no token count" in bill.reason


def test_more_of_a_part_than_of_the_whole():
    """A provider's slip is not billed below nought."""
    slip = Call(
        stage="llm",
        model="gpt-4o-mini",
        input_tokens=M,
        cached_input_tokens=2 * M,
        cache_write_tokens=M,
        output_tokens=0,
    )
    assert price_calls([slip], {}).cost_usd == pytest.approx(0.075)


# --- counted here -----------------------------------------------------------------------------


def test_a_prompt_is_counted_as_openai_does():
    """The cookbook's formula: three a message, three for the answer, and the words."""
    messages = [ChatMessage(role="system", content="hello world"), ChatMessage(content="hello")]
    for model in ("gpt-4o-mini", "gpt-4", "openai/gpt-4o", "gpt-5-mini"):
        assert of_prompt(model, "hello world") == 2
        assert of_prompt(model, messages) == 3 + 3 + 3 + 2 + 1 + 2
    assert of_answer("gpt-4o", CompletionResponse(text="hello world")) == 2
    called = {"tool_calls": [{"name": "search"}]}
    asked = ChatMessage(role="assistant", content=None, additional_kwargs=called)
    assert of_answer("gpt-4o", ChatResponse(message=asked)) > 3


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "llama3", "text-davinci-003", ""])
def test_no_other_tokenizer_is_guessed(model):
    """What is not at hand stays unknown."""
    assert of_prompt(model, "hello") is None
    assert of_answer(model, CompletionResponse(text="hello")) is None


def test_a_file_of_a_run_holds_no_secret(run_rag, pytester, monkeypatch):
    """Key, header and webhook are in no file, whatever broke and whoever was told."""
    secrets = {
        "OPENAI_API_KEY": "sk-very-secret-0123456789abcdef",
        "COSTS_WEBHOOK": "http://127.0.0.1:1/services/very-secret-path",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    files = {
        "pyproject.toml": """
            [tool.pytest-rag.alerts]
            run_usd = 0.0001
            webhook = "env:COSTS_WEBHOOK"
        """,
        "app.py": """
            import os

            def build():
                def answer(query):
                    usage = {"model": "gpt-4o-mini", "input_tokens": 10**6, "output_tokens": 1}
                    key, hook = os.environ["OPENAI_API_KEY"], os.environ["COSTS_WEBHOOK"]
                    if query == "break":
                        raise ValueError(f"Authorization: Bearer {key} {hook}")
                    return {"answer": f"{key} {hook} https://hooks.slack.com/services/T0/B0/xyz",
                            "usage": usage}
                return answer
        """,
        "a.rag.yaml": "pipeline: app:build\ncases: [{id: a, query: break}, {id: b, query: tell}]",
    }
    done = run_rag(files, "--rag-out=run.jsonl", "-v")
    done.stdout.fnmatch_lines(["*this run cost $0.15; run_usd is $0.00010.", "*webhook failed*"])
    wanted = [*secrets.values(), "very-secret", "T0/B0/xyz"]
    inputs = {pytester.path / name for name in files}
    written = [p for p in pytester.path.rglob("*") if p.is_file() and p not in inputs]
    assert {"run.jsonl", "ledger.sqlite"} <= {path.name for path in written}
    for path in written:
        if path.suffix != ".pyc":
            assert not [word for word in wanted if word.encode() in path.read_bytes()], path
    lines = (pytester.path / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["judge_cost_usd"] for line in lines[1:3]] == [0.0, 0.0]
