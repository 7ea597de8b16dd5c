"""Cases from JSONL and CSV files."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest

from pytest_rag.errors import EvalSetError
from pytest_rag.evalset import load
from pytest_rag.types import Case, Limit

MAPPED = ", map: {query: question}"


@pytest.fixture
def bulk(tmp_path):
    """Write a bulk file and an evalset that reads it; return what loads."""

    def read(content, name="q.jsonl", keys="", top=""):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        path = tmp_path / "x.rag.yaml"
        path.write_text(f"cases_from: {{path: {name}{keys}}}\n{top}")
        return load(path)

    return read


@pytest.fixture
def said(bulk, tmp_path):
    """Return place and message of every problem, with the bulk file's name."""

    def read(*args, **kwargs):
        with pytest.raises(EvalSetError) as caught:
            bulk(*args, **kwargs)
        found = [(p.path.removeprefix(f"{tmp_path}/"), p) for p in caught.value.problems]
        return [(name, p.line, p.column, p.message) for name, p in found]

    return read


def test_a_shared_data_set(bulk, tmp_path):
    """The usual layout loads with its question mapped to our query."""
    row = {
        "id": "1",
        "question": "why",
        "answer": "because",
        "relevant": {"184": 3, "29": 0},
        "answerable": True,
        "meta": {"corpus": "x"},
    }
    found = bulk(json.dumps(row), keys=MAPPED)
    assert found.cases == (
        Case(
            id="1",
            query="why",
            answers=("because",),
            relevant={"184": 3, "29": 0},
            path=tmp_path / "q.jsonl",
            line=1,
        ),
    )


def test_defaults_and_order(bulk):
    """Rows follow the inline cases, and the defaults hold for them."""
    top = "cases: [{id: first, query: q}]\ndefaults: {checks: {calls: 2}, repeat: 3}\n"
    found = bulk('{"id": 7, "query": "q", "relevant": [184]}\n\n', top=top).cases
    assert [case.id for case in found] == ["first", "7"]
    assert found[1].relevant == {"184": 1}
    assert (found[1].checks, found[1].repeat) == ((Limit(metric="calls", max=2.0),), 3)


def test_missing_values_are_missing_keys(bulk):
    """Null and an empty text in a row mean that the key is not given."""
    row = '{"id": "a", "query": "q", "answer": "", "relevant": null, "answerable": false}'
    assert bulk(row).cases[0].answers == ()


def test_several_files(tmp_path):
    """A list reads one file after the other; paths begin at the evalset's folder."""
    (tmp_path / "a.jsonl").write_text('{"id": "a", "query": "q"}')
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "x.rag.yaml"
    path.write_text("cases_from: [{path: ../a.jsonl}, {path: b.csv}]")
    (tmp_path / "sub" / "b.csv").write_text("id,query\nb,q\n")
    assert [case.id for case in load(path).cases] == ["a", "b"]


def test_csv(bulk):
    """A CSV cell holds text, ids between semicolons, or JSON; rows may span lines."""
    text = (
        "\ufeffid,question,answer,relevant,answerable,tags,repeat,filters,note\r\n"
        '1,"Why,\nthough?",0.50,a.md; b.md,TRUE,hr,2,"{""lang"": ""en""}",x\r\n'
        '2,Who?,,,false,,,,\r\n3,What?,"[x]","{""a"": 2}",,,,,\r\n'
    )
    found = bulk(text, name="q.csv", keys=", map: {query: question}, ignore: [note]").cases
    assert found[0].query == "Why,\nthough?"
    assert (found[0].answers, found[0].relevant) == (("0.50",), {"a.md": 1, "b.md": 1})
    assert (found[0].tags, found[0].repeat, found[0].filters) == (("hr",), 2, {"lang": "en"})
    assert (found[1].answerable, found[1].line) == (False, 4)
    assert (found[2].relevant, found[2].answers) == ({"a": 2}, ("[x]",))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": }', "This is not valid JSON: Expecting value."),
        (b"[1]", "A line must be an object, not [1]."),
        (b'{"id": "b", "id": "c"}', "Key 'id' is given twice. Remove one."),
        (b'{"id": NaN}', "NaN is not a finite number."),
        (b'{"id": 1e999}', "'1e999' is not a finite number."),
        (b'{"id": ' + b"9" * 5000 + b"}", "The line holds a number that is too large."),
        (b"[" * 100_000, "The line is nested too deeply."),
        (b'{"id": "\xff"}', "Byte b'\\xff' is not UTF-8."),
        (b'{"id": "\\ud800", "query": "q"}', "'id' holds half of a surrogate pair"),
        (b'{"id": "b"}', "A row has no 'query'; it needs one."),
        (b'{"id": "a", "query": "q"}', "Id 'a' is taken by the case in line 1."),
        (b'{"id": "b", "query": "q", "repeat": "2"}', "'repeat' must be a whole number, not '2'."),
        (
            b'{"id": "b", "query": "q", "timeout_s": 1' + b"0" * 400 + b"}",
            "'timeout_s' must be",
        ),
        (b'{"id": "b", "qeury": "q"}', "Unknown column 'qeury'. Did you mean 'query'? Or map it"),
        (b'{"id": "b", "query": "q", "checks": {"R@5": 1}}', "Check 'R@5' cannot be computed"),
    ],
)
def test_a_line_that_is_wrong(said, line, message):
    """A bad line of JSONL is told with the number it has in its own file."""
    name, number, _, text = said(b'{"id": "a", "query": "q"}\n' + line)[0]
    assert (name, number) == ("q.jsonl", 2)
    assert text.startswith(message)


def test_the_name_of_the_column(said):
    """A message names the column of the file, not our key for it."""
    [(_, _, _, text)] = said('{"id": "a", "question": []}', keys=MAPPED)
    assert text == "'question' must be a text, not []."


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("id,query\na\n", 2, "The row has 1 cells, the header 2."),
        ("id,query,query\n", 1, "Column 'query' stands twice in the header."),
        ("id,\n", 1, "Column 2 has no name in the header."),
        ('id,query\na,b\n"c"d,e\n', 3, "This is not valid CSV: "),
        ('id,query\na,"b\n', 2, "This is not valid CSV: unexpected end of data."),
        ("id,query,answerable\na,b,maybe\n", 2, "'answerable' must be true or false"),
        ("id,query,note\na,b,c\n", 2, "Unknown column 'note'."),
        ("id,query\n", 1, "The file holds no case."),
        ("", 1, "The file holds no case."),
        (f"id,query\na,{'x' * 200_000}\n", 2, "This is not valid CSV: field larger"),
    ],
)
def test_csv_that_is_wrong(said, text, line, message):
    """A bad row of CSV is told with the line it begins in."""
    name, number, _, found = said(text, name="q.csv")[0]
    assert (name, number) == ("q.csv", line)
    assert found.startswith(message)


def test_a_line_without_an_end(said, tmp_path):
    """A gigabyte without a line break is given up after the first mebibyte."""
    with (tmp_path / "big.jsonl").open("wb") as file:
        os.truncate(file.fileno(), 1 << 30)
    path = tmp_path / "big.rag.yaml"
    path.write_text("cases_from: {path: big.jsonl}")
    tracemalloc.start()
    with pytest.raises(EvalSetError, match="1: The line is longer than 1,048,576 bytes"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_reading_stops_when_too_much_is_wrong(said):
    """A file of another format does not fill memory with problems."""
    found = said("no\n" * 5000)
    assert len(found) <= 1001


def test_inline_and_bulk_ids_clash(said):
    """An id is unique over all files of a set."""
    found = said('{"id": "a", "query": "q"}', top="cases: [{id: a, query: q}]\n")
    assert found[0][3].endswith("x.rag.yaml:2.")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, r":1:20: 'q.jsonl' is not a regular file\."),
        (os.mkdir, r":1:20: 'q.jsonl' is a folder\. Write it as {dataset: q.jsonl}\."),
    ],
)
def test_what_is_no_regular_file(tmp_path, make, message):
    """A pipe that nobody writes to, and a folder, are refused before they are opened."""
    make(tmp_path / "q.jsonl")
    path = tmp_path / "x.rag.yaml"
    path.write_text("cases_from: {path: q.jsonl}")
    with pytest.raises(EvalSetError, match=message):
        load(path)
