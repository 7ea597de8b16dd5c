"""What a call costs: the project's prices, then the list; unknown is never free."""

from __future__ import annotations

import re

import pytest

from pytest_rag.config import Price
from pytest_rag.costs.prices import price_calls
from pytest_rag.types import Call


def call(model: str, given: int | None = 1_000_000, out: int | None = 1_000_000, **more) -> Call:
    """Return a call of a language model."""
    return Call(stage="llm", model=model, input_tokens=given, output_tokens=out, **more)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-4o-mini", 0.15 + 0.60),
        ("gpt-4o-mini-2024-07-18", 0.15 + 0.60),
        ("openai/gpt-4o-mini", 0.15 + 0.60),
        ("models/gemini-2.0-flash", 0.10 + 0.40),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", 3 + 15),
    ],
)
def test_known_models(model, usd):
    """A million tokens in and out, by the published list, however the name is written."""
    assert price_calls([call(model)], {}).cost_usd == pytest.approx(usd)


def test_cached_tokens_are_cheaper():
    """600,000 fresh at 0.15, 400,000 cached at 0.075, 200,000 out at 0.60."""
    one = call("gpt-4o-mini", out=200_000, cached_input_tokens=400_000)
    assert price_calls([one], {}).cost_usd == pytest.approx(0.09 + 0.03 + 0.12)


def test_the_projects_price_wins():
    """Cached tokens cost as fresh ones where no price is given for them."""
    one = call("gpt-4o-mini", cached_input_tokens=500_000)
    plain = {"gpt-4o-mini": Price(input=2, output=10)}
    assert price_calls([one], plain).cost_usd == pytest.approx(12)
    cached = {"gpt-4o-mini": Price(input=2, cached_input=1, output=10)}
    assert price_calls([one], cached).cost_usd == pytest.approx(11.5)


def test_an_embedding_has_no_output():
    """It costs its input alone."""
    one = Call(stage="embed", model="text-embedding-3-small", input_tokens=1_000_000)
    assert price_calls([one], {}).cost_usd == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (call("acme-1"), r"no price is known for 'acme-1': add \"acme-1\" = \{input = …"),
        (
            call("gpt-4o-mini", given=None),
            r'no token count; if it is free, add "gpt-4o-mini" = 0 to \[tool\.pytest-rag\.prices\]',
        ),
        (call("gpt-4o-mini", out=None), "no count of output tokens"),
    ],
)
def test_one_unknown_cost_makes_the_sum_unknown(one, reason):
    """The known calls keep theirs, and the reason says what to type."""
    bill = price_calls([call("gpt-4o-mini"), one], {})
    assert bill.cost_usd is None
    assert [c.cost_usd is None for c in bill.calls] == [False, True]

    assert re.search(reason, bill.reason)


def test_what_costs_nothing():
    """No calls, a model priced 0 without tokens, and the one inside this process."""
    local = Call(stage="embed", model="wordllama")
    assert price_calls([], {}).cost_usd == 0
    assert price_calls([local, call("mine", given=None)], {"mine": Price()}).cost_usd == 0


def test_a_pipelines_own_figure_is_taken():
    """It knows its bill better than a list."""
    assert price_calls([call("acme-1", cost_usd=0.5)], {}).cost_usd == 0.5
