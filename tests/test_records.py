"""The run record: every field with its type, whole after a crash, never broken by a later one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_rag import records
from pytest_rag.errors import RecordError
from pytest_rag.git import git
from pytest_rag.records import Result
from pytest_rag.writing import RunWriter

MS = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
COUNT = {"type": ["integer", "null"], "minimum": 0}
AMOUNT = {"type": ["number", "null"], "minimum": 0}
TEXT = {"type": "string", "minLength": 1}
STAGE = {"enum": ["embed", "retrieve", "rerank", "synthesize", "llm", "judge"]}


def closed(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


FINGERPRINT = {"type": ["string", "null"], "minLength": 1}
HEADER = closed(
    kind={"const": "header"},
    schema_version={"const": 1},
    run_id={"type": "string", "pattern": "^[0-9a-f]{32}$"},
    started={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$"},
    git={"anyOf": [{"type": "null"}, closed(commit=FINGERPRINT, dirty={"type": "boolean"})]},
    versions={"type": "object", "required": ["python", "pytest", "pytest-rag"]},
    machine=closed(system=TEXT, machine=TEXT, cpus={"type": "integer"}),
    config={"type": "object"},
    evalsets={
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "cases": {"type": "integer"},
                "mode": {"enum": ["live", "record", "replay"]},
                "concurrency": {"type": "integer", "minimum": 1},
                "fingerprint": closed(
                    cases=TEXT, qrels=TEXT, pipeline=FINGERPRINT, corpus=FINGERPRINT
                ),
            },
            "required": ["cases", "mode", "concurrency", "fingerprint"],
        },
    },
)
NUMBER = {"type": "number", "minimum": 0}
CALL = closed(
    stage=STAGE,
    model=TEXT,
    input_tokens=COUNT,
    cached_input_tokens=COUNT,
    cache_write_tokens=COUNT,
    cache_write_1h_tokens=COUNT,
    output_tokens=COUNT,
    reasoning_tokens=COUNT,
    estimated={"type": "boolean"},
    tier={"type": ["string", "null"]},
    ended={"type": ["string", "null"]},
    cost_usd=AMOUNT,
    latency_ms=NUMBER,
    origin={"enum": ["live", "cache", "cassette"]},
)
SPAN = {
    "type": "array",
    "prefixItems": [{"type": "integer", "minimum": 0}, STAGE, TEXT, NUMBER, NUMBER],
    "minItems": 5,
    "items": False,
}
RESULT = closed(
    kind={"const": "result"},
    evalset=TEXT,
    case=TEXT,
    repeat={"type": "integer", "minimum": 0},
    outcome={"enum": ["passed", "failed", "error", "not_run"]},
    query={"type": "string"},
    reference={"type": "array", "items": {"type": "string"}},
    answer={"type": ["string", "null"]},
    retrieved={
        "type": ["array", "null"],
        "items": closed(
            id=TEXT,
            rank={"type": "integer", "minimum": 1},
            score={"type": ["number", "null"]},
            node=TEXT,
            tokens={"type": ["integer", "null"], "minimum": 0},
            used={"type": ["integer", "null"], "minimum": 0},
        ),
    },
    gold={
        "type": "object",
        "additionalProperties": closed(
            grade={"type": "integer"},
            rank={"type": ["integer", "null"], "minimum": 1},
            indexed={"type": ["boolean", "null"]},
            lost={"type": ["string", "null"]},
        ),
    },
    scores={
        "type": "object",
        "additionalProperties": closed(
            value={"type": ["number", "null"]}, reason={"type": ["string", "null"]}, version=TEXT
        ),
    },
    checks={
        "type": "array",
        "items": {
            "type": "object",
            "required": ["metric", "min", "max", "argument", "value", "passed", "reason"],
            "properties": {"passed": {"type": "boolean"}},
        },
    },
    stages_ms=MS,
    self_ms=MS,
    cpu_ms=MS,
    spans={"type": "array", "items": SPAN},
    latency_ms=AMOUNT,
    wait_ms=AMOUNT,
    calls={"type": "array", "items": CALL},
    input_tokens=COUNT,
    output_tokens=COUNT,
    cost_usd=AMOUNT,
    judge_cost_usd=AMOUNT,
    error={
        "anyOf": [
            {"type": "null"},
            closed(type=TEXT, message=TEXT, traceback={"type": "string"}),
        ]
    },
    tags={"type": "array", "items": TEXT},
    notes={"type": "array", "items": TEXT},
    fingerprint=TEXT,
    min_pass={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
)
FOOTER = closed(
    kind={"const": "footer"},
    ended=TEXT,
    outcomes=closed(**dict.fromkeys(("passed", "failed", "error", "not_run"), COUNT)),
    complete={"type": "boolean"},
    cut_short={"type": "boolean"},
    verdicts={"type": "object", "additionalProperties": {"type": "object"}},
)
BUILDING = closed(evalset=TEXT, number={"type": "integer"}, calls={"type": "array", "items": CALL})
HEADER["properties"]["buildings"] = {"type": "array", "items": BUILDING}  # where models were asked
SCHEMAS = {"header": HEADER, "result": RESULT, "footer": FOOTER}

APP = """
    import os, sys
    sys.path.insert(0, PARTS)
    from llama_parts import ChatLLM, index

    def build():
        engine = index().as_query_engine(llm=ChatLLM(), similarity_top_k=2)

        async def ask(query):
            if query == "break":
                raise OSError("the disk is on fire")
            if query == "key":
                return os.environ["ACME_API_KEY"]
            return await engine.aquery(query)

        return ask
"""
CASES = """
    evalset: mixed
    pipeline: app:build
    cases:
      - {id: good, query: leave, relevant: [leave.md], answer: An answer., tags: [smoke]}
      - {id: poor, query: leave, relevant: [gone.md], checks: {R@5: 1, latency_ms: 60000}}
      - {id: broken, query: break}
      - {id: unkeyed, query: key}
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a record."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "n2"])
def test_every_field_is_there_with_its_type(run_rag, pytester, workers):
    """A run of all four outcomes, read by a schema that allows nothing else."""
    app = APP.replace("PARTS", repr(str(Path(__file__).parent)))
    files = {"app.py": app, "mixed.rag.yaml": CASES}
    run_rag(files, "--rag-out=out/run.jsonl", *workers).assert_outcomes(
        passed=1, failed=1, errors=1, skipped=1
    )
    lines = lines_of(pytester.path / "out" / "run.jsonl")
    for line in lines:
        jsonschema.validate(line, SCHEMAS[line["kind"]])
    assert [line["kind"] for line in lines] == ["header", *["result"] * 4, "footer"]
    found = {line["case"]: line for line in lines[1:-1]}
    assert {case: line["outcome"] for case, line in found.items()} == {
        "good": "passed",
        "poor": "failed",
        "broken": "error",
        "unkeyed": "not_run",
    }
    assert found["good"]["stages_ms"].keys() == {"embed", "retrieve", "synthesize", "llm"}
    assert [call["stage"] for call in found["good"]["calls"]] == ["embed", "llm"]
    assert found["good"]["retrieved"][0]["id"] == "leave.md"
    assert "the disk is on fire" in found["broken"]["error"]["traceback"]
    assert lines[-1]["outcomes"] == {"passed": 1, "failed": 1, "error": 1, "not_run": 1}
    assert lines[-1]["complete"] is True
    assert lines[0]["evalsets"]["mixed"]["cases"] == 4
    assert list((pytester.path / "out").iterdir()) == [pytester.path / "out" / "run.jsonl"]


# --- reading ----------------------------------------------------------------------------------


def result(case: str = "a", **fields: Any) -> Result:
    """Return a result."""
    return Result(**{"evalset": "e", "case": case, "outcome": "passed", "query": "q", **fields})


def written(path: Path, *results: Result, complete: bool = True) -> Path:
    """Write a record."""
    writer = RunWriter(path, records.header({}, path.parent))
    for each in results:
        writer.add(each)
    return writer.close(complete=complete)


def test_the_commit_of_a_run(tmp_path):
    """Null before the first commit, its hash afterwards, and nothing about git outside of it."""
    assert records.header({}, tmp_path)["git"] is None
    git(tmp_path, "init", "-q")
    assert records.header({}, tmp_path)["git"] == {"commit": None, "dirty": False}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    git(tmp_path, *who, "commit", "-qm", "First", "--allow-empty")
    head = git(tmp_path, "rev-parse", "HEAD").stdout.strip()
    (tmp_path / "new").touch()
    assert records.header({}, tmp_path)["git"] == {"commit": head, "dirty": True}


def test_what_is_written_is_read(tmp_path):
    """With whatever a model may answer, lone halves of characters too."""
    texts = ["größe 🎉", "two\nlines\u2028three", "half \ud83d a character", '"quoted" \x00']
    given = [result(str(n), answer=text) for n, text in enumerate(texts)]
    run = records.read(written(tmp_path / "run.jsonl", *given))
    assert list(run.results) == given
    assert run.complete


@pytest.mark.parametrize("cut", [1, 2, 3, 30])
def test_a_torn_last_line_is_dropped(tmp_path, cut):
    """As a crash leaves it, cut in the middle of a character too."""
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path, records.header({}, tmp_path))
    writer.add(result("a"))
    writer.add(result("b", answer="größe 🎉"))
    whole = path.read_bytes()
    position = whole.rindex("🎉".encode())
    path.write_bytes(whole[: position + 4 - cut])
    run = records.read(path)
    assert [r.case for r in run.results] == ["a"]
    assert not run.complete
    writer.close(complete=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "run.jsonl:3: this line is no JSON"),
        ("[1]", "run.jsonl:3: this line is no part of a run record"),
        ('{"kind":"result","case":"x"}', "run.jsonl:3: a result without evalset, outcome, query"),
        (b'{"kind":"\xff"}', "run.jsonl:3: this line is no JSON"),
    ],
)
def test_a_line_broken_in_the_middle_is_refused(tmp_path, line, message):
    """No crash leaves that, so it is said where it is."""
    path = written(tmp_path / "run.jsonl", result("a"), result("b"))
    lines = path.read_bytes().split(b"\n")
    lines[2] = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RecordError, match=message):
        records.read(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("self_ms", {"llm": "x"}, "'self_ms.llm' is 'x': input should be a valid number"),
        ("latency_ms", "5", "'latency_ms' is '5': input should be a valid number"),
        ("spans", [[1]], r"'spans.0' is \[1\]: list should have at least 5 items"),
        ("scores", {"R@5": 1.0}, "'scores.R@5' is 1.0: input should be a valid dictionary"),
        ("retrieved", [{"rank": 1}], "'retrieved.0.id' is .*: field required"),
        ("checks", [{"metric": "R@5"}], "'checks.0.passed' is .*: field required"),
        ("repeat", True, "'repeat' is True: input should be a valid integer"),
        ("error", "boom", "'error' is 'boom': input should be a valid dictionary"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path, key, value, message):
    """Somebody edited it; the line, the key and what is wrong are told, also of a stream."""
    path = written(tmp_path / "run.jsonl", result("a"), result("b"))
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {key: value})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordError, match=f"run.jsonl:3: {message}"):
        records.read(path)
    with pytest.raises(RecordError, match=f"run.jsonl:3: {message}"):
        list(records.stream(path, "e")[1])


def test_a_newer_record_is_refused(tmp_path):
    """Whatever else it holds; the message says what to type."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind":"header","schema_version":2}\n{"kind":"result","new":1}\n')
    with pytest.raises(RecordError, match=r"schema_version 2.*pip install -U pytest-rag"):
        records.read(path)


@pytest.mark.parametrize("text", ["", "\n", "hello\n", '{"kind":"result"}\n'])
def test_what_is_no_record_is_refused(tmp_path, text):
    """An empty file, another file, a record without its head."""
    path = tmp_path / "run.jsonl"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"run\.jsonl"):
        records.read(path)
    with pytest.raises(RecordError, match="cannot be read"):
        records.read(tmp_path / "none.jsonl")


def test_the_last_result_of_a_case_counts(tmp_path):
    """A rerun's result takes the place of the first, keys of a later version are left out."""
    path = written(tmp_path / "run.jsonl", result("a", outcome="failed"), result("a"))
    assert [r.outcome for r in records.read(path).results] == ["passed"]
    text = path.read_text().replace('"kind":"result"', '"kind":"result","later":1')
    path.write_text(text)
    assert records.read(path).results[0].case == "a"


# --- writing ----------------------------------------------------------------------------------


def test_lines_are_on_disk_as_they_are_made(tmp_path):
    """A crash after the second result leaves two."""
    path = tmp_path / "run.jsonl"
    writer = RunWriter(path, records.header({}, tmp_path))
    for number in range(2):
        writer.add(result(str(number)))
        assert len(records.read(path).results) == number + 1
    writer.close(complete=True)


def test_a_failing_replacement_keeps_the_old_record(tmp_path, monkeypatch):
    """The old one is whole, the new lines lie beside it, no temporary file is left."""
    path = written(tmp_path / "run.jsonl", result("old"))
    writer = RunWriter(path, records.header({}, tmp_path))
    writer.add(result("new"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", _refuse)
        patch.setattr(Path, "replace", _refuse)
        with pytest.raises(OSError, match="no space"):
            writer.close(complete=True)
    assert [r.case for r in records.read(path).results] == ["old"]
    part = tmp_path / "run.jsonl.part"
    assert [r.case for r in records.read(part).results] == ["new"]
    assert set(tmp_path.iterdir()) == {path, part}


def _refuse(*args: object) -> None:
    raise OSError("no space left on device")


def test_an_unfinished_record_is_kept(tmp_path):
    """What a killed run had paid for moves aside, however often that happens."""
    path = tmp_path / "run.jsonl"
    for number in range(3):
        writer = RunWriter(path, records.header({}, tmp_path))
        writer.add(result(str(number)))
        writer._file.close()  # as a kill leaves it: no footer, no lock
    assert [r.case for r in records.read(path).results] == ["2"]
    kept = sorted(tmp_path.glob("*.unfinished*"))
    assert [records.read(each).results[0].case for each in kept] == ["0", "1"]


@pytest.mark.parametrize("first", [0, 1], ids=["in order", "crossed"])
def test_two_runs_at_once_lose_nothing(tmp_path, first):
    """Each has a record of its own in the end, whichever ends first."""
    path = tmp_path / "run.jsonl"
    writers = [RunWriter(path, records.header({}, tmp_path)) for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.add(result(str(number)))
    ended = [writers[n].close(complete=True) for n in (first, 1 - first)]
    assert len(set(ended)) == 2
    assert {records.read(each).results[0].case for each in ended} == {"0", "1"}
    assert all(records.read(each).complete for each in ended)


def test_a_link_is_followed(tmp_path):
    """The record lies where the link points, and the link stays one."""
    target = written(tmp_path / "target.jsonl", result("old"))
    link = tmp_path / "link.jsonl"
    link.symlink_to(target)
    written(link, result("new"))
    assert link.is_symlink()
    assert [r.case for r in records.read(target).results] == ["new"]


def test_a_killed_run_leaves_the_earlier_record_alone(run_rag, pytester):
    """What it had paid for lies beside it."""
    app = """
        import os
        def build():
            def ask(query):
                if query == "kill":
                    os._exit(9)
                return "x"
            return ask
    """
    cases = "pipeline: app:build\ncases:\n  - {id: a, query: q}\n  - {id: b, query: QUERY}\n"
    args = ("--rag-out=run.jsonl", "--rag-concurrency=1")
    run_rag({"app.py": app, "a.rag.yaml": cases.replace("QUERY", "q")}, *args)
    before = (pytester.path / "run.jsonl").read_bytes()
    run_rag({"a.rag.yaml": cases.replace("QUERY", "kill")}, *args, apart=True)
    assert (pytester.path / "run.jsonl").read_bytes() == before
    run_rag({"a.rag.yaml": cases.replace("QUERY", "q")}, *args).assert_outcomes(passed=2)
    assert records.read(pytester.path / "run.jsonl").complete
    assert not (pytester.path / "run.jsonl.part").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_written(tmp_path, value):
    """NaN is not JSON."""
    with pytest.raises(ValueError, match="JSON compliant"):
        records.dumps(result(latency_ms=value).to_dict())


@pytest.mark.parametrize(
    "returned",
    [
        '{"answer": "x", "retrieved": [{"id": "a", "score": NAN}]}',
        '{"answer": "x", "retrieved": [{"id": "a", "score": -INF}]}',
        '{"answer": "x", "usage": {"cost_usd": INF}}',
        '{"answer": "x", "usage": {"input_tokens": 1.5}}',
        "[NodeWithScore(node=TextNode(text='x'), score=NAN)]",
    ],
)
def test_a_pipeline_that_returns_what_is_no_number(run_rag, pytester, returned):
    """That case is an error, and the run goes on to its end."""
    app = f"""
        from llama_index.core.schema import NodeWithScore, TextNode
        NAN, INF = float("nan"), float("inf")

        def build():
            return lambda query: {returned} if query == "bad" else "x"
    """
    cases = "pipeline: app:build\ncases:\n  - {id: a, query: bad}\n  - {id: b, query: q}\n"
    result = run_rag({"app.py": app, "a.rag.yaml": cases}, "--rag-out=run.jsonl")
    result.assert_outcomes(passed=1, errors=1)
    assert records.read(pytester.path / "run.jsonl").complete


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_record_has_the_permissions_of_any_new_file(tmp_path):
    """Not those of a temporary one."""
    plain = tmp_path / "plain"
    plain.touch()
    assert written(tmp_path / "run.jsonl", result()).stat().st_mode == plain.stat().st_mode


def test_a_stream_tells_what_reading_tells(tmp_path: Path) -> None:
    """One evalset's results, the last of each repeat, in order; a torn line is dropped."""
    made = [
        Result(evalset=name, case=case, repeat=n, outcome="passed", query=f"{turn}?")
        for turn in range(2)
        for name, case, n in (("a", 'q"1', 0), ("b", "x", 0), ("a", "ü", 0), ("a", "ü", 1))
    ]
    head = records.header({}, tmp_path)
    lines = [head, *(each.to_dict() for each in made)]
    path = tmp_path / "run.jsonl"
    text = "".join(records.dumps(line) + "\n" for line in lines)
    path.write_text(text + records.dumps(made[2].to_dict())[:40], encoding="utf-8")
    found, results = records.stream(path, "a")
    whole = [each for each in records.read(path).results if each.evalset == "a"]
    assert found == head
    assert list(results) == whole
    assert {each.query for each in whole} == {"1?"}
