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
