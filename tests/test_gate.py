"""Limits on a whole evalset: what passes, what does not, and what cannot be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rag import checks, gate
from pytest_rag.gate import GateResult, case_outcome, judge_limits
from pytest_rag.metrics import get
from pytest_rag.records import Result
from pytest_rag.types import Case, GateLimit, Observation, Timing

ERROR = {"type": "TimeoutError", "message": "no answer", "traceback": "TimeoutError: no answer"}


def run(case="a", value=None, *, outcome="passed", metric="nDCG@10", reason=None, **fields):
    """Return a result with one score, where a value or a reason is given."""
    scored = value is not None or reason is not None
    scores = {metric: {"value": value, "reason": reason, "version": "1"}} if scored else {}
    return Result(evalset="e", case=case, query="?", outcome=outcome, scores=scores, **fields)


def broke(case, outcome="error", **fields):
    """Return a result without scores."""
    return run(case, outcome=outcome, error=ERROR, **fields)


def judged(limit, *results, **options):
    """Return value, verdict, reason and number of one limit."""
    (found,) = judge_limits([limit], results, **options)
    assert found.limit is limit
    return found.value, found.passed, found.reason, found.n


def floor(low, aggregate="mean", metric="nDCG@10"):
    """Return a limit from below."""
    return GateLimit(metric=metric, aggregate=aggregate, min=low)


def ceiling(high, aggregate, metric="latency_ms"):
    """Return a limit from above."""
    return GateLimit(metric=metric, aggregate=aggregate, max=high)


# --- values -----------------------------------------------------------------------------------


def test_a_limit_that_is_kept():
    """The mean of the cases is held to the floor; one that just reaches it passes."""
    cases = [run(str(n), 0.8) for n in range(10)]
    assert judged(floor(0.8), *cases) == (0.8, True, None, 10)


def test_a_limit_is_not_missed_by_the_last_digit_of_a_sum():
    """A mean that is the limit but for rounding keeps it."""
    values = [0.02762226701533011] * 3
    assert sum(values) / 3 != values[0]
    exact = GateLimit(metric="nDCG@10", min=values[0], max=values[0])
    assert judged(exact, *(run(str(n), v) for n, v in enumerate(values)))[1] is True


def test_a_limit_that_is_not_kept():
    """The reason tells value and limit, with the digits that tell them apart."""
    assert judged(floor(0.5), run(value=0.25)) == (0.25, False, "0.250, limit ≥ 0.500", 1)
    assert judged(floor(0.5), run(value=0.49999))[2] == "0.49999, limit ≥ 0.500"
    both = GateLimit(metric="nDCG@10", min=0.2, max=0.4)
    assert judged(both, run(value=0.5))[2] == "0.500, limit 0.200 … 0.400"


def test_repeats_are_averaged_within_their_case():
    """A case run three times counts as much as a case run once."""
    results = [run("a", v, repeat=n) for n, v in enumerate((0.0, 0.0, 0.3))] + [run("b", 0.7)]
    assert judged(floor(0.3), *results)[0] == pytest.approx(0.4)
    assert judged(floor(0.3, "min"), *results)[:2] == (pytest.approx(0.1), False)
    assert judged(floor(0.3), *results)[3] == 2


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("p50", 25), ("p95", 38.5), ("p99", 39.7), ("total", 100)]
)
def test_percentiles_and_totals_are_over_all_runs(aggregate, expected):
    """Repeats are not averaged away where the slowest runs are asked for."""
    results = [run("a", latency_ms=ms, repeat=n) for n, ms in enumerate((10.0, 20.0, 30.0, 40.0))]
    value, passed, _, n = judged(ceiling(50, aggregate), *results)
    assert (value, n) == (pytest.approx(expected), 4)
    assert passed is (expected <= 50)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("latency_ms", 20), ("cost_usd", 0.25), ("tokens", 12), ("input_tokens", 10),
        ("output_tokens", 2), ("calls", 1), ("embed_ms", 3), ("llm_ms", 9),
    ],
)  # fmt: skip
def test_budgets_come_from_the_fields_of_a_result(metric, expected):
    """Every budget a check knows has a limit on the whole too."""
    result = run(
        latency_ms=20.0,
        cost_usd=0.25,
        input_tokens=10,
        output_tokens=2,
        stages_ms={"embed": 3.0, "llm": 9.0},
        calls=[{"stage": "llm"}, {"stage": "embed"}],
    )
    assert judged(ceiling(1e6, "mean", metric), result) == (expected, True, None, 1)
    assert gate.BUDGETS.keys() == checks.BUDGETS.keys()


def test_pass_rate_is_the_share_of_cases():
    """A case with repeats passes as its `min_pass` says; without it every repeat must."""
    results = [run("a", repeat=n, outcome="failed" if n == 0 else "passed") for n in range(5)]
    results.append(run("b"))
    limit = floor(0.9, "rate", "passed")
    assert judged(limit, *results) == (0.5, False, "0.500, limit ≥ 0.900", 2)
    assert judged(limit, *results, min_pass={"a": 4}) == (1.0, True, None, 2)


# --- missing data -----------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["error", "not_run"])
@pytest.mark.parametrize("metric", ["nDCG@10", "latency_ms", "passed", "llm_ms", "cost_usd"])
def test_what_broke_is_missing(outcome, metric):
    """A case that broke is no zero in the mean, and no limit passes without it."""
    good = run("a", 1.0, latency_ms=1.0, cost_usd=1.0, stages_ms={"llm": 1.0})
    limit = GateLimit(metric=metric, min=0, max=10)
    found = judged(limit, good, broke("b", outcome, latency_ms=0.1))
    assert found == (1.0, False, "1, but 1 of 2 cases could not be measured", 1)


def test_below_the_limit_and_missing():
    """Both are told where both hold."""
    reason = judged(floor(0.5), run("a", 0.25), broke("b"))[2]
    assert reason == "0.250, limit ≥ 0.500; 1 of 2 cases could not be measured"


def test_everything_broke():
    """Without any value there is none, and nothing passes."""
    lost = "2 of 2 cases could not be measured"
    assert judged(floor(0), broke("a"), broke("b")) == (None, False, lost, 0)


def test_one_repeat_broke():
    """A case with a broken repeat has a value, but the limit does not pass."""
    reason = "0.750, but 1 of 1 cases could not be measured"
    found = judged(floor(0.5), run("a", 0.75), broke("a", repeat=1))
    assert found == (0.75, False, reason, 1)


def test_nothing_ran_or_nothing_has_a_value():
    """An empty run is not green, nor is a metric that applies to no case."""
    assert judged(floor(0)) == (None, False, "no case ran", 0)
    assert judged(floor(0), run("a")) == (None, False, "no case has a value", 0)
    assert judged(ceiling(9, "p95", "rerank_ms"), run("a"))[2] == "no case has a value"


def test_unknown_cost_is_not_free():
    """A run whose cost or tokens are unknown is missing, though it passed."""
    runs = [run("a", cost_usd=0.1), run("b")]
    reason = "0.100, but 1 of 2 cases could not be measured"
    assert judged(ceiling(0.5, "total", "cost_usd"), *runs) == (0.1, False, reason, 1)
    assert judged(ceiling(9, "total", "tokens"), *runs)[1] is False


def test_what_a_broken_run_cost_is_in_the_total():
    """Money that was spent is counted, also where nothing came of it."""
    runs = [run("a", cost_usd=0.1), broke("b", cost_usd=0.3)]
    value, passed, reason, _ = judged(ceiling(0.35, "total", "cost_usd"), *runs)
    assert (value, passed) == (0.4, False)
    assert reason == "0.400, limit ≤ 0.350; 1 of 2 cases could not be measured"
    assert judged(ceiling(0.35, "mean", "cost_usd"), *runs)[0] == 0.1


def test_cases_a_metric_does_not_apply_to_are_left_out():
    """No score at all, or one that says there is nothing to measure, is not missing."""
    runs = [run("a", 0.8), run("b"), run("c", reason="the answer is a refusal")]
    runs.append(run("d", reason="not applicable: no number in the question"))
    assert judged(floor(0.5), *runs) == (0.8, True, None, 1)


def test_a_metric_that_failed_is_missing():
    """A case that passed its checks, but whose metric broke, keeps the limit from passing."""
    runs = [run("a", 0.8), run("b", reason="ZeroDivisionError: division by zero")]
    assert judged(floor(0.5), *runs)[1] is False


def test_a_check_that_could_not_be_measured_leaves_other_scores():
    """An error of one check does not take away what was measured beside it."""
    assert judged(floor(0.5), run("a", 0.8, outcome="error")) == (0.8, True, None, 1)
    assert judged(floor(0.5), run("a", outcome="error"))[1] is False


def test_a_stage_that_a_run_did_not_need_is_not_missing():
    """A run without a reranker's stage is left out of the reranker's limit."""
    runs = [run("a", latency_ms=9.0, stages_ms={"rerank": 4.0}), run("b", latency_ms=3.0)]
    assert judged(ceiling(5, "p95", "rerank_ms"), *runs) == (4.0, True, None, 1)


@pytest.mark.parametrize(
    ("metric", "answer", "reference"),
    [("groundedness", "I don't know.", ""), ("groundedness", "", ""), ("numeric", "Five.", "Yes.")],
)
def test_our_metrics_say_that_they_do_not_apply(metric, answer, reference):
    """The reasons our metrics give where there is nothing to measure are the known ones."""
    case = Case(id="a", query="Why?", answers=(reference,) if reference else ())
    seen = Observation(query="Why?", answer=answer, retrieved=(), timing=Timing(latency_ms=1))
    score = get(metric).score(case, seen)
    assert score.value is None
    assert score.reason in gate.NOT_APPLICABLE


# --- what cannot be judged --------------------------------------------------------------------


def test_a_partial_run_is_not_judged():
    """A limit is on the whole set, so a selection neither passes nor fails it."""
    reason = "2 of 93 cases ran: the limit is on the whole set"
    runs = [run("a", 0.75), run("b", 0.25)]
    assert judged(floor(0.9), *runs, declared=93) == (0.5, None, reason, 2)
    assert judged(floor(0.5), *runs, declared=2)[1] is True


def test_a_drop_needs_a_baseline():
    """A limit on the drop alone is left to the comparison; a floor beside it is judged."""
    drop = GateLimit(metric="nDCG@10", max_drop=0.02)
    assert judged(drop, run(value=0.5)) == (0.5, None, "needs a baseline", 1)
    assert judged(GateLimit(metric="nDCG@10", min=0.4, max_drop=0.02), run(value=0.5))[1] is True


def test_limits_keep_their_order_and_have_names():
    """There is a verdict for every limit, in the order of the file."""
    limits = [floor(0.5), ceiling(9, "p95")]
    found = judge_limits(limits, [run(value=0.7, latency_ms=1.0)])
    assert [each.name for each in found] == ["nDCG@10 mean", "latency_ms p95"]
    assert all(isinstance(each, GateResult) and each.passed for each in found)


# --- cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "min_pass", "expected"),
    [
        ("passed passed", None, "passed"),
        ("passed failed", None, "failed"),
        ("passed failed", 1, "passed"),
        ("passed error", 1, "passed"),
        ("passed error", 2, "error"),
        ("failed error", None, "failed"),
        ("not_run not_run", None, "not_run"),
        ("error not_run", None, "error"),
        ("passed", 3, "passed"),
    ],
)
def test_outcome_of_a_case(outcomes, min_pass, expected):
    """Enough passed repeats pass a case; else the worst of the others is its outcome."""
    runs = [run(outcome=outcome) for outcome in outcomes.split()]
    assert case_outcome(runs, min_pass) == expected


RUNS = st.builds(
    lambda case, outcome, value: (
        broke(case, outcome) if outcome in ("error", "not_run") else run(case, value)
    ),
    st.sampled_from("abcd"),
    st.sampled_from(["passed", "failed", "error", "not_run"]),
    st.floats(0, 1),
)


@given(st.lists(RUNS, max_size=12), st.sampled_from(["mean", "min", "p50", "p95", "rate"]))
def test_missing_data_never_passes(results, aggregate):
    """Even a floor of 0 passes only where every run has a value; values stay in their range."""
    value, passed, reason, _ = judged(floor(0, aggregate), *results)
    assert passed is (bool(results) and all(r.error is None for r in results))
    assert (reason is None) is passed
    assert value is None or 0 <= value <= 1
