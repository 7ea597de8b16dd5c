"""What happens when something breaks: the right outcome, the user's traceback, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

GOOD = {
    "good.py": "def build():\n    return lambda query: 'yes'\n",
    "good.rag.yaml": "pipeline: good:build\ncases: [{id: ok, query: q, checks: {contains: 'yes'}}]",
}


def files(app: str, *cases: str, pipeline: str = "app:build") -> dict[str, str]:
    """Return a pipeline module and an evalset of cases over it."""
    lines = "".join(f"  - {case}\n" for case in cases or ("{id: a, query: q}", "{id: b, query: q}"))
    return {"app.py": app, "bad.rag.yaml": f"pipeline: {pipeline}\ncases:\n{lines}"}


def results(pytester: pytest.Pytester) -> list[dict]:
    """Return the results in the run record."""
    lines = (pytester.path / "run.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "result"]


@pytest.mark.parametrize(
    ("pipeline", "app", "message"),
    [
        ("nowhere:build", "", "*There is no module 'nowhere' for the pipeline*"),
        ("app:biuld", "def build(): ...", "*app has no 'biuld'. Did you mean 'build'?*"),
        ("app:build", "import nonexistent_thing", "*No module named 'nonexistent_thing'*"),
        ("app:build", "def build():\n    return 42", "*int 42 is no pipeline*"),
        ("app:build", "def build():\n    return [1]", "*list * is no pipeline*"),
        ("app:build", "def build(query):\n    return 'x'", "*`pipeline` names a factory*"),
        ("app:build", "def build():\n    return lambda: 'x'", "*takes the query*"),
        (
            "{factory: 'app:build', params: {topk: 5}}",
            "def build(top_k=3): ...",
            "*Did you mean 'top_k'?*",
        ),
        ("app:build", "def build():\n    raise OSError('disk on fire')", "*OSError: disk on fire*"),
    ],
)
def test_a_factory_that_fails(run_rag, pytester, pipeline, app, message):
    """The cases of that evalset are errors, told once; the other evalset runs; exit status 1."""
    result = run_rag({**GOOD, **files(app, pipeline=pipeline)}, "--rag-out=run.jsonl")
    result.assert_outcomes(passed=1, errors=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([message])
    assert {r["case"]: r["outcome"] for r in results(pytester)} == {
        "ok": "passed",
        "a": "error",
        "b": "error",
    }


def test_the_factorys_own_traceback_is_shown_once(run_rag):
    """The first case shows the user's lines; the second only says that it is the same."""
    app = "def helper():\n    raise OSError('disk on fire')\n\ndef build():\n    return helper()\n"
    result = run_rag(files(app))
    text = result.stdout.str()
    assert text.count("in helper") == 1
    assert "pytest_rag/" not in text.split("ERRORS", 1)[-1].split("RAG evaluation")[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ZeroDivisionError('by zero')", "*ZeroDivisionError: by zero*"),
        ("return None", "*The pipeline returned NoneType None*"),
        ("return 42", "*The pipeline returned int 42*"),
        ("return {'anwser': 'x'}", "*has a key 'anwser'. Did you mean 'answer'?*"),
        ("return {'answer': 3}", "*'answer' of the pipeline's answer is 3*"),
        ("return {'answer': 'x', 'retrieved': [{'score': 1}]}", "*retrieved?0?*has no 'id'*"),
        ("return {'answer': 'x', 'retrieved': 'a.md'}", "*'retrieved'*no list*"),
        ("return {'answer': 'x', 'usage': {'tokens': 3}}", "*'usage'*has a key 'tokens'*"),
        ("import sys; sys.exit(3)", "*SystemExit(3)*would have ended everything*"),
        ("raise KeyboardInterrupt", "*KeyboardInterrupt()*would have ended everything*"),
        ("raise StopIteration", "*StopIteration*"),
        ("raise GeneratorExit", "*GeneratorExit*"),
        ("raise type('Rude', (BaseException,), {})('bye')", "*Rude(bye)*"),
        ("raise type('Mute', (Exception,), {'__str__': lambda s: 1 / 0})()", "*Mute*"),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_pipeline_that_fails_in_one_case(run_rag, kind, body, message):
    """Only that case is an error; the others have their answers."""
    app = f"""
def build():
    {kind} ask(query):
        if query == "bad":
            {body}
        return "yes"
    return ask
"""
    cases = ("{id: a, query: fine}", "{id: b, query: bad}", "{id: c, query: fine}")
    result = run_rag(files(app, *cases))
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize(
    "wait",
    [
        "def ask(query):\n        time.sleep(600 if query == 'bad' else 0)",
        "async def ask(query):\n        await asyncio.sleep(600 if query == 'bad' else 0)",
        "async def ask(query):\n        time.sleep(600 if query == 'bad' else 0)",
        (
            "async def late(query):\n        await asyncio.sleep(600 if query == 'bad' else 0)\n"
            "        return 'yes'\n    def ask(query):\n        return late(query)"
        ),
    ],
    ids=["thread", "awaiting", "blocking the loop", "handing on"],
)
def test_a_pipeline_that_hangs(run_rag, wait):
    """After ``timeout_s`` the case is an error, the rest goes on, and Python can end."""
    app = f"import asyncio, time\ndef build():\n    {wait}\n        return 'yes'\n    return ask\n"
    cases = ("{id: a, query: bad, timeout_s: 0.5}", "{id: b, query: fine}", "{id: c, query: fine}")
    started = time.monotonic()
    result = run_rag(files(app, *cases), "--rag-concurrency=1", apart=True)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*no answer within timeout_s: 0.5*"])
    assert time.monotonic() - started < 60


def test_nothing_retrieved_scores_nought(run_rag, pytester):
    """An empty list of documents is a score of 0, not an exception and not a missing score."""
    app = "def build():\n    return lambda query: {'answer': 'x', 'retrieved': []}\n"
    case = "{id: a, query: q, relevant: [a.md], checks: {R@5: 0.5}}"
    result = run_rag(files(app, case), "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1)
    assert results(pytester)[0]["scores"]["R@5"]["value"] == 0.0


def test_what_is_not_told_is_no_score(run_rag, pytester):
    """A pipeline that does not say what it retrieved has no recall, and the floor is not met."""
    app = "def build():\n    return lambda query: 'x'\n"
    case = "{id: a, query: q, relevant: [a.md], checks: {R@5: 0}}"
    result = run_rag(files(app, case), "--rag-out=run.jsonl")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*R@5 could not be measured*does not tell what it retrieved*"])
    assert results(pytester)[0]["scores"]["R@5"]["value"] is None


@pytest.mark.parametrize(
    "app",
    [
        "import os\ndef build():\n    return os.environ['ACME_API_KEY']\n",
        "def build():\n    raise ValueError('No API key found. Please set ACME_API_KEY')\n",
        "import os\ndef build():\n    return lambda query: os.environ['ACME_API_KEY']\n",
    ],
    ids=["environ", "message", "at the first question"],
)
def test_a_missing_key_is_not_run_and_not_green(run_rag, pytester, app, monkeypatch):
    """Cases that want a key are skipped with the reason; a run of nothing else is not green."""
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    result = run_rag(files(app), "--rag-out=run.jsonl")
    result.assert_outcomes(skipped=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert [r["outcome"] for r in results(pytester)] == ["not_run", "not_run"]
    text = result.stdout.str()
    assert "Traceback" not in text
    assert text.count("ACME_API_KEY is not set") <= 2
    result.stdout.fnmatch_lines(["*nothing was measured*"])


def test_a_missing_key_leaves_the_rest_green(run_rag, monkeypatch):
    """Where something was measured and passed, cases for want of a key are only skipped."""
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    app = "import os\ndef build():\n    return os.environ['ACME_API_KEY']\n"
    result = run_rag({**GOOD, **files(app)})
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == pytest.ExitCode.OK


def test_a_missing_key_in_the_fixture(run_rag, monkeypatch):
    """A ``rag_pipeline`` fixture that wants a key is no error either."""
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    conftest = """
        import os, pytest
        @pytest.fixture(scope="session")
        def rag_pipeline():
            return os.environ["ACME_API_KEY"]
    """
    result = run_rag({"conftest.py": conftest, "a.rag.yaml": "cases: [{id: a, query: q}]"})
    result.assert_outcomes(skipped=1)


def test_no_pipeline_at_all(run_rag):
    """An evalset without a pipeline, in a project without the fixture, says what to do."""
    result = run_rag({"a.rag.yaml": "cases: [{id: a, query: q}]"})
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Add `pipeline: package.module:factory`*rag_pipeline*"])


def test_forbidden_documents(run_rag):
    """A document that must not be retrieved fails the case, by name or glob."""
    app = (
        "def build():\n    return lambda q: {'answer': 'x', 'retrieved': [{'id': 'drafts/a.md'}]}\n"
    )
    cases = ("{id: a, query: q, forbidden: ['drafts/*']}", "{id: b, query: q, forbidden: [x.md]}")
    result = run_rag(files(app, *cases))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*drafts/a.md*"])


def test_gold_that_the_index_does_not_hold(run_rag, pytester):
    """A wrong label is told apart from a miss, with the setting that would mend it."""
    app = """
        from llama_index.core import Document, MockEmbedding, VectorStoreIndex

        def build():
            page = Document(text="Five days carry over.", metadata={"file_name": "leave.md"})
            index = VectorStoreIndex.from_documents([page], embed_model=MockEmbedding(4))
            return index.as_retriever()
    """
    case = "{id: a, query: q, relevant: [leave.md, gone.md], checks: {R@5: 0.5}}"
    result = run_rag(files(app, case), "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert "gone.md (1) not in the index" in text
    assert 'write document_key = "file_name" in [tool.pytest-rag]' in text
    lost = {"grade": 1, "rank": None, "indexed": False, "lost": "not in the index"}
    assert results(pytester)[0]["gold"]["leave.md"] == lost
    setting = '[tool.pytest-rag]\ndocument_key = "file_name"\n'
    run_rag({"pyproject.toml": setting}).assert_outcomes(passed=1)


def test_an_unknown_cost_passes_no_ceiling(run_rag):
    """A cost that nobody knows is not zero: the check could not be made."""
    app = "def build():\n    return lambda q: 'x'\n"
    result = run_rag(files(app, "{id: a, query: q, checks: {cost_usd: 1}}"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*cost_usd could not be measured*"])


def test_an_unknown_price_says_which_line_to_add(run_rag):
    """A model without a price names itself and the line for pyproject.toml; the line helps."""
    app = """
        def build():
            usage = {"model": "acme-1", "input_tokens": 1000, "output_tokens": 100}
            return lambda q: {"answer": "x", "usage": usage}
    """
    given = files(app, "{id: a, query: q, checks: {cost_usd: 0.002}}")
    result = run_rag(given)
    result.assert_outcomes(errors=1)
    text = " ".join(result.stdout.str().split())
    assert 'add "acme-1" = {input = …, output = …} to [tool.pytest-rag.prices]' in text
    prices = '[tool.pytest-rag.prices]\n"acme-1" = {input = 1.0, output = 5.0}\n'
    run_rag({**given, "pyproject.toml": prices}).assert_outcomes(passed=1)


def test_a_wrong_setting_is_told(run_rag):
    """A misspelt key in pyproject.toml names the nearest right one."""
    given = {**GOOD, "pyproject.toml": "[tool.pytest-rag]\nconcurency = 3\n"}
    result = run_rag(given)
    assert result.ret != 0
    text = result.stdout.str() + result.stderr.str()
    assert "Unknown key 'concurency'" in text
    assert "Did you mean 'concurrency'?" in text


def test_an_interrupt_keeps_what_is_there(pytester):
    """Ctrl-C in mid-run ends at once; the record holds what was answered and says it is partial."""
    app = """
import time
def build():
    def ask(query):
        if query == "slow":
            open("slow.txt", "w").close()
            time.sleep(600)
        return "yes"
    return ask
"""
    cases = ("{id: a, query: fast}", "{id: b, query: slow}", "{id: c, query: fast}")
    for name, text in files(app, *cases).items():
        (pytester.path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "--rag-concurrency=1", "--rag-out=run.jsonl"]
    process = subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while not (pytester.path / "slow.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # until pytest waits for the answer and does nothing else
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert [r["case"] for r in results(pytester)] == ["a"]
    footer = json.loads((pytester.path / "run.jsonl").read_text().splitlines()[-1])
    assert footer["complete"] is False


@pytest.mark.parametrize("concurrency", ["1", "4"])
@pytest.mark.parametrize(
    "body",
    [
        "[t.cancel() for t in asyncio.all_tasks() if t is not asyncio.current_task()]",
        "[t.cancel() for t in asyncio.all_tasks()]; await asyncio.sleep(0)",
        "asyncio.get_running_loop().stop()",
    ],
    ids=["siblings", "all", "stop"],
)
def test_a_pipeline_that_turns_on_the_event_loop(run_rag, pytester, body, concurrency):
    """What a pipeline cancels or stops is an error at worst, never a hang and never green."""
    app = f"""
import asyncio

def build():
    async def ask(query):
        await asyncio.sleep(0.05)
        if query == "bad":
            {body}
        return "yes"
    return ask
"""
    cases = ("{id: a, query: fine}", "{id: b, query: bad}", "{id: c, query: fine}")
    result = run_rag(files(app, *cases), f"--rag-concurrency={concurrency}", "--rag-out=run.jsonl")
    assert len(results(pytester)) == 3
    outcomes = [r["outcome"] for r in results(pytester)]
    assert set(outcomes) <= {"passed", "error"}
    assert result.ret == (1 if "error" in outcomes else 0)


@pytest.mark.parametrize(
    ("fixture", "message"),
    [
        ('@pytest.fixture(scope="module")\ndef', 'scope="session", "package" or "function"'),
        ('@pytest.fixture(scope="session", params=[1, 2])\ndef', "is parametrised"),
        ('@pytest.fixture(scope="session")\nasync def', "is asynchronous"),
    ],
    ids=["module", "params", "async"],
)
def test_a_fixture_that_a_yaml_case_cannot_have(run_rag, pytester, fixture, message):
    """Each case is an error that says what to write instead, and all are recorded."""
    conftest = f"import pytest\n\n{fixture} rag_pipeline():\n    return lambda query: 'yes'\n"
    cases = "cases: [{id: a, query: q}, {id: b, query: q}]"
    result = run_rag({"conftest.py": conftest, "a.rag.yaml": cases}, "--rag-out=run.jsonl")
    result.assert_outcomes(errors=2)
    assert message in " ".join(result.stdout.str().split())
    assert [r["outcome"] for r in results(pytester)] == ["error", "error"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("app.py", "is no run record, and was left as it is"),
        (".", "is a folder"),
        ("app.py/run.jsonl", "is no folder one may write in"),
        ("pipe", "is no regular file"),
    ],
)
def test_a_place_no_record_can_go(run_rag, pytester, out, message):
    """What ``--rag-out`` names is looked at first; nothing is run and nothing is overwritten."""
    os.mkfifo(pytester.path / "pipe")
    given = {"app.py": "def build():\n    return lambda query: 'yes'\n"}
    case = "pipeline: app:build\ncases: [{id: a, query: q}]"
    result = run_rag({**given, "a.rag.yaml": case}, f"--rag-out={out}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert (pytester.path / "app.py").read_text() == given["app.py"]
