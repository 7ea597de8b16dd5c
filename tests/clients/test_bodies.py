"""Answers that are malformed, incomplete or late, from a server that counts exactly."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from openai_server import Server

from conftest import APP


class Odd(Server):
    """Answers the questions it knows in an odd way, once each.

    Attributes:
        met: Those it has met.
        starts: When each request came.
    """

    def __init__(self) -> None:
        self.met: set[str] = set()
        self.starts: list[float] = []
        super().__init__()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.starts.append(time.monotonic())
        query = (await request.json())["messages"][-1]["content"]
        first = query not in self.met
        self.met.add(query)
        if query == "malformed":
            return web.Response(body=b'{"id": "1", "choi', content_type="application/json")
        if query == "uncounted":
            answer: Any = await super()._chat(request)
            body = json.loads(answer.body)
            del body["usage"]
            return web.json_response(body)
        if first and query in ("bare", "dated"):
            date = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}
            error = {"error": {"message": "Rate limit reached", "type": "requests"}}
            headers = date if query == "dated" else {}
            return web.json_response(error, status=429, headers=headers)
        return await super()._chat(request)


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The server, and its address in the environment."""
    server = Odd()
    monkeypatch.setenv("SERVER", server.url)
    monkeypatch.setattr("pytest_rag.replay.faults._FIRST_S", 0.01)
    yield server
    server.close()


def run(run_rag: Any, path: Any, *cases: str, config: str = "") -> dict[str, dict[str, Any]]:
    """Run cases that ask what they are called and return the result of each."""
    ids = "".join(f"  - {{id: {case}, query: {case}, timeout_s: 30}}\n" for case in cases)
    pipeline = "{factory: app:acomplete, params: {model: gpt-4o-mini}}"
    (path / "pyproject.toml").write_text(config, encoding="utf-8")
    files = {"app.py": APP, "a.rag.yaml": f"pipeline: {pipeline}\ncases:\n{ids}"}
    run_rag(files, "--rag-out=run.jsonl", "--rag-baseline=none")
    lines = map(json.loads, (path / "run.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["case"]: line for line in lines if line["kind"] == "result"}


def test_odd_answers_end_in_the_right_outcome(run_rag, pytester, odd):
    """Each breaks its own case at most, and what a model did is in the record."""
    found = run(run_rag, pytester.path, "malformed", "uncounted", "bare", "dated", "plain")
    outcomes = {case: result["outcome"] for case, result in found.items()}
    assert outcomes == {**dict.fromkeys(found, "passed"), "malformed": "error"}
    assert "is no JSON" in found["malformed"]["error"]["message"]
    assert [call["input_tokens"] for call in found["malformed"]["calls"]] == [None]
    assert [call["estimated"] for call in found["uncounted"]["calls"]] == [True]
    for case in ("bare", "dated", "plain"):
        assert [call["input_tokens"] for call in found[case]["calls"]] == [1000]
        assert found[case]["cost_usd"] > 0
    assert found["bare"]["wait_ms"] > 0
    assert found["dated"]["wait_ms"] >= 500  # a date has whole seconds


def test_cases_share_a_limit(run_rag, pytester, odd):
    """Three a minute: the fourth says that it cannot wait, and is not asked."""
    config = '[tool.pytest-rag.limits]\n"gpt-4o*" = {rpm = 3}\n'
    found = run(run_rag, pytester.path, "a", "b", "c", "d", config=config)
    assert len(odd.starts) == 3
    late = [result for result in found.values() if result["outcome"] == "error"]
    assert [result["error"]["type"] for result in late] == ["PacingError"]
    assert "[tool.pytest-rag.limits]" in late[0]["error"]["message"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('limits = {"gpt-4o" = {rps = 3}}', "Unknown key 'rps' in limits.gpt-4o"),
        ('limits = {"gpt-4o" = {rpm = 0}}', "limits.gpt-4o.rpm must be a whole number above 0"),
        ('limits = {"gpt-4o" = 5}', "limits.gpt-4o must be {rpm = …"),
        ("limits = 5", "limits must be a table"),
        ("retries = -1", "retries must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path, written, told):
    """With its key and the nearest right one."""
    from pytest_rag import config
    from pytest_rag.errors import ConfigError

    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest-rag]\n{written}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path)
    assert told in str(caught.value)
