"""The summary that every reporter renders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rag.gate import judge_limits
from pytest_rag.records import Result
from pytest_rag.report.summary import summarise
from pytest_rag.report.troubles import case_reasons
from pytest_rag.types import GateLimit
from pytest_rag.verdict import Held


def run(case="a", evalset="handbook", *, outcome="passed", scores=None, **fields):
    """Return a result; scores are values, or reasons where there is none."""
    told = {
        name: {"value": None, "reason": s} if isinstance(s, str) else {"value": s, "reason": None}
        for name, s in (scores or {}).items()
    }
    return Result(evalset=evalset, case=case, query="?", outcome=outcome, scores=told, **fields)


def broke(case, message="no answer", *, kind="TimeoutError", outcome="error", **fields):
    """Return a result of a run that broke."""
    error = {"type": kind, "message": message, "traceback": ""}
    return run(case, outcome=outcome, error=error, **fields)


def check(metric="R@5", *, passed=False, argument=None, reason=None):
    """Return a check as a record holds it."""
    return {"metric": metric, "argument": argument, "passed": passed, "reason": reason}


def call(model="gpt", *, stage="llm", tokens=10, cost=0.1, origin="live"):
    """Return a call as a record holds it."""
    return {
        "model": model, "stage": stage, "input_tokens": tokens, "cost_usd": cost, "origin": origin,
    }  # fmt: skip


def one(*results, **options):
    """Return the summary of the one evalset."""
    (found,) = summarise(results, {}, **options).evalsets
    return found


# --- the whole --------------------------------------------------------------------------------


def test_evalsets_keep_their_order_and_their_gates():
    """Every evalset that ran is summarised apart, with the verdicts on its limits."""
    results = [run("a", "zoo"), run("a", "ant", outcome="failed"), run("b", "zoo")]
    gates = judge_limits([GateLimit(metric="passed", aggregate="rate", min=1)], results[1:2])
    summary = summarise(results, {"ant": Held(evalset="ant", gates=gates)})
    assert [each.name for each in summary.evalsets] == ["zoo", "ant"]
    assert [each.gates for each in summary.evalsets] == [(), gates]
    assert summary.outcomes == {"passed": 2, "failed": 1, "error": 0, "not_run": 0}
    assert [each.good for each in summary.evalsets] == [True, False]
    assert (summary.measured, summary.good) == (True, False)


@pytest.mark.parametrize("results", [[], [broke("a")], [broke("a", outcome="not_run")]])
def test_nothing_measured(results):
    """A run without a case that passed or failed has measured nothing, and is not good."""
    summary = summarise(results, {})
    assert (summary.measured, summary.good) == (False, False)


def test_a_limit_that_is_not_judged_is_no_harm():
    """A partial run whose cases all pass is good."""
    results = [run("a", scores={"R@5": 1.0})]
    gates = judge_limits([GateLimit(metric="R@5", min=1)], results, declared=9)
    assert summarise(results, {"handbook": Held(evalset="handbook", gates=gates)}).good


def test_cases_are_counted_and_not_runs():
    """Repeats are one case, which passes as its `min_pass` says."""
    runs = [run("a", repeat=n, outcome="failed" if n else "passed") for n in range(3)]
    assert (one(*runs).cases, one(*runs).runs) == (1, 3)
    assert one(*runs).outcomes["failed"] == 1
    lenient = one(*runs, min_pass={("handbook", "a"): 1})
    assert (lenient.outcomes["passed"], lenient.troubles) == (1, ())


# --- metrics ----------------------------------------------------------------------------------


def test_metrics_stand_in_a_sensible_order():
    """Ranking comes first, cutoffs ascend, the answer follows, then what others have added."""
    names = ["zeta", "refusal", "token_f1", "R@10", "P@5", "R@5", "alpha", "RR", "nDCG@10"]
    rows = one(run(scores=dict.fromkeys(names, 1.0))).metrics
    told = "nDCG@10 RR R@5 R@10 P@5 token_f1 refusal alpha zeta"
    assert [row.name for row in rows] == told.split()


def test_a_mean_is_over_cases():
    """Repeats are averaged first, cases without a value left out, and counted apart."""
    values = {"a": (0.0, 1.0), "b": (1.0,)}
    runs = [
        run(case, repeat=n, scores={"R@5": v})
        for case, of in values.items()
        for n, v in enumerate(of)
    ]
    (row,) = one(*runs, run("c", scores={"R@5": "no section"}), run("d")).metrics
    assert (row.n, row.mean, row.low, row.high, row.reason) == (2, 0.75, 0.5, 1.0, "no section")


def test_a_metric_without_a_value():
    """A mean of nothing is None with the reason, and one case has no interval."""
    none, single = one(run(scores={"R@5": "no section", "token_f1": 0.5})).metrics
    assert (none.n, none.mean, none.low, none.reason) == (0, None, None, "no section")
    assert (single.n, single.mean, single.low, single.high) == (1, 0.5, None, None)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_a_mean_lies_in_its_range(values):
    """However cases score, their mean stays between the worst and the best."""
    (row,) = one(*(run(str(n), scores={"R@5": v}) for n, v in enumerate(values))).metrics
    assert row.n == len(values)
    assert min(values) - 1e-15 <= row.mean <= max(values) + 1e-15


# --- time and usage ---------------------------------------------------------------------------


def test_times_of_the_whole_and_of_the_stages():
    """Percentiles are over runs that ended; shares tell where the time went."""
    runs = [
        run(
            case,
            latency_ms=ms,
            stages_ms={"llm": ms - 10, "retrieve": 10.0},
            self_ms={"llm": ms - 10, "retrieve": 5.0},
            cpu_ms={"retrieve": 2.5},
        )
        for case, ms in (("a", 20.0), ("b", 30.0))
    ]
    whole, retrieve, llm = one(*runs, broke("c", latency_ms=60_000.0)).times
    assert (whole.name, whole.n, whole.p50, whole.p95) == ("latency", 2, 25, 29.5)
    assert (retrieve.name, retrieve.p50, retrieve.self_share, retrieve.cpu_share) == (
        "retrieve", 10, 0.2, 0.5,
    )  # fmt: skip
    assert (llm.name, llm.self_share, llm.cpu_share) == ("llm", 0.6, 0.0)
    assert one(broke("c")).times == ()


def test_usage_is_summed():
    """Tokens, money and calls by origin are those of all runs."""
    calls = [call(), call(origin="cache")]
    runs = [run(str(n), input_tokens=5, output_tokens=2, cost_usd=0.1, calls=calls) for n in (1, 2)]
    used = one(*runs, broke("c", outcome="not_run")).usage
    assert (used.input_tokens, used.output_tokens, used.cost_usd) == (10, 4, 0.2)
    assert (used.unknown_runs, used.reason) == (0, None)
    assert used.origins == {"live": 2, "cache": 2}


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        (
            run("b", calls=[call(cost=None)]),
            "no price is known for 'gpt'; add it to [tool.pytest-rag.prices]",
        ),
        (
            run("b", calls=[call(), call(tokens=None, cost=None)]),
            "no token count for 'gpt'; if it is free, add \"gpt\" = 0 to [tool.pytest-rag.prices]",
        ),
        (run("b"), "the pipeline tells of no calls"),
        (broke("b"), "the run broke"),
    ],
    ids=["price", "tokens", "opaque", "broken"],
)
def test_unknown_cost_is_not_zero(unknown, reason):
    """A sum with an unknown part is None; what is known of it is told apart."""
    used = one(run("a", input_tokens=1, output_tokens=1, cost_usd=0.25), unknown).usage
    assert (used.cost_usd, used.known_usd, used.unknown_runs) == (None, 0.25, 1)
    assert (used.input_tokens, used.reason) == (None, reason)


# --- what did not pass ------------------------------------------------------------------------


def test_the_same_error_is_told_once():
    """Cases with the same reasons are one trouble; failures come first, then errors."""
    results = [
        broke("a", "no route\nto host", kind="ConnectionError"),
        broke("b", "KEY is not set", outcome="not_run", kind="MissingKeyError"),
        run("c", outcome="failed", checks=[check(reason="R@5 = 0"), check(passed=True)]),
        broke("d", "no route\nto the host", kind="ConnectionError"),
    ]
    told = [(t.outcome, t.reasons, t.cases) for t in one(*results).troubles]
    assert told == [
        ("failed", ("R@5 = 0",), ("c",)),
        ("error", ("ConnectionError: no route",), ("a", "d")),
        ("not_run", ("KEY is not set",), ("b",)),
    ]


def test_reasons_of_repeats():
    """A check that failed in several repeats is told once, with their number."""
    runs = [
        run(repeat=0),
        run(repeat=1, outcome="failed", checks=[check(reason="R@5 = 0.2")]),
        run(repeat=2, outcome="failed", checks=[check(reason="R@5 = 0.4")]),
        broke("a", repeat=3),
    ]
    assert case_reasons(runs) == (
        "R@5 = 0.2 (2 of 4 runs)",
        "TimeoutError: no answer (1 of 4 runs)",
    )


def test_two_checks_of_one_metric():
    """Checks that look for different things are different reasons."""
    checks = [
        check("contains", argument=word, reason=f"contains {word!r}: not so") for word in "ab"
    ]
    assert case_reasons([run(outcome="failed", checks=checks)]) == (
        "contains 'a': not so",
        "contains 'b': not so",
    )
