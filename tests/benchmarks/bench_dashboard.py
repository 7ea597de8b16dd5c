"""The dashboard of twenty runs of five thousand cases: its size, its making, its speed."""

from __future__ import annotations

import random
import shutil
import statistics
import time

from pytest_rag.records import Result
from pytest_rag.report.dashboard import RunView, dashboard

_RUNS = 20
_CASES = 5000
_SHOWN = 5
_METRICS = ("nDCG@10", "R@5", "P@5", "RR", "token_f1", "groundedness", "refusal")
_LOW = {"metric": "R@5", "argument": None, "passed": False, "reason": "R@5 0.4 < 0.8"}
_PARTS = (
    ("retrieve", "FusionRetriever"),
    ("retrieve", "BM25Retriever"),
    ("retrieve", "VectorIndexRetriever"),
    ("embed", "OpenAIEmbedding"),
    ("rerank", "Reranker"),
    ("synthesize", "CompactAndRefine"),
    ("llm", "OpenAI"),
)
_SEARCHES = ("w1", "w2 w3", "case-4711", "tag3", "w100 w200", "")


def _words(rng: random.Random, n: int) -> str:
    return " ".join(f"w{rng.randrange(4000)}" for _ in range(n))


def _times(rng: random.Random) -> tuple[float, float]:
    """Return when a component began and how long it ran."""
    return round(rng.random() * 100, 2), round(rng.random() * 300, 2)


def _result(case: int, run: int) -> Result:
    """Return a case with an answer of sixty words, ten nodes and two gold documents."""
    rng = random.Random(case * 1000 + run)
    asked = random.Random(case)
    nodes = [f"folder-{rng.randrange(40)}/document-{rng.randrange(3000)}.md" for _ in range(10)]
    gold = f"folder-{case % 40}/document-{case % 3000}.md"
    passed = rng.random() < 0.9
    return Result(
        evalset="big",
        case=f"case-{case}",
        outcome="passed" if passed else "failed",
        query=_words(asked, 12),
        reference=[_words(asked, 8)],
        answer=_words(rng, 60),
        tags=[f"tag{case % 20}"],
        retrieved=[
            {"id": name, "rank": n, "score": rng.random(), "node": f"{name}-{n}"}
            for n, name in enumerate(nodes, 1)
        ],
        gold={gold: {"grade": 2, "rank": None, "indexed": True, "lost": "not retrieved"}},
        scores={name: {"value": round(rng.random(), 6), "reason": None} for name in _METRICS},
        checks=[] if passed else [_LOW],
        stages_ms={"embed": rng.random() * 9, "retrieve": rng.random() * 40, "synthesize": 300.0},
        self_ms={"embed": rng.random() * 9, "retrieve": rng.random() * 30, "synthesize": 290.0},
        spans=[[n % 3, stage, part, *_times(rng)] for n, (stage, part) in enumerate(_PARTS)],
        latency_ms=rng.random() * 400,
        calls=[{"stage": "llm", "model": "gpt-x", "cost_usd": 0.001, "origin": "live"}],
        cost_usd=0.001,
    )  # fmt: skip


def _runs() -> list[RunView]:
    return [
        RunView(
            header={"started": f"2026-03-{day:02}T10:00:00+00:00", "git": {"commit": f"{day:07}"}},
            results=[_result(case, day) for case in range(_CASES)],
        )
        for day in range(1, _RUNS + 1)
    ]


def test_a_big_dashboard(row, tmp_path) -> None:
    """What a year of a large evalset would be: written once, opened, searched."""
    from playwright.sync_api import sync_playwright

    runs = _runs()
    started = time.perf_counter()
    text = dashboard(runs)
    made = time.perf_counter() - started
    path = tmp_path / "index.html"
    path.write_text(text, encoding="utf-8")
    size = path.stat().st_size / 1e6
    row("dashboard, 20 runs x 5,000 cases: size", f"{size:.1f} MB", "≤ 12 MB")
    row("… made, from records in memory", f"{made:.1f} s")
    paints, ready, took = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(_SHOWN):
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            ready.append(page.evaluate("performance.now()"))
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            paints.append(page.evaluate(paint))
            for words in _SEARCHES:
                page.get_by_label("Search").fill(words)
                took.append(float(page.locator("article").get_attribute("data-took")))
            page.close()
        browser.close()
    spread = f"{min(paints):.0f} to {max(paints):.0f}"
    row("… first paint", f"{statistics.median(paints):.0f} ms", "≤ 2000 ms", spread)
    row("… ready, median", f"{statistics.median(ready):.0f} ms")
    spread = f"{min(took):.0f} to {max(took):.0f}"
    row("… a search of the table", f"{statistics.median(took):.0f} ms", "≤ 100 ms", spread)
