"""Five hundred cases through LlamaIndex to a slow model, beside a bare asyncio loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.llms.openai import OpenAI
from processes import Used, median, ratio, spread

from pytest_rag.config import Config
from pytest_rag.evaluation import jobs_of
from pytest_rag.pipelines.adapters import adapt
from pytest_rag.runner import Runner
from pytest_rag.types import Case, EvalSet, Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_rag.records import Result

_CASES = 500
_AT_ONCE = 32
_ANSWER_S = 0.2
_PAIRS = 5


@pytest.fixture
def model() -> Iterator[str]:
    """The address of a model in a process of its own."""
    server = Path(__file__).with_name("server.py")
    process = subprocess.Popen(
        [sys.executable, server, str(_ANSWER_S)], stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def evalset(tmp_path: Path) -> EvalSet:
    """Return questions with one gold document and two limits each."""
    checks = (Limit(metric="R@5", min=0.0), Limit(metric="latency_ms", max=60_000))
    cases = tuple(
        Case(id=f"q{n}", query=f"Question {n}?", relevant={"doc-1": 1}, checks=checks)
        for n in range(_CASES)
    )
    return EvalSet(name="many", path=tmp_path / "many.rag.yaml", cases=cases)


def _engine(model: str):
    llm = OpenAI(model="gpt-4o-mini", api_base=model, api_key="none", max_retries=0, timeout=60)
    nodes = [TextNode(id_=f"doc-{n}", text=f"Passage {n} of the handbook.") for n in range(20)]
    index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=8))
    return index.as_query_engine(llm=llm, similarity_top_k=5)


def _bare(model: str, evalset: EvalSet) -> float:
    engine = _engine(model)

    async def run() -> None:
        free = asyncio.Semaphore(_AT_ONCE)

        async def one(query: str) -> None:
            async with free:
                assert str(await engine.aquery(query))

        await asyncio.gather(*(one(case.query) for case in evalset.cases))

    began = time.perf_counter()
    asyncio.run(run())
    return time.perf_counter() - began


def _ours(model: str, evalset: EvalSet) -> float:
    config = Config(concurrency=_AT_ONCE)
    pipeline = adapt(_engine(model))
    runner = Runner(config)
    try:
        began = time.perf_counter()
        jobs = [job for case in evalset.cases for job in jobs_of(evalset, case, config)]
        results = [runner.result(future) for future in runner.start(pipeline, jobs)]
        took = time.perf_counter() - began
    finally:
        runner.close()
    assert all(result.outcome == "passed" for result in results), _first_trouble(results)
    return took


def _used(run: Callable[[], float]) -> Used:
    began = time.process_time()
    wall = run()
    return Used(wall, time.process_time() - began, 0.0)


def _first_trouble(results: list[Result]) -> str:
    bad = next(result for result in results if result.outcome != "passed")
    return str(bad.error or bad.checks)


def test_five_hundred_cases(row, model: str, evalset: EvalSet) -> None:
    """The runner keeps a slow model as busy as a bare loop does."""
    _bare(model, evalset)  # imports and caches
    pairs = []
    for turn in range(_PAIRS):
        both = {"bare": _bare, "ours": _ours}
        order = sorted(both, reverse=bool(turn % 2))
        took = {name: _used(lambda run=both[name]: run(model, evalset)) for name in order}
        pairs.append((took["ours"], took["bare"]))
    ours, bare = (median(side, "wall") for side in zip(*pairs, strict=True))
    how = f"{ours:.1f} s to {bare:.1f} s of a bare loop; {spread(pairs, 'wall')}"
    what = f"{_CASES} cases, {_AT_ONCE} at once, {_ANSWER_S * 1000:.0f} ms a call"
    row(f"{what}: wall", f"{ratio(pairs, 'wall'):.2f}x", "≤ 1.15x", how)
    row(f"{what}: CPU", f"{ratio(pairs, 'user'):.2f}x", "", spread(pairs, "user"))
