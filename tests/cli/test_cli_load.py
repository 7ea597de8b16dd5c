"""`pytest-rag load`: how much a pipeline bears, and how long its answers take then."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
import time

import pytest
from aiohttp import web

from pytest_rag.config import Config
from pytest_rag.load import Driver, Plan, Sample, Step, is_sustained, saturation
from pytest_rag.pipelines.adapters import adapt
from pytest_rag.runner import Runner
from pytest_rag.types import Case

ASKING = """
    import urllib.request

    def build():
        def answer(query):
            with urllib.request.urlopen("{url}") as response:
                return response.read().decode()
        return answer
"""


class Served:
    """A server that answers so many questions at a time, each after a fixed time."""

    def __init__(self, places: int, seconds: float) -> None:
        self._places = places
        self._seconds = seconds
        self._took: list[float] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    @property
    def capacity(self) -> float:
        """Answers a second, by what the time of each really was."""
        return self._places * len(self._took) / sum(self._took)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        site = self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(site.cleanup())
        self._loop.close()

    async def _start(self) -> web.AppRunner:
        places = asyncio.Semaphore(self._places)

        async def answer(request):
            async with places:
                began = time.perf_counter()
                await asyncio.sleep(self._seconds)
                self._took.append(time.perf_counter() - began)
            return web.Response(text="five")

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
        return runner


@pytest.fixture
def served():
    """A server that answers four questions at a time, each in a quarter of a second."""
    server = Served(4, 0.25)
    yield server
    server.close()


def ramp(project, served, *args):
    """Put load on the server through a pipeline, and return what is told."""
    project.write("my_rag.py", ASKING.replace("{url}", served.url))
    project.evalset("hr", "build", "leave", "parking")
    done = project("load", "hr.rag.yaml", "--json", "--out", "load.json", *args)
    assert done.exit_code == 0, done.output
    return json.loads((project.path / "load.json").read_text())


def test_a_closed_loop_finds_the_capacity(project, served):
    """Four at a time are as many answers as eight: the server's capacity, within 10 %."""
    times = ("--concurrency", "8,1,4", "--duration", "1.5", "--warmup", "0.4")
    told = ramp(project, served, *times)
    assert [step["load"] for step in told["steps"]] == [1, 4, 8]
    found = told["saturation"]["closed"]
    assert found["reached"]
    assert found["per_second"] == pytest.approx(served.capacity, rel=0.1)
    assert found["at"] == pytest.approx(4, rel=0.2)
    assert told["steps"][2]["p50_ms"] > 1.5 * told["steps"][1]["p50_ms"]


@pytest.mark.slow
def test_an_open_loop_finds_the_capacity(project, served):
    """A rate above it makes a queue grow, and the ramp ends; answers come at its capacity."""
    times = ("--qps", "6,40,80", "--duration", "6", "--warmup", "1", "--arrivals", "fixed")
    told = ramp(project, served, *times)
    assert [step["load"] for step in told["steps"]] == [6, 40]
    found = told["saturation"]["open"]
    assert found["reached"]
    assert found["sustained"] == 6
    assert found["per_second"] == pytest.approx(served.capacity, rel=0.1)
    assert any("not tried: 80" in note for note in told["notes"])


@pytest.fixture
def driven():
    """Make a driver of a function, with a plan."""
    runners = []

    def make(function, *, most=10_000, **plan):
        runner = Runner(Config(concurrency=64))
        runners.append(runner)
        cases = [Case(id=name, query=name) for name in ("a", "b", "c")]
        kept = []
        driver = Driver(
            runner,
            adapt(function, None),
            "hr",
            cases,
            Plan(**{"warmup_s": 0.0, "duration_s": 1.0, **plan}),
            most=most,
            keep=kept.append,
        )
        return driver, kept

    yield make
    for runner in runners:
        runner.close()


def stalling():
    """Return a pipeline that answers one question at a time, and once takes 600 ms for it."""
    lock, asked = threading.Lock(), []

    def answer(query):
        with lock:
            asked.append(query)
            time.sleep(0.6 if len(asked) == 3 else 0.001)
        return "five"

    return answer


def test_an_open_loop_counts_what_a_stall_delays(driven):
    """Questions that were due during a stall waited; a closed loop would have left them out."""
    driver, _ = driven(stalling(), arrivals="fixed")
    step = driver.open(40)
    assert sum(ms > 150 for ms in step.times) >= 12
    driver, _ = driven(stalling())
    step = driver.closed(1)
    assert sum(ms > 150 for ms in step.times) <= 5
    assert len(step.times) > 20


def test_arrivals_are_those_of_the_seed(driven):
    """The same seed asks the same questions at the same times; another does not."""

    def starts(seed):
        driver, kept = driven(lambda query: query, seed=seed, duration_s=0.3)
        step = driver.open(60)
        due = sorted(round(each.start, 6) for each in step.samples)
        return due, sorted(result.case for result in kept)

    assert starts(1) == starts(1)
    assert starts(1)[0] != starts(2)[0]


def test_errors_are_told_by_kind(driven):
    """An error is no answer: it counts for itself and brings no answers a second."""

    def answer(query):
        time.sleep(0.01)
        if query == "a":
            raise ValueError("no such shard")
        return "five"

    driver, _ = driven(answer, duration_s=0.6)
    step = driver.closed(2)
    assert set(step.errors) == {"ValueError"}
    assert len(step.times) == pytest.approx(2 * step.errors["ValueError"], abs=4)
    assert not is_sustained(step)


def test_the_number_of_questions_is_bounded(driven):
    """Ten questions, and no more, however much time is left."""
    driver, kept = driven(lambda query: query, most=10, duration_s=30.0)
    step = driver.closed(3)
    assert len(kept) == 10
    assert step.cut == "10 questions were asked"


def closed(places: int, rate: float) -> Step:
    """Return a step of a closed loop with so many answers a second."""
    cycle = places / rate
    samples = [Sample(start=n * cycle, ms=cycle * 1000, cycle_s=cycle) for n in range(1, 20)]
    end = samples[-1].end
    return Step(loop="closed", load=places, warmup_s=0, duration_s=end, samples=tuple(samples))


@pytest.mark.parametrize(
    ("rates", "reached", "at"),
    [
        ({1: 5, 2: 10, 4: 20, 8: 20}, True, 4),
        ({1: 5, 2: 10, 4: 19.9}, False, None),
        ({1: 5, 2: 10, 4: 12, 8: 11}, True, 2.4),
        ({4: 20}, False, None),
    ],
)
def test_where_more_brings_no_more(rates, reached, at):
    """Saturation is where answers a second stop to grow with questions at a time."""
    found = saturation([closed(places, rate) for places, rate in rates.items()])
    assert found.reached is reached
    assert found.per_second == pytest.approx(max(rates.values()))
    assert found.at == (None if at is None else pytest.approx(at))


def test_nothing_measured_is_no_capacity():
    """A step without answers says nothing, and no step says less."""
    assert saturation([]) is None
    empty = Step(loop="closed", load=1, warmup_s=0, duration_s=1, samples=())
    assert saturation([empty]).per_second is None


def test_paid_models_need_a_ceiling(project):
    """Without one nothing is asked but one question; with one the ramp ends where it is reached."""
    project.evalset("hr", "paid", "leave")
    refused = project("load", "hr.rag.yaml")
    assert refused.exit_code == 2
    assert re.search(r"A question costs \$0\.000\d+.*--max-cost", refused.output, re.DOTALL)
    times = ("--concurrency", "1,2", "--duration", "20", "--warmup", "0")
    done = project("load", "hr.rag.yaml", "--max-cost", "0.002", *times)
    assert done.exit_code == 1, done.output
    assert "cut short, the ceiling on costs" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--concurrency", "1,two"], "'two'"),
        (["--concurrency", "1.5"], "whole numbers"),
        (["--qps", "0"], "above 0"),
        (["--max-cost", "none"], "US dollars"),
        (["--case", "leav"], "Did you mean 'leave'"),
    ],
)
def test_what_cannot_be_meant(project, args, said):
    """A mistake in an option is told before anything is asked."""
    project.evalset("hr", "good", "leave")
    done = project("load", "hr.rag.yaml", *args)
    assert done.exit_code == 2
    assert said in done.output


def test_a_pipeline_that_answers_nothing(project):
    """No load is put on one that is broken, and its own words are told."""
    for factory, said in (("crashing", "no such shard"), ("exploding", "the index is gone")):
        project.evalset("hr", factory, "leave")
        done = project("load", "hr.rag.yaml")
        assert done.exit_code == 3
        assert said in done.output


STALLED = """
    import time

    def build():
        asked = []
        def answer(query):
            asked.append(query)
            if len(asked) > 3:
                time.sleep(60)
            return "five"
        return answer
"""


def test_questions_of_the_warm_up_that_hang_are_errors(project):
    """A pipeline that stands still from the warm-up on is told as such, not as one too quick."""
    project.write("my_rag.py", STALLED)
    project.evalset("hr", "build", "leave")
    path = project.path / "hr.rag.yaml"
    text = path.read_text().replace("defaults: {", "defaults: {timeout_s: 0.6, ")
    path.write_text(text)
    times = ("--concurrency", "2", "--duration", "0.4", "--warmup", "0.2")
    done = project("load", "hr.rag.yaml", *times)
    assert done.exit_code == 3, done.output
    assert re.search(r"^ +2 +2 +2 +none", done.stdout, re.MULTILINE), done.output
    assert "unknown: no question was answered" in done.stdout


def test_an_interrupt_shows_what_was_measured(project):
    """Ctrl-C ends the ramp; what there is is shown, and no file of before is replaced."""
    project.write(
        "my_rag.py", "import time\ndef build():\n    return lambda query: time.sleep(0.01) or 'x'\n"
    )
    project.evalset("hr", "build", "leave")
    project.write("load.json", "before\n")
    args = ("hr.rag.yaml", "--duration", "60", "--warmup", "0", "--out", "load.json")
    running = project.start("load", *args)
    for line in running.stderr:
        if "1 at a time" in line:
            break
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "cut short, interrupted" in out
    assert re.search(r"^ +1 +\d+ +0 ", out, re.MULTILINE), out
    assert (project.path / "load.json").read_text() == "before\n"
