"""`pytest-rag convert`: test sets of others become evalsets, and go back."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pytest_rag.cli import app
from pytest_rag.evalset import load

CORPUS = [
    {"_id": "4983", "title": "Tides", "text": "The tide turns at noon.\n\nIt is \U0001f30a high."},
    {"_id": "MED-1/a b", "title": "", "text": "# no heading\nMasks help."},
]
QUERIES = [
    {"_id": "1", "text": "When does the tide turn?", "metadata": {"answers": ["At noon."]}},
    {"_id": "2", "text": "Do masks help?", "metadata": {"url": "x"}},
    {"_id": "3", "text": "Who judged this?", "metadata": {}},
]
QRELS = "query-id\tcorpus-id\tscore\n1\t4983\t2\n1\tMED-1/a b\t0\n2\tMED-1/a b\t1\n"
CONTEXT = "Café Kotka opens at nine and closes at four. It opens on Mondays."


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """Run the command in an empty folder; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        done = CliRunner().invoke(app, ["convert", *map(str, args)], catch_exceptions=False)
        return done.exit_code, done.output

    return run


@pytest.fixture
def beir(tmp_path):
    """A collection in BEIR's layout."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    return folder


def rows_of(path):
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names_in(folder):
    """Return the names of a folder's entries."""
    return sorted(path.name for path in folder.iterdir())


def test_beir_there_and_back(convert, beir, tmp_path):
    """Questions, grades, answers and documents come back as they were."""
    code, said = convert("beir", "-o", "sets/b.rag.yaml")
    assert (code, said.splitlines()) == (
        0,
        [
            "wrote sets/b.rag.yaml: 2 cases from beir, with its documents beside it",
            "left out: 1 queries that the split does not judge",
        ],
    )
    found = load(tmp_path / "sets" / "b.rag.yaml")
    first = found.cases[0]
    assert (first.id, first.answers) == ("1", ("At noon.",))
    assert set(first.relevant.values()) == {0, 2}
    assert first.relevant["4983.txt"] == 2
    assert found.pipeline.params == {"corpus": "b"}
    code, said = convert("sets/b.rag.yaml", "--to", "beir", "-o", "back")
    assert code == 0, said
    assert rows_of(tmp_path / "back" / "queries.jsonl") == QUERIES[:2]
    assert (tmp_path / "back" / "qrels" / "test.tsv").read_text() == QRELS
    documents = rows_of(tmp_path / "back" / "corpus.jsonl")
    assert sorted(d["_id"] for d in documents) == [d["_id"] for d in CORPUS]
    assert {d["_id"]: (d["title"], d["text"]) for d in documents} == {
        d["_id"]: (d["title"], d["text"]) for d in CORPUS
    }


def test_a_converted_set_runs_at_once(convert, beir, tmp_path):
    """The documents are indexed by the local pipeline under the ids that gold names."""
    convert("beir", "-o", "b.rag.yaml")
    done = CliRunner().invoke(app, ["run", "b.rag.yaml", "--out", "r.jsonl", "--baseline", "none"])
    assert done.exit_code == 0, done.output
    golds = [row["gold"] for row in rows_of(tmp_path / "r.jsonl")[1:-1]]
    assert all(entry["indexed"] for gold in golds for entry in gold.values())


def test_trec_there_and_back(convert, tmp_path):
    """Topics as SGML, judgements below zero, documents as SGML; back without answers."""
    (tmp_path / "q.txt").write_text("301 0 FT-1 1\n301 0 FT-2 -1\n302 0 FT-2 2\n999 0 FT-1 1\n")
    (tmp_path / "topics").write_text(
        "<top>\n<num> Number: 301\n<title> Organized crime\n<desc> Description:\nWhat?\n</top>\n"
        "<top><num>302</num><title>Polio</title></top>\n<top><num>303<title>None</top>\n"
    )
    (tmp_path / "docs").write_text(
        "<DOC>\n<DOCNO> FT-1 </DOCNO>\n<HEADLINE>Mafia</HEADLINE>\n"
        "<TEXT>\nIt is.\n</TEXT>\n</DOC>\n"
        "<DOC><DOCNO>FT-2</DOCNO><TEXT>Polio is.</TEXT></DOC>\n"
    )
    args = ("q.txt", "--queries", "topics", "--corpus", "docs", "-o", "t.rag.yaml")
    code, said = convert(*args)
    assert code == 0, said
    assert "left out: 1 grades below 0, which became 0" in said
    assert "left out: 1 judged queries that topics does not hold" in said
    found = load(tmp_path / "t.rag.yaml").cases
    assert [(c.id, c.query) for c in found] == [("301", "Organized crime"), ("302", "Polio")]
    assert found[0].relevant == {"FT-1.txt": 1, "FT-2.txt": 0}
    convert("t.rag.yaml", "--to", "trec", "-o", "back")
    assert (tmp_path / "back" / "qrels.txt").read_text() == (
        "301 0 FT-1 1\n301 0 FT-2 0\n302 0 FT-2 2\n"
    )
    assert (tmp_path / "back" / "queries.tsv").read_text() == "301\tOrganized crime\n302\tPolio\n"
    again = ("back/qrels.txt", "--queries", "back/queries.tsv", "--corpus", "back/corpus.jsonl")
    assert convert(*again, "-o", "again.rag.yaml")[0] == 0
    assert [c.relevant for c in load(tmp_path / "again.rag.yaml").cases] == [
        c.relevant for c in found
    ]


def squad():
    """Return a data set in SQuAD 2.0's layout."""
    second = CONTEXT.index("opens", 20)
    asked = [
        {
            "id": "q1",
            "question": "When does it open?",
            "answers": [{"text": "nine", "answer_start": CONTEXT.index("nine")}] * 2,
            "is_impossible": False,
        },
        {
            "id": "q2",
            "question": "What does it do on Mondays?",
            "answers": [{"text": "opens", "answer_start": second}],
            "is_impossible": False,
        },
        {"id": "q3", "question": "Who owns it?", "answers": [], "is_impossible": True},
    ]
    articles = [{"title": "Café", "paragraphs": [{"context": CONTEXT, "qas": asked}]}]
    return {"version": "v2.0", "data": articles}


def test_squad_there_and_back(convert, tmp_path):
    """Spans, repeated answers and impossible questions come back below their paragraph."""
    (tmp_path / "dev.json").write_text(json.dumps(squad(), ensure_ascii=False))
    assert convert("dev.json", "-o", "s.rag.yaml")[0] == 0
    found = load(tmp_path / "s.rag.yaml").cases
    assert [(c.answers, c.answerable) for c in found] == [
        (("nine",), True),
        (("opens",), True),
        ((), False),
    ]
    assert convert("s.rag.yaml", "--to", "squad", "-o", "back")[0] == 0
    assert json.loads((tmp_path / "back" / "squad.json").read_text()) == squad()


def test_ragas_by_its_own_hand(convert, tmp_path, monkeypatch):
    """What ragas writes is read, and it reads what we write."""
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "true")
    from pytest_rag.metrics.ragas import load as load_ragas

    load_ragas()
    from ragas import EvaluationDataset, SingleTurnSample

    made = EvaluationDataset(
        samples=[
            SingleTurnSample(
                user_input="When?",
                reference="At nine.",
                reference_contexts=["It opens at nine.", "Nine it is."],
                response="Ten.",
                retrieved_contexts=["Wrong."],
            ),
            SingleTurnSample(
                user_input="Where?",
                reference="Kotka.",
                reference_contexts=["Nine it is."],
                response="Porto.",
                retrieved_contexts=[],
            ),
        ]
    )
    made.to_jsonl(tmp_path / "r.jsonl")
    made.to_csv(tmp_path / "r.csv")
    for name in ("r.jsonl", "r.csv"):
        target = f"{name.partition('.')[2]}.rag.yaml"
        assert convert(name, "-o", target)[0] == 0
        found = load(tmp_path / target).cases
        assert [(c.query, c.answers, len(c.relevant)) for c in found] == [
            ("When?", ("At nine.",), 2),
            ("Where?", ("Kotka.",), 1),
        ]
    assert convert("jsonl.rag.yaml", "--to", "ragas", "-o", "back")[0] == 0
    back = EvaluationDataset.from_jsonl(tmp_path / "back" / "ragas.jsonl")
    assert [(s.user_input, s.reference, s.reference_contexts) for s in back.samples] == [
        (s.user_input, s.reference, s.reference_contexts) for s in made.samples
    ]


def test_llamaindex_there_and_back(convert, tmp_path):
    """The published layout of `LabelledRagDataset.save_json` comes back value for value."""
    example = {
        "query": "When?",
        "query_by": {"model_name": "gpt-4", "type": "ai"},
        "reference_contexts": ["It opens at nine."],
        "reference_answer": "At nine.",
        "reference_answer_by": {"model_name": "", "type": "human"},
    }
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "rag_dataset.json").write_text(json.dumps({"examples": [example]}))
    assert convert("set", "-o", "l.rag.yaml")[0] == 0
    assert convert("l.rag.yaml", "--to", "llamaindex", "-o", "back")[0] == 0
    back = json.loads((tmp_path / "back" / "rag_dataset.json").read_text())
    assert back == {"examples": [example]}


def test_gold_that_is_a_section_becomes_a_context(convert, tmp_path):
    """A section stays one for layouts of contexts; for the others it becomes its document."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\nFirst.\n\n## Days\nFive days.\n\n## Pay\nLate.\n")
    (tmp_path / "x.rag.yaml").write_text(
        "pipeline: {local: {corpus: docs}}\ncases:\n"
        "  - {id: a, query: How many?, answer: [Five., 5], relevant: {a.md#days: 2, gone.md: 1}}\n"
        "  - {id: b, query: Draft?, reviewed: false}\n"
    )
    code, said = convert("x.rag.yaml", "--to", "ragas", "-o", "r")
    assert (code, rows_of(tmp_path / "r" / "ragas.jsonl")) == (
        0,
        [
            {
                "user_input": "How many?",
                "reference_contexts": ["## Days\nFive days."],
                "reference": "Five.",
            }
        ],
    )
    for what in (
        "1 cases that are not reviewed",
        "1 gold that names no document",
        "1 further refe",
    ):
        assert f"left out: {what}" in said
    code, said = convert("x.rag.yaml", "--to", "trec", "-o", "t")
    assert (tmp_path / "t" / "qrels.txt").read_text() == "a 0 a.md 2\n"
    assert "left out: 1 sections, pages and spans, which became whole documents" in said


@pytest.mark.parametrize(
    ("files", "args", "message"),
    [
        ({}, ("nope", "-o", "x.rag.yaml"), "There is no file or folder 'nope'."),
        ({}, ("nope", "--from", "squad", "-o", "x.rag.yaml"), "no file or folder 'nope'."),
        ({"a.txt": "hello"}, ("a.txt", "-o", "x.rag.yaml"), "a.txt has none of the layouts beir"),
        ({"a.txt": "1 0 d 1"}, ("a.txt", "-o", "x.rag.yaml"), "the file that does: --queries FILE"),
        (
            {"a.txt": "1 0 d 1\n1 0", "q": "1\tq"},
            ("a.txt", "--queries", "q", "-o", "x.rag.yaml"),
            "a.txt:2: A judgement has 3 or 4 columns",
        ),
        (
            {"a.txt": "1 0 d 1\n1 0 d x\n", "q": "1\tq"},
            ("a.txt", "--queries", "q", "-o", "x.rag.yaml"),
            "a.txt:2: The grade 'x' is no whole number.",
        ),
        (
            {"a.txt": "1 0 d 1", "q": "1 q"},
            ("a.txt", "--queries", "q", "-o", "x.rag.yaml"),
            "q:1: A line is an id, a tab and a text.",
        ),
        (
            {"a.json": '{"data": [{"title": "t"}]}'},
            ("a.json", "-o", "x.rag.yaml"),
            "a.json: data[0] has no list under 'paragraphs'.",
        ),
        (
            {"a.json": "[", "b": ""},
            ("a.json", "--from", "squad", "-o", "x.rag.yaml"),
            "is not valid JSON",
        ),
        (
            {"a.jsonl": '{"user_input": "q"}\n{"user_input": ""}\n'},
            ("a.jsonl", "-o", "x.rag.yaml"),
            "a.jsonl:2: There is no text under 'user_input'",
        ),
        (
            {"a.jsonl": '{"user_input": "q"}\n{"user_input": '},
            ("a.jsonl", "-o", "x.rag.yaml"),
            "a.jsonl:2:16: This is not valid JSON",
        ),
        (
            {"a.jsonl": '{"user_input": "q"}'},
            ("a.jsonl", "-o", "x.yaml"),
            "its name must end in .rag.yaml",
        ),
        (
            {"a.txt": "a::b 0 d 1", "q": "a::b\tq"},
            ("a.txt", "--queries", "q", "-o", "x.rag.yaml"),
            "x.jsonl:1: 'id' cannot be 'a::b'.",
        ),
        ({"a.jsonl": "{}"}, ("a.jsonl", "--from", "ragsa", "-o", "x.rag.yaml"), "'ragas'?"),
        ({"x.rag.yaml": "cases: [{id: a, query: q}]"}, ("x.rag.yaml", "-o", "y"), "--to beir"),
        (
            {"x.rag.yaml": "cases: [{id: a, query: q}]"},
            ("x.rag.yaml", "--to", "squad", "-o", "y"),
            "name the documents, --corpus",
        ),
    ],
)
def test_what_cannot_be_converted(convert, tmp_path, files, args, message):
    """One sentence with the place, exit status 2, and nothing is left behind."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = names_in(tmp_path)
    code, said = convert(*args)
    assert code == 2, said
    assert message in said
    assert [name for name in names_in(tmp_path) if name != "y"] == before


def test_nothing_is_replaced(convert, beir, tmp_path):
    """A second conversion to the same place writes nothing."""
    convert("beir", "-o", "b.rag.yaml")
    before = (tmp_path / "b.jsonl").stat().st_mtime_ns
    code, said = convert("beir", "-o", "b.rag.yaml")
    assert (code, "are there already" in said) == (2, True)
    assert (tmp_path / "b.jsonl").stat().st_mtime_ns == before


def test_at_size(convert, data_dir, tmp_path):
    """1,190 German questions on 240 paragraphs go to SQuAD's layout, here and back."""
    documents = rows_of(data_dir / "xquad_de/documents.jsonl")
    below = {d["id"]: [] for d in documents}
    for row in rows_of(data_dir / "xquad_de/queries.jsonl"):
        spot = {"text": row["answer"], "answer_start": row["meta"]["span"][0]}
        entry = {"id": row["id"], "question": row["question"], "answers": [spot]}
        below[next(iter(row["relevant"]))].append({**entry, "is_impossible": False})
    articles = {}
    for d in documents:
        paragraph = {"context": d["text"], "qas": below[d["id"]]}
        articles.setdefault(d["title"], []).append(paragraph)
    data = [{"title": t, "paragraphs": of} for t, of in sorted(articles.items())]
    (tmp_path / "x.json").write_text(json.dumps({"version": "v2.0", "data": data}))
    assert convert("x.json", "-o", "x.rag.yaml")[0] == 0
    assert convert("x.rag.yaml", "--to", "squad", "-o", "back") == (0, "wrote back/squad.json\n")
    back = json.loads((tmp_path / "back" / "squad.json").read_text())
    assert sorted(back["data"], key=lambda a: a["title"]) == data
