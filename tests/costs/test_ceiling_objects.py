"""Under a ceiling no object is asked for that could pass it, whichever way its class asks."""

from __future__ import annotations

import json

import llama_index.llms.openai
import pytest
from aiohttp import web
from counting_server import Counting, recorded, results

__all__ = ["llama_index"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SETTINGS = "[tool.pytest-rag]\nprices = {gpt-4o-mini = {input = 1, output = 10}}\n"
APP = """
    import os
    from llama_index.core.llms import ChatMessage
    from llama_index.core.prompts import PromptTemplate
    from llama_index.llms.openai import OpenAI, OpenAIResponses
    from llama_index.llms.openai_like import OpenAILike
    from pydantic import BaseModel

    class Leave(BaseModel):
        "Days of leave."
        days: int

    ASKED = PromptTemplate("How many days? {query}")

    class Past(OpenAILike):
        # Asks for objects past its own chat, as the classes of some providers do.

        def _words(self, prompt, given):
            messages = [{"role": "user", "content": prompt.format(**given)}]
            form = {"type": "json_object"}
            limit = self.max_tokens
            asked = {"model": self.model, "messages": messages, "response_format": form}
            return {**asked, "max_tokens": limit} if limit else asked

        def structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            said = self._get_client().chat.completions.create(**self._words(prompt, given))
            return output_cls.model_validate_json(said.choices[0].message.content)

        async def astructured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            client = self._get_aclient()
            said = await client.chat.completions.create(**self._words(prompt, given))
            return output_cls.model_validate_json(said.choices[0].message.content)

        def stream_structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            yield self.structured_predict(output_cls, prompt, **given)

        async def astream_structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            async def stream():
                yield await self.astructured_predict(output_cls, prompt, **given)

            return stream()

    class Further(Past):
        def structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            return super().structured_predict(output_cls, prompt, llm_kwargs, **given)

    def model(kind, limit=100):
        common = dict(
            model="gpt-4o-mini", api_base=os.environ["SERVER"], api_key="none", max_retries=0
        )
        if kind == "responses":
            return OpenAIResponses(**common, max_output_tokens=limit)
        if kind == "openai":
            return OpenAI(**common, max_tokens=limit)
        made = {"past": Past, "further": Further, "like": OpenAILike}[kind]
        return made(**common, max_tokens=limit, is_chat_model=True)

    def build(kind, how="sync", **given):
        llm = model(kind, **given)

        def ask(query):
            if how == "wrapped":
                said = llm.as_structured_llm(Leave).chat([ChatMessage(content=query)])
                return said.message.content
            if how == "stream":
                *_, last = llm.stream_structured_predict(Leave, ASKED, query=query)
                return last.model_dump_json()
            return llm.structured_predict(Leave, ASKED, query=query).model_dump_json()

        async def aask(query):
            if how == "astream":
                stream = await llm.astream_structured_predict(Leave, ASKED, query=query)
                return [stage async for stage in stream][-1].model_dump_json()
            said = await llm.astructured_predict(Leave, ASKED, query=query)
            return said.model_dump_json()

        return aask if how.startswith("a") else ask
"""


class Objects(Counting):
    """Answers objects, at both of OpenAI's addresses."""

    content = '{"days": 5}'
    words = ('{"days":', " 5}")

    def routes(self, app: web.Application) -> None:
        """Answer at the newer address too."""
        super().routes(app)
        app.router.add_post("/v1/responses", self._respond)

    async def _respond(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        given, said = self.count(asked, asked["input"], asked.get("max_output_tokens"))
        text = {"type": "output_text", "text": self.content, "annotations": []}
        message = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
        usage = {"input_tokens": given, "output_tokens": said, "total_tokens": given + said}
        usage |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
        usage |= {"output_tokens_details": {"reasoning_tokens": said // 2}}
        whole = {"id": "r", "object": "response", "created_at": 1, "model": asked["model"]}
        whole |= {"output": [{**message, "content": [text]}], "usage": usage, "status": "completed"}
        more = {"parallel_tool_calls": False, "tool_choice": "none", "tools": []}
        return web.json_response({**whole, **more})


@pytest.fixture
def server(served):
    """A server that answers objects."""
    return served(Objects)


def run(run_rag, count: int, usd: float, *args: str, more: str = "", **params: object):
    """Ask for some objects under a ceiling."""
    cases = "".join(f"  - {{id: c{n}, query: question {n}}}\n" for n in range(count))
    text = f"pipeline: {{factory: 'app:build', params: {json.dumps(params)}}}\ncases:\n{cases}"
    files = {"app.py": APP, "pyproject.toml": SETTINGS + more, "a.rag.yaml": text}
    return run_rag(
        files, f"--rag-max-cost={usd}", "--rag-out=run.jsonl", "--rag-baseline=none", *args
    )


WAYS = [
    *[("responses", how) for how in ("sync", "async", "wrapped")],
    *[("past", how) for how in ("sync", "async", "stream", "astream")],
    ("openai", "astream"),
]


@pytest.mark.parametrize(("kind", "how"), WAYS, ids=["-".join(way) for way in WAYS])
def test_objects_never_pass_it(run_rag, pytester, server, kind, how):
    """What could pass the ceiling does not start; what was served is what is recorded."""
    run(run_rag, 12, 0.003, kind=kind, how=how)
    assert 0 < server.usd <= 0.003
    assert {r["outcome"] for r in results(pytester)} == {"passed", "not_run"}
    assert set(server.limits) == {100}
    if "stream" not in how:
        assert recorded(pytester) == pytest.approx(server.usd)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_openais_responses_are_told_a_limit(run_rag, pytester, server, how):
    """One that has none, by the setting, though its class would send none for an object."""
    run(run_rag, 1, 0.03, kind="responses", how=how, limit=None)
    assert server.requests == 0
    assert "4,096 of output, by max_output_tokens" in results(pytester)[0]["error"]["message"]
    run(run_rag, 1, 0.03, more="max_output_tokens = 900\n", kind="responses", how=how, limit=None)
    assert server.limits == [900]


@pytest.mark.parametrize("how", ["sync", "stream", "astream"])
def test_a_class_that_cannot_be_told_one_is_not_asked(run_rag, pytester, server, how):
    """It is refused before the first request, and says what to type."""
    done = run(run_rag, 2, 1.0, "-rs", kind="past", how=how, limit=None)
    assert server.requests == 0
    assert {r["outcome"] for r in results(pytester)} == {"not_run"}
    done.stdout.fnmatch_lines(["*gpt-4o-mini has no limit to its answers*"])


def test_it_is_set_aside_once(run_rag, pytester, server):
    """A chat that asks for the object is paid for alone: enough for one is enough."""
    run(run_rag, 1, 0.0016, kind="like", how="wrapped").assert_outcomes(passed=1)
    run(run_rag, 1, 0.0016, kind="further", how="sync").assert_outcomes(passed=1)


def test_what_its_provider_counted_is_recorded(run_rag, pytester, server):
    """Without a ceiling too, and replayed alike: tokens that the object does not show, as well."""
    run(run_rag, 2, 1.0, "--rag-mode=record", kind="responses").assert_outcomes(passed=2)
    counted = [call for result in results(pytester) for call in result["calls"]]
    tokens = [(call["input_tokens"], call["output_tokens"]) for call in counted]
    assert sorted(tokens) == sorted(server.tokens)
    assert not any(call.get("estimated") for call in counted)
    run(run_rag, 2, 1e-9, "--rag-mode=replay", kind="responses").assert_outcomes(passed=2)
    assert server.requests == 2
    again = [call for result in results(pytester) for call in result["calls"]]
    assert [(c["input_tokens"], c["output_tokens"]) for c in again] == tokens


@pytest.mark.parametrize("kind", ["past", "responses"])
def test_an_answer_that_is_no_such_object_was_paid_for(run_rag, pytester, server, kind):
    """As much as its provider counted, and it is in the record."""
    server.content = '{"weeks": 5}'
    run(run_rag, 1, 1.0, kind=kind)
    (result,) = results(pytester)
    assert result["outcome"] == "error"
    (call,) = result["calls"]
    assert (call["input_tokens"], call["output_tokens"]) == server.tokens[0]
    assert recorded(pytester) == pytest.approx(server.usd)
