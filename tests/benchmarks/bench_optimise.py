"""What the parts that optimise cost and save, on the questions of both example sets."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.schema import QueryBundle
from llama_index.llms.openai_like import OpenAILike

from pytest_rag import CachedQueryEngine, LocalPipeline, load_evalset, records, stats
from pytest_rag.pipelines import optimise as parts
from pytest_rag.pipelines.embedding import WordLlamaEmbedding
from pytest_rag.pipelines.factory import load_object
from pytest_rag.pipelines.language import count_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EVALSETS = Path(__file__).parents[2] / "evalsets"
_SETS = ("handbook", "python_reference")
_DELAY_S = 0.2
_READS_S = 0.2, 0.001  # in any case, and for each token
_SERVER = Path(__file__).with_name("server.py")
_FREE = '[tool.pytest-rag.prices]\n"smollm2-135m-instruct" = 0\n'
_EXAMPLE = {"before": "", "after": "    infer_filters: true\n    sentence_tokens: 350\n"}
_READER = """
from llama_index.llms.openai_like import OpenAILike

def build():
    return OpenAILike(model="gpt-4o-mini", api_base="{url}", api_key="k", is_chat_model=True)
"""


def _local(name: str, **params: Any) -> LocalPipeline:
    if name == "handbook":
        return LocalPipeline.from_folder(_EVALSETS / name, **params)
    made: LocalPipeline = load_object("python_reference.pipeline:build", [_EVALSETS])(**params)
    return made


def _cases(name: str) -> Sequence[Any]:
    return load_evalset(_EVALSETS / f"{name}.rag.yaml").cases


def _words(hits: Sequence[Any]) -> int:
    return sum(len(count_words(hit.node.get_content())) for hit in hits)


def _gold_kept(case: Any, before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Tell whether every gold document that was there still is."""
    gold = {name.partition("#")[0] for name in case.relevant}
    had = {hit.node.ref_doc_id for hit in before} & gold
    return had <= {hit.node.ref_doc_id for hit in after}


@pytest.mark.parametrize("name", _SETS)
def test_postprocessors(row, name: str) -> None:
    """Each alone behind the default retriever: processor time a query, words left, gold left."""
    model = WordLlamaEmbedding()
    cases, retriever = _cases(name), _local(name).query_engine.retriever
    found = [(case, retriever.retrieve(case.query)) for case in cases]
    whole = sum(_words(hits) for _, hits in found)
    for part in (
        parts.ScoreDrop(drop=0.5),
        parts.NearDuplicates(),
        parts.SentenceBudget(tokens=350, embed_model=model),
        parts.SentenceBudget(tokens=350),
        parts.SentenceRerank(embed_model=model),
        parts.BestAtEnds(),
    ):
        began = time.process_time()
        left = [part.postprocess_nodes(hits, QueryBundle(case.query)) for case, hits in found]
        took = (time.process_time() - began) / len(found) * 1000
        saved = 1 - sum(map(_words, left)) / whole
        kept = sum(_gold_kept(c, h, after) for (c, h), after in zip(found, left, strict=True))
        label = part.class_name() + (", words alone" if "embed_model=None" in repr(part) else "")
        row(f"{name}: {label}", f"{took:.2f} ms", "",
            f"{saved:.0%} of words saved, gold kept in {kept} of {len(found)}")  # fmt: skip


@pytest.mark.parametrize("name", _SETS)
def test_inferred_filters(row, name: str) -> None:
    """What it takes to read a query, and what is then left to be searched."""
    retriever = _local(name, infer_filters=True).query_engine.retriever
    cases = _cases(name)
    began = time.process_time()
    narrowed = [case for case in cases if retriever.infer(case.query)]
    took = (time.process_time() - began) / len(cases) * 1000
    share = [retriever.candidates(case.query) / len(retriever.nodes) for case in narrowed]
    mean = f", {statistics.mean(share):.0%} of nodes searched" if share else ""
    row(f"{name}: InferredFilters", f"{took:.2f} ms", "",
        f"{len(narrowed)} of {len(cases)} questions narrowed{mean}")  # fmt: skip


@contextmanager
def _serving(script: Path, *args: object) -> Iterator[tuple[str, int]]:
    """A server in a process of its own: its address, and its process."""
    command = [sys.executable, str(script), *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server.pid
        server.kill()


@pytest.fixture
def slow_model() -> Iterator[OpenAILike]:
    """A model that answers after 200 ms."""
    with _serving(_SERVER, _DELAY_S) as (url, _):
        yield OpenAILike(model="gpt-4o-mini", api_base=url, api_key="k", is_chat_model=True)


def test_the_example_before_and_after(row, tmp_path: Path) -> None:
    """The half of the handbook's questions that judges, with a model that is paid by the token."""
    with _serving(_SERVER, *_READS_S) as (url, _):
        (tmp_path / "reader.py").write_text(_READER.format(url=url), encoding="utf-8")
        _before_and_after(row, tmp_path, "reader:build", "2/2")


def test_the_example_with_smollm2(row, tmp_path: Path, monkeypatch) -> None:
    """An eighth of the questions, part of the same half, with a model that this machine runs."""
    pytest.importorskip("xllamacpp")
    (tmp_path / "pyproject.toml").write_text(_FREE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(_EVALSETS))
    with _serving(_EVALSETS / "handbook_llm/server.py", 0) as (url, process):
        monkeypatch.setenv("HANDBOOK_LLM_URL", url)
        _before_and_after(row, tmp_path, "handbook_llm.model:build", "2/8", process)


def _before_and_after(row, folder: Path, llm: str, shard: str, process: int | None = None) -> None:
    written = (_EVALSETS / "handbook.rag.yaml").read_text(encoding="utf-8")
    written = written.replace("defaults:\n", "defaults:\n  timeout_s: 600\n")
    params = f"    corpus: {_EVALSETS / 'handbook'}\n    synthesizer: llm\n    llm: {llm}\n"
    figures: dict[str, dict[str, float]] = {}
    for name, more in _EXAMPLE.items():
        text = written.replace("    corpus: handbook\n", params + more)
        (folder / f"{name}.rag.yaml").write_text(text, encoding="utf-8")
        worked = _worked_s(process)
        runs = _ran(folder, name, shard)
        figures[name] = _figures(runs) | {"processor s": _worked_s(process) - worked}
    for what, before in figures["before"].items():
        if before:
            after = figures["after"][what]
            told = f"{before:,.4g} to {after:,.4g}; {len(runs)} questions"
            row(f"before to after, {llm}: {what}", f"{before / after:.2f}x", "", told)


def _ran(folder: Path, name: str, shard: str) -> Sequence[Any]:
    """Return the results of a part of the questions, asked one at a time."""
    command = [sys.executable, "-m", "pytest_rag", "run", f"{name}.rag.yaml", "--shard", shard]
    command += ["--concurrency", "1", "--warmup", "1", "--baseline", "none"]
    subprocess.run([*command, "--out", f"{name}.jsonl"], cwd=folder, check=False)
    results = records.read(folder / f"{name}.jsonl").results
    assert {run.outcome for run in results} <= {"passed", "failed"}
    return results


def _figures(runs: Sequence[Any]) -> dict[str, float]:
    times = [run.latency_ms for run in runs]
    return {
        "latency p95 ms": stats.quantile(times, 0.95),
        "latency p50 ms": statistics.median(times),
        "input tokens": sum(run.input_tokens for run in runs),
        "cost m$": 1000 * sum(run.cost_usd for run in runs),
    }


def _worked_s(process: int | None) -> float:
    """Return the processor seconds of a process; 0 where Linux does not tell them."""
    told = Path(f"/proc/{process}/stat")
    if process is None or not told.exists():
        return 0.0
    user, system = told.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_repeated_questions(row, slow_model: OpenAILike) -> None:
    """The first time and the second, end to end, question by question."""
    queries = [case.query for case in _cases("handbook")[:30]]
    reader = {"synthesizer": "llm", "llm": slow_model}
    model_of = f"a model of {_DELAY_S * 1000:.0f} ms"
    for what, params, target in ((model_of, reader, "≥ 50x"), ("quotes", {}, "")):
        engine = CachedQueryEngine(_local("handbook", **params), ledger=False)
        name = f"asked again through CachedQueryEngine: {what}"
        _ratios(row, name, engine.query, queries, target)
    retriever = _local("handbook", retrieval_cache="memory").query_engine.retriever
    _ratios(row, "asked again through CachedRetriever", retriever.retrieve, queries)
    model = parts.CachedEmbedding(WordLlamaEmbedding())
    _ratios(row, "asked again through CachedEmbedding", model.get_query_embedding, queries)


def _ratios(row, what: str, ask: Any, queries: Sequence[str], target: str = "") -> None:
    first, again = [_times(ask, queries) for _ in range(2)]
    again = [min(pair) for pair in zip(again, _times(ask, queries), strict=True)]
    ratios = sorted(a / b for a, b in zip(first, again, strict=True))
    row(what, f"{statistics.median(ratios):.0f}x", target,
        f"{ratios[0]:.0f} to {ratios[-1]:.0f}; {statistics.median(first) * 1000:.1f} to "
        f"{statistics.median(again) * 1000:.2f} ms")  # fmt: skip


def _times(ask: Any, queries: Sequence[str]) -> list[float]:
    taken = []
    for query in queries:
        began = time.perf_counter()
        ask(query)
        taken.append(time.perf_counter() - began)
    return taken
