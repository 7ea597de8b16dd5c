"""Secrets never enter a record: not by an answer, an error or a setting."""

from __future__ import annotations

import pytest

from pytest_rag import records
from pytest_rag.redact import redact

KEY = "sk-proj-abcdefghijklmnopqrstuvwx0123456789"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"my key is {KEY}.", "my key is [redacted]."),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: [redacted]"),
        ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': '[redacted]'}"),
        ("sent Bearer abc.def-ghi_jkl", "sent Bearer [redacted]"),
        ("https://x.org/?api_key=abcdef&q=1", "https://x.org/?api_key=[redacted]&q=1"),
        ("redis://user:hunter22@host:6379/0", "redis://[redacted]@host:6379/0"),
        ('{"api-key": "0123456789"}', '{"api-key": "[redacted]"}'),
    ],
)
def test_what_looks_like_a_secret_is_gone(text, left):
    """Wherever it stands, and nothing else is."""
    assert redact(text) == left
    assert redact({"a": [{"b": (text, 1, None)}]}) == {"a": [{"b": [left, 1, None]}]}


@pytest.mark.parametrize(
    "text",
    [
        "How do I rotate an API key?",
        "Bearer of bad news",
        "The token limit is 4096.",
        "task-force-of-the-second-kind",
        "See https://x.org/a:b@c",
        "ski-resort",
    ],
)
def test_ordinary_text_is_left_alone(text):
    """Words about secrets are none."""
    assert redact(text) == text


def test_values_of_the_environment_are_secrets(monkeypatch):
    """By the variable's name; short values would take words out of every text."""
    monkeypatch.setenv("ACME_API_KEY", "correct horse battery")
    monkeypatch.setenv("ACME_TOKEN", "yes")
    monkeypatch.setenv("ACME_REGION", "frankfurt-am-main")
    assert redact("correct horse battery") == "[redacted]"
    assert redact("yes, in frankfurt-am-main") == "yes, in frankfurt-am-main"


def test_settings_in_the_header_are_redacted(tmp_path):
    """A key typed into a setting is not kept."""
    head = records.header({"cache": f"redis://:{KEY}@host", "key": KEY}, tmp_path)
    assert KEY not in records.dumps(head)


def test_a_run_writes_no_secret(run_rag, pytester, monkeypatch):
    """A pipeline that answers with a key, breaks with one and finds one writes none of them."""
    monkeypatch.setenv("ACME_SECRET", "correct-horse-battery")
    app = f"""
        import os
        KEY = "sk-proj-" + "{KEY[8:]}"
        SECRET = os.environ["ACME_SECRET"]

        def build():
            def ask(query):
                if query == "break":
                    raise ConnectionError(f"Authorization: Bearer {{KEY}} refused")
                found = [{{"id": "a.md", "score": 1, "text": KEY, "node": KEY}}]
                return {{"answer": f"{{KEY}} and {{SECRET}}", "retrieved": found}}
            return ask
    """
    cases = """
        pipeline: app:build
        cases:
          - {id: a, query: q, relevant: [a.md], checks: {contains: nothing}}
          - {id: b, query: break}
    """
    result = run_rag({"app.py": app, "a.rag.yaml": cases}, "--rag-out=run.jsonl")
    result.assert_outcomes(failed=1, errors=1)
    written = (pytester.path / "run.jsonl").read_text()
    assert KEY not in written
    assert "correct-horse-battery" not in written
    assert written.count("[redacted]") >= 3


def test_no_secret_is_shown(run_rag, pytester, monkeypatch):
    """Neither the terminal nor JUnit's file nor the record holds a key, raised or answered."""
    key = "correct-horse-battery-staple"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    app = """
        import os

        def build():
            def ask(query):
                said = "it is " + os.environ["OPENAI_API_KEY"]
                if query == "raise":
                    raise ValueError(said)
                return {"answer": said, "retrieved": [{"id": said}]}
            return ask
        """
    cases = """
        pipeline: app:build
        cases:
          - {id: a, query: raise}
          - {id: b, query: say, relevant: [x], forbidden: ["it*"], checks: {contains: five}}
        """
    files = {"app.py": app, "a.rag.yaml": cases}
    result = run_rag(files, "--rag-out=run.jsonl", "--junitxml=junit.xml", "-v")
    texts = [
        result.stdout.str(),
        *((pytester.path / n).read_text() for n in ("junit.xml", "run.jsonl")),
    ]
    assert [text.count(key) for text in texts] == [0, 0, 0]
    assert all("it is [redacted]" in text for text in texts)


@pytest.mark.parametrize("boom", ["raise OSError('no text')", "return 5"])
def test_an_exception_without_a_text(run_rag, boom):
    """One whose text cannot be had is an error as any other."""
    app = f"""
        class Mute(Exception):
            def __str__(self):
                {boom}

        def build():
            def ask(query):
                raise Mute
            return ask
        """
    result = run_rag(
        {"app.py": app, "a.rag.yaml": "pipeline: app:build\ncases: [{id: a, query: q}]"}
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a: Mute: Mute, whose text raised *Error"])
