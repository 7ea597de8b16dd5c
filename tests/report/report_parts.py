"""Results and comparisons as records hold them, and texts that mean harm."""

from __future__ import annotations

from pytest_rag.changes import CaseChange, GoldChange
from pytest_rag.compare import Comparison, MetricVerdict
from pytest_rag.gate import judge_limits
from pytest_rag.records import Result
from pytest_rag.types import GateLimit
from pytest_rag.verdict import Held

POISON = {
    "script": "<script>window.pwned = 1</script>",
    "onerror": "<img src=x onerror='window.pwned=1'>",
    "link": "[click](javascript:window.pwned=1) <javascript:alert(1)> https://evil.example/x",
    "image": "![x](https://evil.example/pixel.png)",
    "mention": "@octocat and #1 and GH-1, see octo/repo#5",
    "fold": "</details></td></tr></table><h1>gone</h1><!-- ",
    "fence": "` `` ``` </code> ~~~ `|` | a | b |",
    "ansi": "\x1b[31mred\x1b[0m\x1b]0;title\x07\x08\x08",
    "bidi": "safe \u202egnp.exe\u202c \u2066x\u2069",
    "formula": "=HYPERLINK(\"http://evil.example\",\"x\")",
    "plus": "+1+cmd|' /C calc'!A0",
    "template": "{{ 7*7 }} {% raw %} ${7*7}",
    "endscript": "</script><script>window.pwned=1</script>",
    "surrogate": "half \ud800 a character",
    "nul": "a\x00b",
    "entity": "&lt;img src=x onerror=&quot;window.pwned=1&quot;&gt; &#60;script&#62; &amp;amp;",
    "hidden": "pass\u200bword \ufeff \u2060 soft\xadhyphen \U000e0041\U000e0042",
    "autolink": "www.evil.example <https://evil.example> <a@evil.example> a@evil.example",
    "pipe": "\\| \\\\| <b>x</b> | @octocat | `\\|` **bold** ~~gone~~ [^1] - [x] :smile: $x$",
    "tab": "\t=1+1",
    "carriage": "\r=1+1",
    "wide": "\uff1d1+1",
}  # fmt: skip
LONG = "long " * 2_000_000


def result(case="a", evalset="handbook", *, outcome="passed", **fields):
    """Return a result with scores, times and a call."""
    told = {
        "query": f"What is {case}?",
        "answer": "Five.",
        "scores": {"nDCG@10": {"value": 0.5, "reason": None}},
        "retrieved": [{"id": "a.md", "rank": 1, "score": 0.9, "node": "n1"}],
        "gold": {"a.md": {"grade": 2, "rank": 1, "indexed": True, "lost": None}},
        "stages_ms": {"retrieve": 10.0, "synthesize": 20.0},
        "self_ms": {"retrieve": 10.0, "synthesize": 20.0},
        "latency_ms": 31.0,
        "calls": [
            {
                "stage": "llm", "model": "gpt-x", "input_tokens": 9, "output_tokens": 3,
                "cost_usd": 0.25, "latency_ms": 12.0, "origin": "live",
            }
        ],
        "input_tokens": 9,
        "output_tokens": 3,
        "cost_usd": 0.25,
        **fields,
    }  # fmt: skip
    if outcome == "failed" and "checks" not in fields:
        reason = "contains 'six': not so"
        told["checks"] = [
            {"metric": "contains", "argument": "six", "passed": False, "reason": reason}
        ]
    return Result(evalset=evalset, case=case, outcome=outcome, **told)


def poisoned():
    """Return a result a text, in every place where a pipeline or a document may speak."""
    for name, text in {**POISON, "long": LONG}.items():
        short = text[:200]
        yield result(
            name if name == "long" else f"{name} {text}",
            outcome="failed",
            query=text,
            answer=text,
            tags=[short],
            notes=[short],
            checks=[{"metric": "contains", "argument": "x", "passed": False, "reason": short}],
            retrieved=[{"id": short, "rank": 1, "score": 0.5, "node": short}],
            gold={short: {"grade": 1, "rank": None, "indexed": True, "lost": short}},
            stages_ms={short[:30]: 4.0},
            self_ms={short[:30]: 4.0},
            calls=[{"stage": "llm", "model": short, "cost_usd": 0.1, "origin": "live"}],
            error=None,
        )


def held(*, results=(), changes=None, verdict="regressed", notes=(), **found):
    """Return a verdict against a baseline, with a limit on the mean."""
    change = CaseChange(
        case="a",
        broke=True,
        scores={"nDCG@10": (1.0, 0.5)},
        gold={"leave.md": GoldChange(before=2, now=None, lost="cut from the context by Limit")},
        instead=("drafts/proposal.md",),
        times={"retrieve": (4.0, 9.0)},
    )
    comparison = Comparison(
        evalset="handbook",
        bar="baselines/handbook.json at 1a2b3c4",
        deterministic=True,
        metrics=(
            MetricVerdict(
                metric="nDCG@10", verdict=verdict, max_drop=0.02, base=0.81, head=0.64,
                change=-0.17, pairs=40, worse=9, better=1, detects=0.0,
            ),
        ),
        changes=(change,) if changes is None else changes,
        moved=10,
        broke=("a",) if verdict == "regressed" else (),
        **found,
    )  # fmt: skip
    limits = [GateLimit(metric="nDCG@10", aggregate="mean", min=0.9)] if results else []
    gates = judge_limits(limits, list(results))
    return Held(evalset="handbook", gates=gates, comparison=comparison, notes=tuple(notes))
