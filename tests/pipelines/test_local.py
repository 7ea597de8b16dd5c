"""The local pipeline: nodes, filters, repeatability, parameters."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from test_corpus import pdf_bytes, write

from pytest_rag.errors import ConfigError, PipelineError
from pytest_rag.pipelines.fusion import reciprocal_rank, weighted
from pytest_rag.pipelines.local import LocalParams, LocalPipeline, build

_FILES = {
    "people__leave_dot_md": "---\ndepartment: hr\nlanguage: en\n---\n# Leave\n\nUp to five unused "
    "vacation days carry over.\n\n## Sick leave\n\nA certificate is due on day four.\n",
    "it__wifi_dot_md": "---\ndepartment: it\nlanguage: en\ntags: [net, guest]\n---\n# Wi-Fi\n\nThe "
    "guest password changes on Monday. Vacation mode is no setting.\n",
    "pt__ferias_dot_md": "---\ndepartment: hr\nlanguage: pt\n---\n# Férias\n\nCada trabalhador "
    "tem 24 dias úteis de férias por ano.\n",
    "office__sauna_dot_txt": "The sauna is open on Thursday evening.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small corpus of four files."""
    return write(tmp_path / "corpus", **_FILES)


def ids(response: Any) -> list[str]:
    """Return the documents of a response in order."""
    return [hit.node.ref_doc_id for hit in response.source_nodes]


def nodes(pipeline: LocalPipeline, query: str = "vacation") -> list[Any]:
    """Return what the retriever finds."""
    return [hit.node for hit in pipeline.query_engine.retriever.retrieve(query)]


def test_a_folder_answers_questions(folder: Path) -> None:
    """A folder is indexed and asked; ids are paths, and the answer is quoted."""
    pipeline = LocalPipeline.from_folder(folder)
    response = pipeline.query("How many unused vacation days carry over?")
    assert response.response == "Up to five unused vacation days carry over."
    assert ids(response)[0] == "people/leave.md"
    pages = {"people/leave.md", "it/wifi.md", "pt/ferias.md", "office/sauna.txt"}
    assert pipeline.documents == pages
    assert pipeline.deterministic


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize("fusion", ["rrf", "weighted"])
def test_every_retriever_finds_the_page(folder: Path, retriever: str, fusion: str) -> None:
    """Each way to retrieve puts the right page first, with falling scores."""
    pipeline = LocalPipeline.from_folder(folder, retriever=retriever, fusion=fusion)
    response = pipeline.query("On which day does the guest Wi-Fi password change?")
    scores = [hit.score for hit in response.source_nodes]
    assert ids(response)[0] == "it/wifi.md"
    assert scores == sorted(scores, reverse=True)


def test_bm25_returns_only_nodes_that_share_a_term(folder: Path) -> None:
    """A node without a query term is not retrieved, and neither is anything for no term."""
    pipeline = LocalPipeline.from_folder(folder, retriever="bm25")
    assert ids(pipeline.query("sauna")) == ["office/sauna.txt"]
    assert ids(pipeline.query("the of and")) == []
    assert ids(pipeline.query("xylophone")) == []


def test_stems_are_those_of_each_document(folder: Path) -> None:
    """A Portuguese page is found by another form of its word, without the accent too."""
    pipeline = LocalPipeline.from_folder(folder, retriever="bm25")
    assert ids(pipeline.query("os trabalhadores")) == ["pt/ferias.md"]
    assert ids(pipeline.query("ferias?")) == ["pt/ferias.md"]


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"department": "hr"}, {"people/leave.md", "pt/ferias.md"}),
        ({"department": ["hr", "it"], "language": "en"}, {"people/leave.md", "it/wifi.md"}),
        ({"tags": "guest"}, {"it/wifi.md"}),
        ({"department": "sales"}, set()),
        ({"colour": "red"}, set()),
        ({"department": []}, set()),
    ],
)
def test_filters_hold_before_ranking(
    folder: Path, retriever: str, filters: dict[str, Any], expected: set[str]
) -> None:
    """Equality, any-of lists and list-valued metadata; an unknown key retrieves nothing."""
    pipeline = LocalPipeline.from_folder(folder, retriever=retriever, top_k=2)
    found = ids(pipeline.query("vacation dias guest", filters))
    assert set(found) <= expected
    assert bool(found) == bool(expected)


def test_default_filters_lie_under_those_of_the_query(folder: Path) -> None:
    """A default filter holds until the query names the same key."""
    pipeline = LocalPipeline.from_folder(folder, filters={"department": "hr"})
    assert "it/wifi.md" not in ids(pipeline.query("vacation"))
    assert ids(pipeline.query("vacation", {"department": "it"})) == ["it/wifi.md"]


def test_concurrent_queries_do_not_mix_filters(folder: Path) -> None:
    """Forty questions at once, each with its own filter, each get their own nodes."""
    pipeline = LocalPipeline.from_folder(folder, rerank="sentences")

    async def ask_all() -> list[Any]:
        wanted = [{"department": "it"}, {"department": "hr"}, {"language": "pt"}, None] * 10
        return await asyncio.gather(*(pipeline.aquery("vacation", f) for f in wanted))

    found = [frozenset(ids(r)) for r in asyncio.run(ask_all())]
    assert set(found[0::4]) == {frozenset({"it/wifi.md"})}
    assert set(found[1::4]) == {frozenset({"people/leave.md", "pt/ferias.md"})}
    assert set(found[2::4]) == {frozenset({"pt/ferias.md"})}
    assert len(set(found[3::4])) == 1
    assert len(found[3]) == 4


def test_the_same_twice_and_across_builds_and_ways(folder: Path) -> None:
    """Answers, order and scores repeat: again, in a fresh build, and asynchronously."""

    def seen(response: Any) -> Any:
        return response.response, [(h.node_id, h.score) for h in response.source_nodes]

    first, second = LocalPipeline.from_folder(folder), LocalPipeline.from_folder(folder)
    query = "vacation days on Monday"
    once = seen(first.query(query))
    assert seen(first.query(query)) == once
    assert seen(second.query(query)) == once
    assert seen(asyncio.run(second.aquery(query))) == once
    assert first.fingerprint == second.fingerprint


def test_results_do_not_depend_on_the_hash_seed(folder: Path) -> None:
    """Another process with another hash seed finds the same scores."""
    code = (
        "import sys\nfrom pytest_rag.pipelines.local import LocalPipeline\n"
        "p = LocalPipeline.from_folder(sys.argv[1])\nr = p.query('vacation days on Monday')\n"
        "print(p.fingerprint, r.response, [(h.node_id, h.score) for h in r.source_nodes])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_fingerprint_sees_texts_metadata_and_parameters(folder: Path, tmp_path: Path) -> None:
    """It changes with each of them, and not with the place of the folder."""
    before = LocalPipeline.from_folder(folder).fingerprint
    assert LocalPipeline.from_folder(write(tmp_path / "moved", **_FILES)).fingerprint == before
    assert LocalPipeline.from_folder(folder, top_k=9).fingerprint != before
    changed = folder / "it/wifi.md"
    changed.write_text(changed.read_text().replace("department: it", "department: ops"))
    assert LocalPipeline.from_folder(folder).fingerprint != before


def test_nodes_know_their_place(folder: Path) -> None:
    """Spans map back to the text, sections are slugs, metadata stays out of what is read."""
    pipeline = LocalPipeline.from_folder(folder, chunk_size=8, chunk_overlap=2)
    leave = [n for n in nodes(pipeline, "leave certificate") if n.ref_doc_id == "people/leave.md"]
    body = _FILES["people__leave_dot_md"].split("---\n", 2)[2].lstrip("\n")
    assert len(leave) > 1
    for node in leave:
        assert body[node.start_char_idx : node.end_char_idx] == node.text
        assert node.get_content(metadata_mode="llm") == node.text
        assert node.get_content(metadata_mode="embed") == f"Leave\n\n{node.text}"
        assert node.metadata["department"] == "hr"
    certificate = next(n for n in leave if "certificate" in n.text)
    assert certificate.metadata["sections"] == ["leave", "sick-leave"]


def test_spans_hold_in_a_long_text_with_repeats() -> None:
    """Overlapping chunks of a text that repeats itself keep exact, growing spans."""
    text = "# Log\n\n" + "The gauge was read. The value was kept! " * 40 + "}\n}\n{\n" * 9
    pipeline = LocalPipeline.from_documents(
        [Document(id_="log", text=text)], chunk_size=30, chunk_overlap=10, top_k=99
    )
    found = sorted(nodes(pipeline, "gauge"), key=lambda n: n.start_char_idx)
    assert len(found) > 10
    assert all(text[n.start_char_idx : n.end_char_idx] == n.text for n in found)
    assert any(a.end_char_idx > b.start_char_idx for a, b in pairwise(found))
    assert len({(n.start_char_idx, n.end_char_idx) for n in found}) == len(found)
    covered = {i for n in found for i in range(n.start_char_idx, n.end_char_idx)}
    assert all(text[i].isspace() for i in set(range(len(text))) - covered)


def test_pdf_nodes_have_one_page_each(tmp_path: Path) -> None:
    """No node crosses a page, and each carries the page's label."""
    (tmp_path / "plan.pdf").write_bytes(pdf_bytes("Ring the bell.", "Go outside.", labels=True))
    pipeline = LocalPipeline.from_folder(tmp_path)
    found = {n.text: n.metadata["page_label"] for n in nodes(pipeline, "bell outside")}
    assert found == {"Ring the bell.": "i", "Go outside.": "ii"}


def test_top_k_cutoff_and_context_limit(folder: Path) -> None:
    """Each of them shortens what the answer rests on; the best node always stays."""
    many = LocalPipeline.from_folder(folder)
    assert len(ids(many.query("vacation"))) == 4
    assert len(ids(LocalPipeline.from_folder(folder, top_k=2).query("vacation"))) == 2
    assert len(ids(LocalPipeline.from_folder(folder, context_tokens=1).query("vacation"))) == 1
    high = LocalPipeline.from_folder(folder, retriever="dense", similarity_cutoff=0.99)
    assert ids(high.query("vacation")) == []


def test_any_embedding_and_llm_of_llamaindex_can_be_used(folder: Path) -> None:
    """Objects from Python; with a language model the pipeline no longer repeats itself."""
    pipeline = LocalPipeline.from_folder(
        folder, embed_model=MockEmbedding(embed_dim=3), synthesizer="llm", llm=MockLLM()
    )
    answer = pipeline.query("How many vacation days carry over?").response
    assert "How many vacation days carry over?" in answer
    assert "Up to five unused" in answer
    assert not pipeline.deterministic


def test_build_takes_what_yaml_gives(folder: Path, tmp_path: Path) -> None:
    """The corpus lies beside the evalset, as a module with the model may."""
    (tmp_path / "my_llm_of_test.py").write_text(
        "from llama_index.core.llms import MockLLM\n\ndef make():\n    return MockLLM()\n"
    )
    plain = build(tmp_path, corpus=folder.name, top_k=1)
    assert ids(plain.query("sauna")) == ["office/sauna.txt"]
    asked = build(tmp_path, corpus="corpus", synthesizer="llm", llm="my_llm_of_test:make")
    assert "sauna" in asked.query("sauna?").response


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"topk": 5}, r"no parameter 'topk'\. Did you mean 'top_k'\?"),
        ({"retriever": "bm52"}, r"retriever cannot be 'bm52'\. Did you mean 'bm25'\?"),
        ({"language": "xx"}, r"language cannot be 'xx'\. Choose from: auto, "),
        ({"top_k": 0}, r"top_k must be an integer of at least 1, not 0"),
        ({"top_k": True}, r"top_k must be an integer of at least 1, not True"),
        ({"dense_weight": 1.5}, r"dense_weight must be a number between 0 and 1, not 1.5"),
        ({"min_evidence": float("nan")}, r"min_evidence must be a number between 0 and 1"),
        ({"similarity_cutoff": "high"}, r"similarity_cutoff must be a number, not 'high'"),
        ({"chunk_size": 20, "chunk_overlap": 20}, r"chunk_overlap \(20\) must be less than"),
        ({"filters": ["hr"]}, r"filters must be a mapping of metadata to values"),
        ({"index_title": "yes"}, r"index_title must be true or false, not 'yes'"),
        ({"synthesizer": "llm"}, r"belong together; one is missing"),
        ({"llm": "a:b"}, r"belong together; one is missing"),
        ({}, r"needs a corpus"),
    ],
)
def test_wrong_parameters_name_the_right_ones(params: dict[str, Any], message: str) -> None:
    """Every wrong parameter is found before a file is read."""
    with pytest.raises(ConfigError, match=message):
        build(Path("nowhere"), **params)


def test_wrong_documents_are_told() -> None:
    """No document, two of one id, and documents without text are errors; so is a stray glob."""
    with pytest.raises(PipelineError, match="no documents"):
        LocalPipeline.from_documents([])
    with pytest.raises(PipelineError, match="2 documents have the same id 'a'"):
        LocalPipeline.from_documents([Document(id_="a", text="x"), Document(id_="a", text="y")])
    with pytest.raises(PipelineError, match="no text"):
        LocalPipeline.from_documents([Document(id_="a", text=" \n")])
    with pytest.raises(ConfigError, match="glob is for a folder"):
        LocalPipeline.from_documents([Document(id_="a", text="x")], glob="*.md")


def test_an_llm_that_is_none_is_told(folder: Path) -> None:
    """An import path must lead to a LlamaIndex object."""
    with pytest.raises(ConfigError, match="llm must be a LlamaIndex LLM, not"):
        LocalPipeline.from_folder(folder, synthesizer="llm", llm="pathlib:Path")


def test_parameters_are_plain_data() -> None:
    """What describes a pipeline is JSON, names models and does not name the folder."""
    described = LocalParams(corpus="x", synthesizer="llm", llm=MockLLM()).describe()
    assert "corpus" not in described
    assert described["llm"].startswith("MockLLM")
    json.dumps(described)


def test_loading_the_model_leaves_logging_alone(folder: Path) -> None:
    """A package below calls ``logging.basicConfig``; the root logger stays as it was."""
    code = (
        "import logging, sys\nfrom pytest_rag.pipelines.local import LocalPipeline\n"
        "LocalPipeline.from_folder(sys.argv[1]).query('sauna')\n"
        "root = logging.getLogger()\nprint(root.handlers, root.level)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(folder)],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == (f"[] {logging.WARNING}", "")


def test_the_module_costs_no_llamaindex() -> None:
    """Importing the pipeline's module, as the plugin may, imports nothing heavy."""
    code = (
        "import sys\nimport pytest_rag.pipelines.local\n"
        "print([m for m in ('llama_index', 'numpy', 'bm25s', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_fusion_by_hand() -> None:
    """Hand-worked: 1/61 + 1/62, and scores divided by the best of each half."""
    assert reciprocal_rank([["a", "b"], ["b"]]) == pytest.approx(
        {"a": 1 / 61, "b": 1 / 62 + 1 / 61}
    )
    fused = weighted({"a": 8.0, "b": 4.0}, {"b": 0.5, "c": -0.2}, dense_weight=0.25)
    assert fused == pytest.approx({"a": 0.75, "b": 0.375 + 0.25, "c": 0.375})
    assert weighted({}, {"a": 0.0}, dense_weight=0.5) == {"a": 0.0}
