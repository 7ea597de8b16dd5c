"""What a person reads at the terminal."""

from __future__ import annotations

import textwrap
import unicodedata
from pathlib import Path

import pytest

from pytest_rag.gate import judge_limits
from pytest_rag.records import Result
from pytest_rag.report.failure import case_failure
from pytest_rag.report.layout import duration, money
from pytest_rag.report.plan import plan_lines
from pytest_rag.report.summary import summarise
from pytest_rag.report.text import lines
from pytest_rag.types import Case, EvalSet, GateLimit
from pytest_rag.verdict import Held


def run(case="a", *, outcome="passed", scores=None, **fields):
    """Return a result of the handbook."""
    told = {name: {"value": value, "reason": None} for name, value in (scores or {}).items()}
    return Result(
        evalset="handbook", case=case, query="?", outcome=outcome, scores=told, **fields
    )  # fmt: skip


def broke(case="a", message="no answer within 60 s", *, outcome="error", **fields):
    """Return a result of a run that broke."""
    shown = f'Traceback (most recent call last):\n  File "app.py", line 3\nTimeoutError: {message}'
    error = {"type": "TimeoutError", "message": message, "traceback": shown}
    return run(case, outcome=outcome, error=error, **fields)


def check(metric, reason, *, argument=None):
    """Return a check that did not pass."""
    return {"metric": metric, "argument": argument, "passed": False, "reason": reason}


CONTAINS = check("contains", "contains 'five': not so", argument="five")


def held(gates, name="handbook"):
    """Return what was decided of an evalset, from its limits alone."""
    return {name: Held(evalset=name, gates=gates)}


def shown(results, gates=(), *, declared=None, **options):
    """Return the block as one text; `limits` of the handbook are judged."""
    verdicts = held(judge_limits(gates, results, declared=declared)) if gates else {}
    summary = summarise(results, verdicts)
    return "".join(f"{line.text.rstrip()}\n" for line in lines(summary, **options))


def styles(results, gates=()):
    """Return the style of every line."""
    verdicts = held(judge_limits(gates, results)) if gates else {}
    return [line.style for line in lines(summarise(results, verdicts))]


def block(text):
    """Return a golden text as it stands in the source, without its indentation."""
    return textwrap.dedent(text)


def told(results, case, **options):
    """Return the text of one case as one text."""
    return "".join(f"{line.rstrip()}\n" for line in case_failure(results, case, **options))


# --- the block at the end of a run ------------------------------------------------------------


def handbook():
    """Return a run of eight cases, two of which failed."""
    return [
        run(
            f"case-{n}",
            outcome="failed" if n in (2, 5) else "passed",
            scores={"token_f1": 0.5, "nDCG@10": n / 8},
            checks=[CONTAINS] if n in (2, 5) else [],
            latency_ms=10.0 + n,
            stages_ms={"retrieve": 2.5, "synthesize": 6.0 + n},
            self_ms={"retrieve": 2.5, "synthesize": 6.0 + n},
            cpu_ms={"retrieve": 2.5},
            input_tokens=200,
            output_tokens=10,
            cost_usd=0.00015,
            calls=[{"stage": "llm", "model": "gpt", "origin": "cache" if n else "live"}],
        )
        for n in range(1, 9)
    ]


def test_a_run_with_failures():
    """The block tells counts, scores, time, money, limits, failures and what to type."""
    limits = [
        GateLimit(metric="nDCG@10", min=0.5),
        GateLimit(metric="latency_ms", aggregate="p95", max=15),
        GateLimit(metric="R@5", max_drop=0.1),
    ]
    assert shown(handbook(), limits, record="run.jsonl") == block("""\
        handbook · 8 cases: 6 passed, 2 failed
                          mean   95% interval    cases
          nDCG@10        0.562   [0.359, 0.750]      8
          token_f1       0.500   [0.500, 0.500]      8
          latency       p50 14 ms, p95 18 ms · retrieve 2.5 / 2.5 ms ·
                        synthesize 10 / 14 ms
          cost          $0.0012 · tokens 1,600 in, 80 out · calls: 8 cache
          gate          passed: nDCG@10 mean 0.562, limit ≥ 0.500
                        FAILED: latency_ms p95 17.650, limit ≤ 15
                        not judged: R@5 mean: needs a baseline
          failed        case-2, case-5: contains 'five': not so
        to run them again: pytest --lf
        record: run.jsonl
        """)


def test_a_good_run_is_short():
    """Where all is well nothing is said of failures, and nothing has to be typed."""
    assert shown([run(scores={"R@5": 1.0})]) == block("""\
        handbook · 1 case: 1 passed
                          mean   95% interval    cases
          R@5            1.000                       1
        """)
    assert styles([run(scores={"R@5": 1.0})]) == ["good", "dim", ""]


def test_verbose_tells_more():
    """More is told where it is asked for: metrics without a value, own time, every case."""
    results = handbook()
    results.append(run("case-9", latency_ms=12.0))
    results[-1].scores["R@5"] = {"value": None, "reason": "nodes carry no section"}
    text = shown(results, verbose=True)
    assert "  R@5             none   nodes carry no section\n" in text
    assert "  own time      retrieve 16% (100% of it CPU) · synthesize 66% (0% of it CPU)\n" in text
    assert "none" not in shown(results)


def test_errors_and_what_was_not_run():
    """The same error of many cases is told once, and unknown money is never zero."""
    results = [broke(f"slow-{n}") for n in range(5)]
    results += [broke(f"key-{n}", "OPENAI_API_KEY is not set", outcome="not_run") for n in (1, 2)]
    results.append(run("fine", cost_usd=0.25, latency_ms=12_345.0))
    assert shown(results, again="pytest-rag run handbook") == block("""\
        handbook · 8 cases: 1 passed, 5 errors, 2 not run
          latency       p50 12.3 s, p95 12.3 s
          cost          $0.25 and unknown for 5 runs: the run broke · tokens unknown
          error         5 cases (slow-0, slow-1, slow-2, …): TimeoutError: no answer
                        within 60 s
          not run       key-1, key-2: OPENAI_API_KEY is not set
        to run them again: pytest-rag run handbook
        """)


def test_many_failures_are_cut_short():
    """Ten failures are told, the rest counted; all of them where more is asked for."""
    results = [
        run(f"case-{n}", outcome="failed", checks=[check("R@5", f"R@5 = 0.{n}, limit ≥ 0.8")])
        for n in range(10, 23)
    ]
    text = shown(results)
    assert "case-19: R@5 = 0.19" in text
    assert "case-20" not in text
    assert text.count("  failed  ") == 1
    assert text.endswith("                and 3 more cases\nto run them again: pytest --lf\n")
    assert "case-22: R@5 = 0.22" in shown(results, verbose=True)


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ([], "no case ran"),
        ([broke("a")], "1 error"),
        ([broke("a", outcome="not_run"), broke("b", outcome="not_run")], "2 not run"),
    ],
)
def test_nothing_was_measured(results, why):
    """An empty run says so, in a line that cannot be overlooked."""
    found = [line for line in lines(summarise(results, {})) if "measured" in line.text]
    assert found == [(f"nothing was measured: {why}", "bad")]


def test_an_evalset_of_which_nothing_ran():
    """Limits without results are shown as what they are."""
    text = "".join(line.text for line in lines(summarise([], held(()))))
    assert text == "handbook · 0 cases: none rannothing was measured: no case ran"


def test_a_partial_run_tells_its_reason_once():
    """Limits that cannot be judged for one reason stand in one line."""
    limits = [GateLimit(metric=name, min=0.5) for name in ("nDCG@10", "R@5")]
    assert shown([run(scores={"R@5": 1.0})], limits, declared=93, width=100).splitlines()[-1] == (
        "  gate          not judged: nDCG@10 mean, R@5 mean: 1 of 93 cases ran: "
        "the limit is on the whole set"
    )


def test_styles_follow_the_outcome():
    """Green needs every case and limit, red a failure; a case that was not run takes the green."""
    limit = [GateLimit(metric="passed", aggregate="rate", min=1)]
    assert styles([run()], limit) == ["good", "good"]
    assert styles([run("a"), broke("b", outcome="not_run")]) == ["", "dim"]
    assert styles([run("a"), broke("b")]) == ["bad", "bad", "bold"]
    missed = [GateLimit(metric="calls", aggregate="total", min=1)]
    assert styles([run(scores={"R@5": 1.0})], missed) == ["bad", "dim", "", "bad"]


@pytest.mark.parametrize("width", [20, 60, 80, 100])
def test_lines_fit_the_terminal(width):
    """Lines are as wide as the terminal, or as 56 columns where that is narrower."""
    results = [*handbook(), *(broke(f"slow-{n}", "words " * 30) for n in range(4))]
    limits = [GateLimit(metric="nDCG@10", min=0.5)]
    assert max(map(len, shown(results, limits, width=width).splitlines())) <= max(width, 56)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"), (0.000012, "$0.000012"), (0.00123, "$0.0012"), (0.0456, "$0.046"),
        (0.5, "$0.50"), (12.345, "$12.35"), (1234.5, "$1,234.50"),
    ],
)  # fmt: skip
def test_money_has_the_digits_that_matter(usd, text):
    """Cents, or two digits that are not zero where it is less."""
    assert money(usd) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (0.042, "0.042 ms"), (3.14, "3.1 ms"), (12.3, "12 ms"), (2310, "2,310 ms"),
     (12_345, "12.3 s")],
)  # fmt: skip
def test_durations_have_their_unit(ms, text):
    """Milliseconds up to ten thousand, then seconds."""
    assert duration(ms) == text


# --- one case that did not pass ---------------------------------------------------------------

CASE = Case(
    id="carry-over",
    query="How many unused vacation days carry over into the next leave year?",
    answers=("Up to five days.",),
    relevant={"faq.md#carry-over": 1, "people/leave.md": 2, "rules/*": 1},
    forbidden=("drafts/*",),
    path=Path("evalsets/handbook.rag.yaml"),
    line=41,
)


def node(document, rank, score=None):
    """Return a retrieved node as a record holds it."""
    return {"id": document, "rank": rank, "score": score, "node": f"node-{rank}"}


def test_a_case_that_failed():
    """Question, reasons, both answers, gold with its ranks, and what came instead."""
    documents = ["people/parental-leave.md", "drafts/leave.md", "people/parental-leave.md",
                 "people/leave.md", "faq.md"]  # fmt: skip
    result = run(
        "carry-over",
        outcome="failed",
        answer="Employees may take\n24 days of leave.",
        checks=[CONTAINS, check("forbidden", "forbidden = 1, limit ≤ 0")],
        retrieved=[node(d, rank, 14.5 - rank) for rank, d in enumerate(documents, 1)],
    )
    assert told([result], CASE) == block("""\
        carry-over: contains 'five': not so (and 1 more)
          evalsets/handbook.rag.yaml:41
          How many unused vacation days carry over into the next leave year?
          contains 'five': not so
          forbidden = 1, limit ≤ 0
          answer        Employees may take 24 days of leave.
          reference     Up to five days.
          gold          people/leave.md (2)  rank 3
                        faq.md#carry-over (1)  the document at rank 4
                        rules/* (1)  not retrieved
          retrieved     1 people/parental-leave.md  13.5
                        2 drafts/leave.md  12.5  forbidden
                        3 people/leave.md  10.5  gold 2
                        4 faq.md  9.5  a part of it is gold
        """)


def test_ranks_are_those_of_the_measures():
    """Documents are ordered by score, ties by descending id; without scores as they came."""
    case = Case(id="a", query="Why?", relevant={"a": 1})
    tied = [node("a", 1, 0.5), node("b", 2, 0.5), node("c", 3, 0.7)]
    text = told([run(outcome="failed", retrieved=tied)], case)
    assert "a (1)  rank 3\n" in text
    assert "retrieved     1 c  0.7\n" in text
    half = [node("b", 1), node("a", 2, 0.9), node("b", 3, 0.8)]
    text = told([run(outcome="failed", retrieved=half)], case)
    assert "retrieved     1 b\n                2 a  0.9  gold 1\n" in text


def test_nothing_retrieved():
    """An empty ranking is told apart from one that is not known."""
    case = Case(id="a", query="Why?", relevant={"a": 1})
    assert "retrieved     nothing\n" in told([run(outcome="failed", retrieved=[])], case)
    assert "retrieved" not in told([run(outcome="failed")], case)


def test_many_gold_documents_are_cut_short():
    """A case with hundreds of judgements shows the best graded and counts the rest."""
    case = Case(id="a", query="Why?", relevant={**dict.fromkeys(map(str, range(99)), 1), "x": 3})
    text = told([run(outcome="failed", retrieved=[node("x", 1)])], case)
    assert "gold          x (3)  rank 1\n" in text
    assert "and 92 more\n" in text


def test_several_references_and_refusals():
    """All acceptable answers are shown, or that a refusal is the right one."""
    case = Case(id="a", query="Why?", answers=("Five.", "Up to five."))
    text = told([run(outcome="failed", answer="")], case)
    assert "answer        (empty)\n  reference     Five.\n  or            Up to five.\n" in text
    unanswerable = Case(id="a", query="Why?", answerable=False)
    assert "reference     a refusal: " in told([run(outcome="failed")], unanswerable)


def test_a_broken_time_budget():
    """Where the time went is told where a time was too long, and only there."""
    times = {"latency_ms": 2310.0, "stages_ms": {"retrieve": 30.0, "llm": 2250.0}}
    late = run(outcome="failed", checks=[check("latency_ms", "latency_ms = 2310")], **times)
    case = Case(id="a", query="Why?")
    assert "  time          latency 2,310 ms · retrieve 30 ms · llm 2,250 ms\n" in told(
        [late], case
    )
    assert "latency" not in told([run(outcome="failed", checks=[CONTAINS], **times)], case)


def test_a_broken_cost_budget():
    """The calls are told where they cost or said too much."""
    call = {"model": "gpt", "input_tokens": 900, "output_tokens": 50}
    blind = {"model": "own", "input_tokens": None, "output_tokens": None}
    checks = [check("cost_usd", "cost_usd = 0.5, limit ≤ 0.1")]
    dear = run(outcome="failed", checks=checks, calls=[call, call, blind])
    shown_calls = "  calls         2 times gpt 900 in, 50 out · own without a token count\n"
    case = Case(id="a", query="Why?")
    assert shown_calls in told([dear], case)
    assert "  calls         none was seen\n" in told([run(outcome="failed", checks=checks)], case)


def test_an_error():
    """The user's traceback is shown once; the next case refers to it."""
    assert told([broke()], CASE) == block("""\
        carry-over: TimeoutError: no answer within 60 s
          evalsets/handbook.rag.yaml:41
          How many unused vacation days carry over into the next leave year?
            Traceback (most recent call last):
              File "app.py", line 3
            TimeoutError: no answer within 60 s
        """)
    assert told([broke()], CASE, told=True) == block("""\
        carry-over: TimeoutError: no answer within 60 s
          evalsets/handbook.rag.yaml:41
          How many unused vacation days carry over into the next leave year?
          the traceback is shown at the first case with this error
        """)


def test_repeats():
    """How many runs passed is told, and one that did not is shown."""
    case = Case(id="a", query="Why?", repeat=3, min_pass=2)
    runs = [run(), broke(repeat=1), run(repeat=2, outcome="failed", answer="Ten.")]
    runs[2].checks.append(CONTAINS)
    assert told(runs, case) == block("""\
        a: TimeoutError: no answer within 60 s (1 of 3 runs) (and 1 more)
          Why?
          1 of 3 runs passed, 2 must; shown is repeat 2
          TimeoutError: no answer within 60 s (1 of 3 runs)
          contains 'five': not so (1 of 3 runs)
          answer        Ten.
        """)


def test_a_check_that_could_not_be_measured():
    """An error of a check alone is told by its reason, with all else that is known."""
    result = run(outcome="error", answer="Five.", checks=[check("R@5", "no sections")])
    case = Case(id="a", query="Why?")
    assert told([result], case) == "a: no sections\n  Why?\n  answer        Five.\n"


# --- what others wrote ------------------------------------------------------------------------

HOSTILE = "red\x1b[31m\x00\x07\x9b2J\x7f\r\nPASSED\u2028\u202egnp\u2066\u200f\ud800\u200b\ufeff end"


def hostile():
    """Return a failed and a broken run, all texts of which would steer a terminal."""
    failed = run(
        HOSTILE,
        outcome="failed",
        answer=HOSTILE,
        checks=[check("contains", HOSTILE), check("cost_usd", HOSTILE)],
        calls=[{"model": HOSTILE, "origin": HOSTILE}],
        retrieved=[node(HOSTILE, 1)],
        notes=[HOSTILE],
        scores={HOSTILE: 1.0},
    )
    return failed, broke(f"b{HOSTILE}", HOSTILE)


def test_nothing_steers_the_terminal():
    """Controls, line ends and marks of direction are written out in every report."""
    results = hostile()
    case = Case(id=HOSTILE, query=HOSTILE, answers=(HOSTILE,), relevant={HOSTILE: 1})
    evalset = EvalSet(name=HOSTILE, path=Path("a"), cases=(case,))
    found = [line for result in results for line in case_failure([result], case)]
    for verbose in (False, True):
        summary = summarise(results, held(judge_limits([], results), HOSTILE))
        found += [line.text for line in lines(summary, verbose=verbose, record=HOSTILE)]
    found += plan_lines([evalset], None, option=HOSTILE)
    marks = {unicodedata.category(mark) for line in found for mark in line}
    assert not marks & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert "\\x1b[31m\\x00\\x07\\x9b2J\\x7f" in found[0]
    assert "1 red\\x1b[31m\\x00\\x07\\x9b2J\\x7f\\r\\nPASSED\\u2028\\u202egnp" in "".join(found)


def test_a_long_traceback_is_cut_short():
    """Its beginning and its end are shown, sixty lines or 4,000 characters at most."""
    error = {"type": "E", "message": "m", "traceback": "\n".join(f"line {n}" for n in range(5000))}
    text = told([run(outcome="error", error=error)], Case(id="a", query="q"))
    assert len(text.splitlines()) == 2 + 20 + 1 + 40
    assert "    line 19\n    … 4,940 lines left out …\n    line 4960\n" in text
    assert text.endswith("    line 4999\n")


@pytest.mark.parametrize("text", ["word " * 10**6, "x" * 10**7, "line\n" * 10**6, " " * 10**6])
def test_huge_texts_are_cut_short(text):
    """An answer, a message or a document's id of megabytes does not flood the terminal."""
    error = {"type": "E", "message": text, "traceback": f"Traceback\n{text}\nE: {text}"}
    case = Case(id="a", query=text, answers=(text,))
    checks = [check("contains", text), check("R@5", text)]
    results = [
        run("a", outcome="failed", answer=text, checks=checks, notes=[text]),
        run("d", outcome="failed", retrieved=[node(text, 1)]),
        run("b", outcome="error", error=error),
        broke("c", text, outcome="not_run"),
    ]
    for result in results:
        assert len(told([result], case)) < 8_000
    assert len(shown(results, verbose=True)) < 8_000
