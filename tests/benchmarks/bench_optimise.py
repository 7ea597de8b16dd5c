"""What the parts that optimise cost and save, on the questions of both example sets."""

from __future__ import annotations

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
def _served(*seconds: float) -> Iterator[OpenAILike]:
    """A model that takes so long for an answer, and for each token, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), *map(str, seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        yield OpenAILike(model="gpt-4o-mini", api_base=url, api_key="k", is_chat_model=True)
        server.kill()


@pytest.fixture
def slow_model() -> Iterator[OpenAILike]:
    """A model that answers after 200 ms."""
    with _served(_DELAY_S) as model:
        yield model


def test_the_example_before_and_after(row, tmp_path: Path) -> None:
    """The half of the handbook's questions that judges, one at a time, before and after."""
    written = (_EVALSETS / "handbook.rag.yaml").read_text(encoding="utf-8")
    params = f"    corpus: {_EVALSETS / 'handbook'}\n    synthesizer: llm\n    llm: reader:build\n"
    found = {}
    with _served(*_READS_S) as model:
        (tmp_path / "reader.py").write_text(_READER.format(url=model.api_base), encoding="utf-8")
        for name, more in _EXAMPLE.items():
            text = written.replace("    corpus: handbook\n", params + more)
            (tmp_path / f"{name}.rag.yaml").write_text(text, encoding="utf-8")
            found[name] = _ran(tmp_path, name)
    _factor(row, "p95 latency", found, _p95, "ms")
    _factor(row, "p50 latency", found, lambda runs: statistics.median(_times_of(runs)), "ms")
    _factor(row, "input tokens", found, lambda runs: sum(run.input_tokens for run in runs), "")
    _factor(row, "cost", found, lambda runs: 1000 * sum(run.cost_usd for run in runs), "m$")


def _ran(folder: Path, name: str) -> Sequence[Any]:
    """Return the results of the shard that judges."""
    options = ["--shard", "2/2", "--concurrency", "1", "--warmup", "1", "--baseline", "none"]
    command = [sys.executable, "-m", "pytest_rag", "run", f"{name}.rag.yaml", *options]
    subprocess.run([*command, "--out", f"{name}.jsonl"], cwd=folder, check=False)
    results = records.read(folder / f"{name}.jsonl").results
    assert {run.outcome for run in results} <= {"passed", "failed"}
    return results


def _times_of(runs: Sequence[Any]) -> list[float]:
    return [run.latency_ms for run in runs]


def _p95(runs: Sequence[Any]) -> float:
    return stats.quantile(_times_of(runs), 0.95)


def _factor(row, what: str, found: Any, figure: Any, unit: str) -> None:
    before, after = (figure(found[name]) for name in _EXAMPLE)
    row(
        f"the example, {what}",
        f"{before / after:.2f}x",
        "",
        f"{before:,.2f} to {after:,.2f} {unit}, {len(found['after'])} questions",
    )


def test_repeated_questions(row, slow_model: OpenAILike) -> None:
    """The first time and the second, end to end, question by question."""
    queries = [case.query for case in _cases("handbook")[:30]]
    reader = {"synthesizer": "llm", "llm": slow_model}
    for what, params in ((f"a model of {_DELAY_S * 1000:.0f} ms", reader), ("quotes", {})):
        engine = CachedQueryEngine(_local("handbook", **params), ledger=False)
        _ratios(row, f"asked again through CachedQueryEngine: {what}", engine.query, queries)
    retriever = _local("handbook", retrieval_cache="memory").query_engine.retriever
    _ratios(row, "asked again through CachedRetriever", retriever.retrieve, queries, "")
    model = parts.CachedEmbedding(WordLlamaEmbedding())
    _ratios(row, "asked again through CachedEmbedding", model.get_query_embedding, queries, "")


def _ratios(row, what: str, ask: Any, queries: Sequence[str], target: str = "≥ 50x") -> None:
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
