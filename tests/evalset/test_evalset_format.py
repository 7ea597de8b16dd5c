"""What a person writes in *.rag.yaml, and what becomes of it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pytest_rag.errors import EvalSetError, UsageError
from pytest_rag.evalset import load, select
from pytest_rag.types import Case, GateLimit, Limit, PipelineSpec

PATH = Path("handbook.rag.yaml")
CASE = "cases:\n  - id: a\n    query: Why?\n"
QRELS = "'relevant' must be a list of document ids, or a mapping from ids to grades"
MARKS = "It needs letters, digits and '_', and a letter in front."


def read(text):
    """Load dedented YAML."""
    return load(PATH, text=textwrap.dedent(text).encode())


def case(keys=""):
    """Load one case with these further keys."""
    body = textwrap.indent(textwrap.dedent(keys), "    ")
    return read(CASE + body).cases[0]


def said(text):
    """Return place and message of every problem."""
    with pytest.raises(EvalSetError) as caught:
        read(text)
    return [(p.line, p.column, p.message) for p in caught.value.problems]


def said_of_case(keys):
    """Return the problems of one case with these further keys."""
    return said(CASE + textwrap.indent(textwrap.dedent(keys), "    "))


# --- what loads -------------------------------------------------------------------------------


def test_every_key_of_a_case():
    """A case with every key becomes a Case with every field."""
    found = read("""\
        defaults: {timeout_s: 5}
        cases:
          - id: carry-over
            query: How many days carry over?
            answer: [Five., Up to five.]
            relevant: {leave.md: 2, faq.md#carry-over: 1}
            forbidden: [drafts/*]
            tags: [hr, smoke]
            filters: {department: hr, year: [2024, 2025]}
            checks: {R@5: {min: 0.5, max: 1}}
            repeat: 5
            min_pass: 4
        """).cases
    assert found == (
        Case(
            id="carry-over",
            query="How many days carry over?",
            answers=("Five.", "Up to five."),
            relevant={"leave.md": 2, "faq.md#carry-over": 1},
            forbidden=("drafts/*",),
            tags=("hr", "smoke"),
            filters={"department": "hr", "year": [2024, 2025]},
            checks=(Limit(metric="R@5", min=0.5, max=1.0),),
            repeat=5,
            min_pass=4,
            timeout_s=5,
            path=PATH,
            line=3,
        ),
    )


def test_a_small_file():
    """A file with one case takes its name from the file and has no pipeline and no gate."""
    found = read(CASE)
    assert (found.name, found.pipeline, found.gate, found.alpha) == ("handbook", None, (), 0.05)
    assert found.cases == (Case(id="a", query="Why?", path=PATH, line=2),)


def test_text_is_read_as_typed():
    """Ids and answers that YAML would read as numbers keep the text that was typed."""
    found = case("relevant: {184: 3, 2.10: 1, 2024-01-01: 0}\nanswer: [0.50, true]\n")
    assert found.relevant == {"184": 3, "2.10": 1, "2024-01-01": 0}
    assert found.answers == ("0.50", "true")
    assert read("cases: [{id: 007, query: 42}]").cases[0].id == "007"


def test_relevant_as_a_list():
    """A list of documents grades each of them 1."""
    assert case("relevant: [a.md, 7]").relevant == {"a.md": 1, "7": 1}


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("my_app.rag:build", PipelineSpec(factory="my_app.rag:build", line=1)),
        (
            "{factory: 'a:b', params: {top_k: 5}}",
            PipelineSpec(factory="a:b", params={"top_k": 5}, line=1),
        ),
        (
            "{local: {corpus: docs, top_k: 3}}",
            PipelineSpec(params={"corpus": "docs", "top_k": 3}, line=1),
        ),
    ],
)
def test_pipeline(written, spec):
    """A pipeline is an import path, a factory with parameters, or the local one."""
    assert read(f"pipeline: {written}\n{CASE}").pipeline == spec


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{local: {corpus: docs, topk: 3}}", "has no parameter 'topk'. Did you mean 'top_k'?"),
        ("{local: {corpus: docs, top_k: 0}}", "top_k"),
        ("{local: {top_k: 3}}", "needs a corpus"),
        ("{local: }", "needs a corpus"),
    ],
)
def test_a_wrong_setting_of_the_local_pipeline(written, message):
    """Parameters of the pipeline that comes with us are checked with the file."""
    with pytest.raises(EvalSetError) as caught:
        read(f"pipeline: {written}\n{CASE}")
    (problem,) = caught.value.problems
    assert message in problem.message
    assert (problem.line, problem.column) == (1, 12)


def test_defaults_under_a_case():
    """Defaults give way to a case by metric; tags and filters add up."""
    found = read("""\
        defaults:
          checks: {R@5: 0.8, latency_ms: 2000, cost_usd: 0.01}
          repeat: 3
          min_pass: 2
          tags: [nightly]
          filters: {lang: en, year: 1}
        cases:
          - {id: a, query: q, relevant: [x]}
          - id: b
            query: q
            tags: [hr]
            filters: {year: 2}
            checks: {latency_ms: 10, cost_usd: null}
            repeat: 1
        """).cases
    assert [limit.metric for limit in found[0].checks] == ["R@5", "latency_ms", "cost_usd"]
    assert (found[0].repeat, found[0].min_pass, found[0].tags) == (3, 2, ("nightly",))
    assert found[1].checks == (Limit(metric="latency_ms", max=10.0),)
    assert (found[1].repeat, found[1].min_pass, found[1].tags) == (1, 1, ("nightly", "hr"))
    assert found[1].filters == {"lang": "en", "year": 2}


def test_min_pass_defaults_to_repeat():
    """Without min_pass every repeat must pass."""
    assert case("repeat: 4").min_pass == 4


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("R@5: 0.8", Limit(metric="R@5", min=0.8)),
        ("latency_ms: 2000", Limit(metric="latency_ms", max=2000.0)),
        ("retrieve_ms: {min: 1}", Limit(metric="retrieve_ms", min=1.0)),
        ("contains: five", Limit(metric="contains", min=1.0, argument="five")),
        ("contains: [a, b]", Limit(metric="contains", min=1.0, argument=["a", "b"])),
        ("contains: {value: x, min: 0.5}", Limit(metric="contains", min=0.5, argument="x")),
        ("numeric: 42", Limit(metric="numeric", min=1.0, argument=42)),
        (
            "numeric: {value: 5, unit: day, max: 1}",
            Limit(metric="numeric", max=1.0, argument={"value": 5, "unit": "day"}),
        ),
    ],
)
def test_a_check(written, limit):
    """A bare number is a floor for quality, a ceiling for a budget, else what to compare with."""
    assert case(f"relevant: [x]\nchecks: {{{written}}}").checks == (limit,)


def test_refusal_is_implied():
    """An unanswerable case must be refused, and defaults that need gold do not apply to it."""
    text = "defaults: {checks: {R@5: 1, calls: 3}}\ncases: [{id: a, query: q, answerable: false}]"
    budget, refusal = read(text).cases[0].checks
    assert (budget, refusal) == (
        Limit(metric="calls", max=3.0),
        Limit(metric="refusal", min=1.0),
    )


def test_refusal_as_written():
    """A refusal check of one's own takes the place of the implied one."""
    assert case("answerable: false\nchecks: {refusal: 0.5}").checks == (
        Limit(metric="refusal", min=0.5),
    )


def test_gate():
    """A gate names metric and aggregate; a bare number is a floor or a ceiling."""
    found = read(f"""\
        gate:
          nDCG@10: {{min: 0.55, max_drop: 0.02}}
          latency_ms.p95: 2000
          R@5.min: 0.1
          passed.rate: 0.9
          alpha: 0.01
        {CASE.replace(chr(10), chr(10) + " " * 8)}""")
    assert found.alpha == 0.01
    assert found.gate == (
        GateLimit(metric="nDCG@10", min=0.55, max_drop=0.02),
        GateLimit(metric="latency_ms", aggregate="p95", max=2000.0),
        GateLimit(metric="R@5", aggregate="min", min=0.1),
        GateLimit(metric="passed", aggregate="rate", min=0.9),
    )


def test_anchors():
    """An anchor may be used again."""
    text = "cases:\n- {id: a, query: q, tags: &t [x, y]}\n- {id: b, query: q, tags: *t}\n"
    assert [each.tags for each in read(text).cases] == [("x", "y"), ("x", "y")]


def test_select():
    """Cases are selected by id and by tag; an unknown one is told with the nearest."""
    found = read("cases: [{id: a1, query: q, tags: [hr]}, {id: b, query: q, tags: [it, hr]}]")
    assert [each.id for each in select(found, tags=["it"]).cases] == ["b"]
    assert [each.id for each in select(found, ids=["a1"], tags=["hr"]).cases] == ["a1"]
    assert select(found) == found
    with pytest.raises(UsageError, match=r"has id 'a12'\. Did you mean 'a1'"):
        select(found, ids=["a12"])


# --- what does not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "line", "column", "message"),
    [
        ("relevnt: [a]", 4, 5, "Unknown key 'relevnt' in a case. Did you mean 'relevant'?"),
        ("answerable: no", 4, 17, "'answerable' must be true or false, not 'no'. Write false."),
        ("tags: smoke", 4, 11, "'tags' must be a list, not 'smoke'. Write [smoke]."),
        ("repeat: 0", 4, 13, "'repeat' must be 1 or more, not 0."),
        ("repeat: 1001", 4, 13, "'repeat' must be 1000 or less, not 1001."),
        ("repeat: 2.5", 4, 13, "'repeat' must be a whole number, not 2.5."),
        ("repeat: true", 4, 13, "'repeat' must be a whole number, not True."),
        ("timeout_s: 0", 4, 16, "'timeout_s' must be greater than 0, not 0."),
        ("relevant: {a: -1}", 4, 19, "'relevant.a' must be 0 or more, not -1."),
        ("relevant: [a, a]", 4, 15, "Document 'a' is listed twice. Remove one."),
        ("answer:", 4, 12, "'answer' has no value. Write one, or take the key away."),
        ("answer: ' '", 4, 13, "'answer' is blank. Write a text."),
        (
            "relevant: leave.md",
            4,
            15,
            f"{QRELS}, not 'leave.md'. Write [leave.md].",
        ),
        (
            "min_pass: 2",
            4,
            15,
            "'min_pass' is 2, but a case is run 1 times at most. Lower it, or raise 'repeat'.",
        ),
        (
            "tags: [ok, hr-smoke]",
            4,
            16,
            f"Tag 'hr-smoke' cannot be a pytest mark. {MARKS} Write hr_smoke.",
        ),
        (
            "filters: {a: {b: c}}",
            4,
            18,
            "'filters.a' must be a text, a number or true/false, not {'b': 'c'}.",
        ),
        (
            "checks: {latency: 3}",
            4,
            14,
            "Unknown metric 'latency'. Did you mean 'latency_ms'?",
        ),
        ("checks: {cost_usd: -1}", 4, 14, "Budget 'cost_usd' cannot be negative."),
        (
            "checks: {tokens: {mim: 1}}",
            4,
            14,
            "Unknown key 'mim' in check 'tokens'. Did you mean 'min'?",
        ),
        (
            "checks: {tokens: {min: 2, max: 1}}",
            4,
            14,
            "No value of 'tokens' is at least 2 and at most 1.",
        ),
        (
            "checks: {contains: {mn: 1}}",
            4,
            14,
            "Unknown key 'mn' in check 'contains'. Did you mean 'min'?",
        ),
        ("checks: {token_f2: 1}", 4, 14, "Unknown metric 'token_f2'. Did you mean 'token_f1'?"),
        ("checks: {contains: []}", 4, 14, "Check 'contains': the list is empty."),
        (
            "checks: {calls: two}",
            4,
            14,
            "Check 'calls' takes a number, or {min: …, max: …}, not 'two'.",
        ),
        (
            "answerable: false\nanswer: x",
            5,
            5,
            "'answer' cannot be given: a refusal is the right answer where 'answerable' is false.",
        ),
    ],
)
def test_a_case_that_is_wrong(keys, line, column, message):
    """A wrong key or value is told in one sentence, with its place."""
    assert said_of_case(keys) == [(line, column, message)]


def test_a_check_the_case_cannot_have():
    """A check written in a case that lacks what it needs is an error at the check."""
    [(line, column, message)] = said_of_case("checks: {R@5: 1}")
    assert (line, column) == (4, 14)
    assert message.startswith("Check 'R@5' cannot be computed for case 'a': ")


def test_missing_keys_and_blank_ids():
    """Cases without id or query, and ids pytest could not show, are told at the case."""
    text = "cases:\n  - id: x\n  - query: q\n  - {id: 'a::b', query: q}\n  - 5\n"
    assert [(line, column) for line, column, _ in said(text)] == [(2, 5), (3, 5), (4, 10), (5, 5)]
    assert said(text)[0][2] == "A case has no 'query'; it needs one."


def test_an_id_twice():
    """The second case of an id is told where the first one stands."""
    text = "cases:\n  - {id: a, query: q}\n  - {id: a, query: q}\n"
    assert said(text) == [(3, 10, "Id 'a' is taken by the case in line 2.")]
    again = "Id 'a' is taken by the case in line 1."
    assert said("cases: [{id: a, query: q}, {id: a, query: q}]") == [(1, 33, again)]
    assert said("cases: [&x {id: a, query: q}, *x]") == [(1, 17, again)]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("gate: {latency_ms.p96: 3}", "Unknown aggregate 'p96' of 'latency_ms'. Did you mean"),
        ("gate: {R@5.avg: 3}", "Unknown aggregate 'avg' of 'R@5'. Choose from: mean"),
        ("gate: {recall@5: 3}", "Unknown metric 'recall@5'. Did you mean 'R@5'?"),
        ("gate: {token: 3}", "Unknown metric 'token'. Did you mean 'tokens'?"),
        ("gate: {pass_rate: 0.9}", "Unknown gate 'pass_rate'. Did you mean 'passed.rate'?"),
        ("gate: {alpha: 0.5}", "'alpha' must lie between 0 and 0.5, not 0.5. Write 0.05."),
        ("gate: {calls: {max_drop: 1}}", "'calls' takes no 'max_drop': "),
        ("gate: {R@5: {max_drop: -1}}", "'max_drop' of 'R@5' cannot be negative."),
        ("gate: {R@5: {mn: 1}}", "Unknown key 'mn' in gate 'R@5'. Did you mean 'min'?"),
        ("gate: {R@5: x}", "Gate 'R@5' takes a number, or {min: …"),
        ("gate:", "'gate' has no value."),
        ("pipeline: my_app", "'pipeline' cannot be 'my_app'. Write it as package.module:name."),
        ("pipeline: {factory: 'a:b', parms: {}}", "Unknown key 'parms' in 'pipeline'. Did you"),
        (
            "pipeline: 3",
            "'pipeline' must be package.module:name, {factory: …} or {local: …}, not 3.",
        ),
        ("evalset: a/b", "'evalset' cannot be 'a/b'. It names files"),
        ("casses: []", "Unknown key 'casses' in the file. Did you mean 'cases'?"),
        ("defaults: {repeat: 2, min_pass: 3}", "'defaults.min_pass' is 3, but"),
        ("defaults: {checks: {calls: }}", "Check 'calls' has no value. Only a case can"),
        ("defaults: {cheks: {}}", "Unknown key 'cheks' in 'defaults'. Did you mean 'checks'?"),
        ("cases_from: {dataset: no.parquet}", "There is no file or folder 'no.parquet', and no"),
        ("cases_from: {path: q.xlsx}", "'.xlsx' is not supported. Files are .jsonl, .ndjson"),
        ("cases_from: {path: a.csv, dataset: b}", "'path' and 'dataset' cannot stand together."),
        ("cases_from: {limit: 3}", "'cases_from' names no source. Write {path: FILE} or"),
        ("cases_from: {path: a.csv, split: x}", "'split' goes with 'dataset', not with 'path'."),
        ("cases_from: {pth: a.csv}", "Unknown key 'pth' in 'cases_from'. Did you mean 'path'?"),
        ("cases_from: {path: none.jsonl}", "Cannot read 'none.jsonl': No such file"),
        ("cases_from: {map: {qury: x}, path: q.csv}", "Unknown key 'qury' in 'map'. Did you"),
    ],
)
def test_a_file_that_is_wrong(written, message):
    """What is wrong outside the cases is told at its place too."""
    (line, column, text), *_ = said(f"{CASE}{written}")
    assert text.startswith(message)
    assert line == 4
    assert column is not None


@pytest.mark.parametrize("text", ["cases: []", "evalset: x", "gate: {calls: 3}"])
def test_no_case(text):
    """A file without a case is an error."""
    assert said(text) == [(1, 1, "The file holds no case. Write at least one under 'cases'.")]


def test_all_problems_at_once():
    """Problems of all parts come together, sorted; the text shows a hundred of them."""
    cases = "".join(f"  - {{id: c{n}, query: q, wrong: 1}}\n" for n in range(110))
    with pytest.raises(EvalSetError) as caught:
        read(f"cases:\n{cases}gate: {{R@5: x}}\n")
    assert len(caught.value.problems) == 111
    assert [p.line for p in caught.value.problems] == list(range(2, 113))
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "… and 11 more"
    assert lines[0].startswith("handbook.rag.yaml:2:24: Unknown key 'wrong' in a case.")
