"""What replay mode cannot answer, it refuses, and says what to do about it."""

from __future__ import annotations

import socket

import pytest
from test_replay_kinds import MODELS

ASK = """
    import os
    from models import *

    PROMPT = os.environ.get("PROMPT", "How many days of leave?")
    WARMTH = float(os.environ.get("WARMTH", "0.1"))

    def plain():
        model = llm(temperature=WARMTH)
        return lambda query: model.complete(f"{PROMPT} {query}").text

    def forgiving():
        ask = plain()

        def answer(query):
            try:
                return ask(query)
            except Exception:
                return "Five days, I guess."

        return answer
"""
EVALSET = "pipeline: app:plain\ncases:\n  - {id: first day, query: Please}\n"


@pytest.fixture
def recorded(played):
    """A project with one recorded call."""
    files = {"models.py": MODELS, "app.py": ASK, "a.rag.yaml": EVALSET}
    played.record(files).assert_outcomes(passed=1)
    return played


def test_another_prompt_shows_what_differs_and_what_to_type(recorded, monkeypatch):
    """The nearest recorded request, the words that changed, the command."""
    monkeypatch.setenv("PROMPT", "How many days of parental leave?")
    done = recorded.replay(None, "--rag-out=run.jsonl")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        [
            "*cassettes/a.jsonl has no recorded answer to this complete of gpt-4o-mini*",
            "*nearest recorded request differs in:*",
            "*prompt: '*days of leave? Please' → '*days of parental leave? Please'*",
            "*Record it: pytest 'a.rag.yaml::first day' --rag-mode=record*",
        ]
    )
    (result,) = recorded.results()
    assert (result["outcome"], result["error"]["type"]) == ("error", "CassetteError")


def test_another_parameter_is_another_request(recorded, monkeypatch):
    """A warmer model was not recorded."""
    monkeypatch.setenv("WARMTH", "0.7")
    recorded.replay().stdout.fnmatch_lines(["*parameters.temperature: '0.1' → '0.7'*"])


def test_without_a_cassette_there_is_nothing_to_compare(played):
    """The message says that the file is not there."""
    files = {"models.py": MODELS, "app.py": ASK, "a.rag.yaml": EVALSET}
    done = played.replay(files)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*The cassette is not there.*", "*Record it: pytest *"])


def test_a_repeat_that_was_not_recorded_has_no_answer(recorded):
    """Two runs that agree because one answer served both would be no evidence."""
    done = recorded.replay(None, "--rag-repeat=2")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*The same request was recorded once for this case*"])


def test_a_pipeline_cannot_swallow_a_miss(recorded, monkeypatch):
    """What it answers instead is no result."""
    monkeypatch.setenv("PROMPT", "Something else")
    other = {"a.rag.yaml": EVALSET.replace("plain", "forgiving")}
    recorded.replay(other).assert_outcomes(errors=1)


def test_a_failing_model_is_not_recorded(played):
    """An error of the provider's is an error of the case, and leaves no line."""
    files = {"models.py": MODELS, "app.py": ASK}
    files["a.rag.yaml"] = EVALSET + "  - {id: broken, query: fail-500}\n"
    played.record(files).assert_outcomes(passed=1, errors=1)
    assert [line["case"] for line in played.lines("a")] == ["first day"]


SNEAKY = """
    from llama_index.core.base.llms.types import ChatMessage, ChatResponse
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.llms.callbacks import llm_chat_callback

    class Sneaky:
        '''Has a model's events, and is none of LlamaIndex's models.'''

        callback_manager = rate_limiter = None

        def to_payload(self):
            return {"model": "sneaky-1"}

        @get_dispatcher("sneaky").span
        @llm_chat_callback()
        def chat(self, messages, **kwargs):
            return ChatResponse(message=ChatMessage(role="assistant", content="Five"))

    def build():
        asked = [ChatMessage(role="user", content="How many days?")]
        return lambda query: Sneaky().chat(asked).message.content
"""


def test_a_call_that_went_past_the_cassette_fails_its_case(played):
    """The tracer saw it; in replay mode its result cannot count."""
    evalset = "pipeline: sneaky:build\ncases:\n  - {id: a, query: q}\n"
    files = {"sneaky.py": SNEAKY, "a.rag.yaml": evalset}
    played.run_rag(files).assert_outcomes(passed=1)
    done = played.replay()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*A call of sneaky-1 (llm) was made live*"])


NETWORK = """
    import asyncio, socket, urllib.request, uvloop

    def connect(family=socket.AF_INET, kind=socket.SOCK_STREAM, to=("192.0.2.7", 443)):
        with socket.socket(family, kind) as made:
            made.settimeout(0.01)
            made.connect(to)

    def connect_ex():
        with socket.socket() as made:
            made.connect_ex(("192.0.2.7", 443))

    def datagram():
        with socket.socket(type=socket.SOCK_DGRAM) as made:
            made.sendto(b"x", ("192.0.2.7", 53))

    async def aconnect():
        with socket.socket() as made:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_connect(made, ("192.0.2.7", 443))

    def loopback():
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(("localhost", server.getsockname()[1])):
                pass

    def unix():
        here, there = socket.socketpair(socket.AF_UNIX)
        here.close()
        there.close()

    async def looked_up():
        await asyncio.get_running_loop().getaddrinfo("api.example.com", 443)

    async def datagrams():
        protocol = asyncio.DatagramProtocol
        there = ("192.0.2.7", 53)
        await asyncio.get_running_loop().create_datagram_endpoint(protocol, remote_addr=there)

    async def served():
        async def close(reader, writer):
            writer.close()

        async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection("localhost", port)
            writer.close()

    def swallowed():
        try:
            connect()
        except OSError:
            pass

    WAYS = {
        "connect": connect,
        "connect-ex": connect_ex,
        "ipv6": lambda: connect(socket.AF_INET6, to=("2001:db8::7", 443, 0, 0)),
        "datagram": datagram,
        "name": lambda: socket.getaddrinfo("api.example.com", 443),
        "old-name": lambda: socket.gethostbyname("api.example.com"),
        "url": lambda: urllib.request.urlopen("http://api.example.com/v1", timeout=0.01),
        "tls": lambda: asyncio.run(asyncio.open_connection("api.example.com", 443, ssl=True)),
        "sock-connect": lambda: asyncio.run(aconnect()),
        "uvloop": lambda: uvloop.run(asyncio.open_connection("192.0.2.7", 443)),
        "uvloop-name": lambda: uvloop.run(asyncio.open_connection(host="api.example.com", port=1)),
        "uvloop-look-up": lambda: uvloop.run(looked_up()),
        "uvloop-datagram": lambda: uvloop.run(datagrams()),
        "uvloop-loopback": lambda: uvloop.run(served()),
        "loopback": loopback,
        "unix": unix,
        "swallowed": swallowed,
    }

    def build():
        return lambda query: WAYS[query]() or "five"
"""
REFUSED = (
    *("connect", "connect-ex", "ipv6", "datagram", "name", "old-name", "url", "tls"),
    *("sock-connect", "uvloop", "uvloop-name", "uvloop-look-up", "uvloop-datagram"),
)
ALLOWED = ("loopback", "unix", "swallowed", "uvloop-loopback")


def test_the_network_is_refused(played):
    """By address or by name, sync or async; this machine may be reached."""
    cases = "".join(f"  - {{id: {w}, query: {w}}}\n" for w in (*REFUSED, *ALLOWED))
    files = {"net.py": NETWORK, "a.rag.yaml": f"pipeline: net:build\ncases:\n{cases}"}
    before = (socket.socket.connect, socket.getaddrinfo, "connect" in vars(socket.socket))
    done = played.replay(files, "--rag-out=run.jsonl")
    done.assert_outcomes(passed=len(ALLOWED), errors=len(REFUSED))
    for result in played.results():
        if result["case"] in REFUSED:
            assert "Replay mode refused a connection to " in result["error"]["message"]
    assert (socket.socket.connect, socket.getaddrinfo, "connect" in vars(socket.socket)) == before
