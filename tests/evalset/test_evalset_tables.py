"""Cases from Parquet, Arrow and JSON files and from Hugging Face datasets."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tracemalloc

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from pytest_rag.errors import EvalSetError
from pytest_rag.evalset import hub, load

ROWS = [
    {"id": "a", "query": "Why?", "answer": ["x", "y"], "relevant": [{"id": "d", "grade": 2}]},
    {"id": "b", "query": "Who?", "answer": ["z"], "relevant": []},
]
SQUAD = [
    {"id": "1", "title": "T", "question": "Q?", "answers": {"text": ["v"], "answer_start": [3]}},
    {
        "id": "2",
        "title": "T",
        "question": "R?",
        "answers": {"text": ["w", "w"], "answer_start": []},
    },
]


@pytest.fixture(autouse=True)
def quiet():
    """Let `datasets` draw no progress bars."""
    datasets.disable_progress_bars()


@pytest.fixture
def cases(tmp_path):
    """Return what an evalset with this ``cases_from`` loads."""

    def read(written):
        path = tmp_path / "x.rag.yaml"
        path.write_text(f"cases_from: {written}\n")
        return load(path).cases

    return read


@pytest.fixture
def said(cases, tmp_path):
    """Return the message of every problem."""

    def read(written):
        with pytest.raises(EvalSetError) as caught:
            cases(written)
        return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]

    return read


def _save(folder, form, rows):
    """Write rows in one of the forms and return what ``cases_from`` says of it."""
    made = datasets.Dataset.from_list(rows)
    if form == "parquet":
        made.to_parquet(str(folder / "q.parquet"))
    elif form == "json":
        (folder / "q.json").write_text(json.dumps({"version": 1, "data": rows}))
    elif form == "folder":
        made.save_to_disk(str(folder / "saved"), num_shards=2)
        return "{dataset: saved"
    elif form == "splits":
        datasets.DatasetDict({"train": made.select([0]), "test": made}).save_to_disk(
            str(folder / "saved")
        )
        return "{dataset: saved, split: test"
    elif form == "files":
        (folder / "repo" / "data").mkdir(parents=True)
        made.to_parquet(str(folder / "repo" / "data" / "test-00000-of-00001.parquet"))
        return "{dataset: repo"
    else:
        opened = pa.ipc.new_file if form == "file.arrow" else pa.ipc.new_stream
        with (
            pa.OSFile(str(folder / "q.arrow"), "wb") as file,
            opened(file, made.data.schema) as out,
        ):
            out.write_table(made.data.table)
        return "{path: q.arrow"
    return f"{{path: q.{form}"


@pytest.mark.parametrize(
    "form", ["parquet", "json", "folder", "splits", "files", "file.arrow", "stream.arrow"]
)
def test_every_form_gives_the_same_cases(cases, tmp_path, form):
    """A table means the same whatever it is kept in; `limit` takes the first rows."""
    written = _save(tmp_path, form, ROWS)
    found = cases(written + "}")
    assert [(c.id, c.query, c.answers, c.relevant) for c in found] == [
        ("a", "Why?", ("x", "y"), {"d": 2}),
        ("b", "Who?", ("z",), {}),
    ]
    assert [case.id for case in cases(written + ", limit: 1}")] == ["a"]


def test_a_dataset_of_others(cases, tmp_path):
    """Fields inside a column are reached with a dot, and columns nobody maps are left alone."""
    datasets.Dataset.from_list(SQUAD).save_to_disk(str(tmp_path / "squad"))
    found = cases("{dataset: squad, map: {query: question, answer: answers.text, relevant: title}}")
    assert [(c.query, c.answers, c.relevant) for c in found] == [
        ("Q?", ("v",), {"T": 1}),
        ("R?", ("w",), {"T": 1}),
    ]


def test_rows_without_an_id_get_one_of_their_question(cases, tmp_path):
    """It stays the same when rows move, and a question that comes twice has two."""
    rows = [{"query": q} for q in ("one?", "two?", "one?")]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "d"))
    datasets.Dataset.from_list(rows[1:]).save_to_disk(str(tmp_path / "e"))
    first = [case.id for case in cases("{dataset: d}")]
    assert first[2] == f"{first[0]}-2"
    assert [case.id for case in cases("{dataset: e}")] == [first[1], first[0]]


def test_what_pandas_makes_of_missing_values(cases, tmp_path):
    """NaN is a missing value, 184.0 the id 184, 3.0 a whole number, a date a text."""
    frame = pd.DataFrame(
        {
            "id": [184, 185],
            "query": ["Why?", "When?"],
            "answer": [np.nan, dt.date(2025, 5, 31)],
            "repeat": [3.0, np.nan],
            "answerable": [True, None],
            "checks": ['{"contains": "x"}', None],
            "tags": ["hr", '["a", "b"]'],
        }
    )
    frame.to_parquet(tmp_path / "q.parquet")
    first, second = cases("{path: q.parquet}")
    assert (first.id, first.answers, first.repeat, first.tags) == ("184", (), 3, ("hr",))
    assert (second.answers, second.repeat, second.tags) == (("2025-05-31",), 1, ("a", "b"))
    assert first.checks[0].argument == "x"


def test_arrows_maps_and_the_names_of_classes(cases, tmp_path):
    """A map of grades is qrels; a class is read by its name."""
    grades = pa.array([[("d", 2), ("e", 0)]], pa.map_(pa.string(), pa.int64()))
    table = pa.table({"id": ["a"], "query": ["q"], "relevant": grades})
    pq.write_table(table, tmp_path / "q.parquet")
    assert cases("{path: q.parquet}")[0].relevant == {"d": 2, "e": 0}
    features = datasets.Features(
        {k: datasets.Value("string") for k in ("id", "query")}
        | {"kind": datasets.ClassLabel(names=["hard", "easy"])}
    )
    made = datasets.Dataset.from_list([{"id": "a", "query": "q", "kind": 1}], features=features)
    made.save_to_disk(str(tmp_path / "d"))
    assert cases("{dataset: d, map: {tags: kind}}")[0].tags == ("easy",)


def test_errors_name_file_row_and_column(said, tmp_path):
    """A table has no lines; the column is called as the file calls it."""
    rows = [{"id": "a", "question": "q"}, {"id": "a", "question": "r"}]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "q.parquet"))
    assert said("{path: q.parquet, map: {query: question}}") == [
        "q.parquet: Row 2: Id 'a' is taken by the case in row 1.",
    ]
    rows[1]["question"] = " "
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "q.parquet"))
    [line] = said("{path: q.parquet, map: {query: question}}")
    assert line == "q.parquet: Row 2: 'question' is blank. Write a text."


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{path: q.parquet}", "q.parquet: Unknown column 'title'. "),
        (
            "{dataset: q.parquet, map: {query: questin}}",
            "There is no column 'questin', which",
        ),
        ("{dataset: q.parquet, map: {query: question}}", "Unknown column 'answers'. Did you mean"),
        ("{dataset: saved, map: {query: question}}", "splits 'train', 'test'. Name one: split: tr"),
        (
            "{dataset: saved, split: tset}",
            "There is no split 'tset'; there is 'train', 'test'.",
        ),
        ("{dataset: saved, split: 'train[:5]'}", "The first rows alone: limit: N."),
        ("{path: saved}", "'saved' is a folder. Write it as {dataset: saved}."),
        ("{path: broken.parquet}", "broken.parquet cannot be read as Parquet: "),
        ("{path: broken.arrow}", "broken.arrow cannot be read as Arrow: "),
        ("{dataset: empty}", "'empty' cannot be read as a dataset: "),
        ("{dataset: lying}", "lying names a file that lies elsewhere: '../q.parquet'."),
        ("{dataset: ./nowhere}", "There is no file or folder './nowhere'"),
        ("{path: broken.json}", "broken.json:1:7: This is not valid JSON: Expecting value."),
    ],
)
def test_what_cannot_be_read(said, tmp_path, written, message):
    """Every hostile or mistaken source is one clear sentence."""
    made = datasets.Dataset.from_list(SQUAD)
    made.to_parquet(str(tmp_path / "q.parquet"))
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(tmp_path / "saved"))
    for name in ("broken.parquet", "broken.arrow"):
        (tmp_path / name).write_bytes(b"PAR1 nothing of the kind PAR1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "lying").mkdir()
    (tmp_path / "lying" / "state.json").write_text(
        '{"_data_files": [{"filename": "../q.parquet"}]}'
    )
    (tmp_path / "broken.json").write_text('{"a": ')
    assert any(message in line for line in said(written)), said(written)


def test_a_hub_name_without_a_network(said, monkeypatch):
    """One sentence, at once, that says what to do; the hub's own retries are not waited for."""
    monkeypatch.setattr(hub.socket, "getaddrinfo", _no_network)
    for name in (*hub._PROXIES, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    [line] = said("{dataset: no-such-owner/no-such-set, split: train}")
    assert "'no-such-owner/no-such-set' is no file or folder here" in line
    assert "Save the dataset once with save_to_disk" in line


def _no_network(*_args):
    raise OSError("no network")


def test_the_library_is_left_as_it_was(cases, tmp_path, monkeypatch):
    """The hub is out of reach while a folder is read, and not for the pipeline afterwards."""
    written = _save(tmp_path, "files", ROWS)
    seen = []

    def watched(*args, **kwargs):
        seen.append((datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY))
        return read(*args, **kwargs)

    read = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", watched)
    before = (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY)
    assert len(cases(written + "}")) == 2
    assert seen == [(True, True)]
    assert before == (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY)


def test_memory_is_bounded(cases, tmp_path):
    """Columns that are not asked for are not read, and rows come a few at a time."""
    path = tmp_path / "q.parquet"
    schema = pa.schema([("id", pa.string()), ("query", pa.string()), ("pixels", pa.binary())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as out:
        for start in range(0, 400, 20):
            rows = [{"id": str(n), "query": "q", "pixels": b"x" * 200_000} for n in range(20)]
            rows = [{**row, "id": str(start + n)} for n, row in enumerate(rows)]
            out.write_table(pa.Table.from_pylist(rows, schema=schema))
    assert path.stat().st_size > 70 << 20
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    assert len(cases("{path: q.parquet, ignore: [pixels]}")) == 400
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 8 << 20


def test_a_text_without_end_is_refused(said, tmp_path):
    """What could not be a question is not made one."""
    pq.write_table(pa.table({"id": ["a"], "query": ["x" * (2 << 20)]}), tmp_path / "q.parquet")
    assert "Row 1: 'query' is longer than 1,048,576 characters." in said("{path: q.parquet}")[0]


def test_collecting_local_tables_loads_no_hub(tmp_path):
    """Neither `datasets` nor its hub client is imported for a local table."""
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "d"))
    (tmp_path / "x.rag.yaml").write_text("cases_from: {dataset: d}\n")
    code = (
        "import sys; from pathlib import Path; from pytest_rag.evalset import load; "
        f"assert len(load(Path({str(tmp_path / 'x.rag.yaml')!r})).cases) == 2; "
        "print([m for m in ('datasets', 'huggingface_hub', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_drafts_are_kept_apart(tmp_path):
    """A row may say that nobody has reviewed it; the file says it for those that say nothing."""
    (tmp_path / "q.jsonl").write_text(
        '{"id": "a", "query": "q", "reviewed": true}\n{"id": "b", "query": "r"}\n'
    )
    path = tmp_path / "x.rag.yaml"
    path.write_text("reviewed: false\ncases_from: {path: q.jsonl}\ncases: [{id: c, query: s}]\n")
    found = load(path)
    assert [case.id for case in found.cases] == ["a"]
    assert [case.id for case in found.drafts] == ["c", "b"]
    assert not found.drafts[0].reviewed
