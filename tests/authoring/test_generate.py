"""`pytest-rag generate`: what a model proposes, what of it is believed, and what it costs."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_rag.cli import app
from pytest_rag.evalset import load

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))
from judges import JudgeServer

TOWNS = ("Kotka", "Porto", "Bergen", "Gdansk", "Aarhus", "Leith", "Turku", "Vigo")
_SHOWN = re.compile(r'<document title="(.*?)">\n(.*?)\n</document>', re.DOTALL)


def good(prompt):
    """Propose what the passage bears out; another question where one is taken."""
    title, text = _SHOWN.search(prompt).groups()
    sentence = next(x for x in text.splitlines() if x.startswith("The office"))
    hour = re.search(r"at (\d+)", sentence)[1]
    question = f"When do people in {title} find the office open?"
    if "are taken" in prompt:
        question = f"What is the first working hour of the day at {title}?"
    return {"question": question, "answer": f"At {hour}.", "evidence": sentence}


@pytest.fixture
def server():
    """A model behind HTTP whose answers a rule decides."""
    made = JudgeServer(good)
    yield made
    made.close()


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    """A project with documents and a model that writes; runs `generate` in it."""
    monkeypatch.chdir(tmp_path)
    for number, town in enumerate(TOWNS):
        page = (
            f"# {town}\n\nThe office in {town} opens its doors at {number + 1}00 in the morning "
            "and has a kitchen with a view of the harbour.\n\n## Parking\n\nToo short.\n"
        )
        path = tmp_path / "docs" / f"{town.lower()}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(page)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest-rag]\nconcurrency = 4\n[tool.pytest-rag.generate]\n"
        f'model = {{openai_compatible = {{base_url = "{server.url}", model = "judge-1"}}}}\n'
        "[tool.pytest-rag.prices]\njudge-1 = {input = 1.0, output = 2.0}\n"
    )

    def run(*args):
        done = CliRunner().invoke(app, ["generate", "--from", "docs", *args])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


OUT = Path("evalsets/generated.rag.yaml")


def test_proposals_are_drafts_with_evidence(project):
    """Question, answer, gold and literal evidence stand in a file that no run takes a case from."""
    code, said = project("-n", "3")
    assert code == 0, said
    assert said.startswith(f"wrote {OUT}: 3 new cases, to be reviewed\n")
    assert "cost: $0.00036 · near-duplicates: cosine of word vectors" in said
    found = load(OUT)
    assert (found.cases, len(found.drafts)) == ((), 3)
    for case in found.drafts:
        [gold] = case.relevant
        [(part, [quote])] = case.evidence.items()
        assert part == f"{gold}#{gold.removesuffix('.md')}"
        assert quote in (Path("docs") / gold).read_text()
    assert len({gold for case in found.drafts for gold in case.relevant}) == 3
    text = OUT.read_text()
    assert "\nreviewed: false\ncases:\n  - id: " in text


def test_the_same_seed_gives_the_same_file(project):
    """Order and ids are those of the seed, however many are asked at a time."""
    project("-n", "4", "-o", "a.rag.yaml")
    project("-n", "2", "-o", "b.rag.yaml")
    project("-n", "4", "-o", "b.rag.yaml")
    project("-n", "4", "-o", "c.rag.yaml", "--seed", "7")
    texts = [Path(f"{name}.rag.yaml").read_text() for name in "abc"]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_a_second_run_goes_on_and_touches_nothing(project, server):
    """Reviewed work stays byte for byte, its passages come last, and new cases are drafts."""
    project("-n", "2")
    mine = OUT.read_text().replace("reviewed: false", "reviewed: true  # all good", 1)
    OUT.write_text(mine.replace("At ", "by "))
    server.prompts.clear()
    assert project("-n", "2")[1] == f"{OUT} holds 2 such cases already. For more: -n 4\n"
    assert server.prompts == []
    code, said = project("-n", "5")
    assert (code, "3 new cases" in said) == (0, True)
    assert OUT.read_text().startswith(mine.replace("At ", "by "))
    found = load(OUT)
    assert (len(found.cases), len(found.drafts)) == (2, 3)
    golds = [gold for case in (*found.cases, *found.drafts) for gold in case.relevant]
    assert len(set(golds)) == 5


def test_more_than_there_are_passages(project):
    """Passages are asked of again for other questions, and then it says that no more came."""
    code, said = project("-n", "30")
    assert (code, "The documents gave no more." in said) == (1, True)
    assert len(load(OUT).drafts) == 16
    assert "near-duplicates of other questions" in said


HOSTILE = {
    "no json at all": "the model did not answer with the JSON it was asked for",
    "": "the model said nothing",
    '{"question": null}': "the model found nothing worth asking",
    '["a"]': "the model did not answer with the JSON it was asked for",
    '{"question": "' + "[" * 9 + '"}': "there is no answer",
    '{"question": 7, "answer": "x", "evidence": ["y"]}': "there is no evidence",
    json.dumps(
        {"question": "x " * 300, "answer": "a", "evidence": "b"}
    ): "the question is too long",
}


@pytest.mark.parametrize(("said", "reason"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_garbage_is_dropped_and_counted(project, server, said, reason):
    """Whatever a model says that is no proposal, nothing is written, and the reason is told."""
    server.rule = said
    code, told = project("-n", "2")
    assert (code, OUT.exists()) == (3, False)
    assert told.startswith("No case was written.\n")
    assert f"· {reason}\n" in told


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"evidence": "The office was never built at all."}, "the evidence does not stand in the"),
        ({"evidence": "at"}, "the evidence does not stand in the document"),
        ({"answer": "Nobody knows such things."}, "the answer does not stand in the document"),
        ({"answer": "At 999, in the morning."}, "the answer does not stand in the document"),
        ({"evidence": "a view of the harbour"}, "the evidence does not hold the answer"),
        ({"question": "When does {town} open, at {hour}?"}, "the question holds its answer"),
        ({"question": "What opens according to the text?"}, "the question speaks of the text"),
        ({"question": "Was öffnet laut Text in {town}?"}, "the question speaks of the text"),
    ],
)
def test_what_the_document_does_not_bear_out_is_dropped(project, server, change, reason):
    """Made-up evidence, answers and leaks are dropped with their reason."""

    def rule(prompt):
        said = good(prompt)
        town, hour = _SHOWN.search(prompt)[1], said["answer"].strip("At .")
        return {**said, **{k: v.format(town=town, hour=hour) for k, v in change.items()}}

    server.rule = rule
    code, told = project("-n", "2")
    assert (code, OUT.exists()) == (3, False)
    assert reason in told


def test_the_good_ones_stand_beside_the_bad(project, server):
    """Fences, odd spacing and quotation marks are read; the rest is dropped, one by one."""
    count = iter(range(1000))

    def rule(prompt):
        n = next(count)
        if n % 3 == 1:
            return "garbage"
        said = good(prompt)
        said["evidence"] = f"“{said['evidence'].replace(' opens', '  opens')}”"
        return f"Sure!\n```json\n{json.dumps(said)}\n```"

    server.rule = rule
    code, told = project("-n", "6")
    assert code == 0, told
    assert re.search(r"dropped: \d · the model did not answer with the JSON", told)
    assert len(load(OUT).drafts) == 6


def test_a_storm_of_429_stops(project, server):
    """A model that always fails is not asked for ever; the reason is told."""
    server.rule = 429
    code, told = project("-n", "8")
    assert (code, OUT.exists()) == (3, False)
    assert "The model failed" in told
    assert "RateLimitError" in told


def test_the_ceiling_is_hard(project):
    """A call that could pass it is not made; what was written before stays."""
    path = Path("pyproject.toml")
    text = path.read_text().replace("concurrency = 4", "concurrency = 1\nmax_output_tokens = 300")
    path.write_text(text)
    code, told = project("-n", "8", "--max-cost", "0.0018")
    assert code == 1, told
    made = len(load(OUT).drafts)
    assert 1 <= made < 8
    assert "what is left of the run's ceiling of $0.0018 may not be enough" in told
    spent = CliRunner().invoke(app, ["costs", "--by", "source", "--json"])
    [row] = json.loads(spent.output)["rows"]
    assert (row["source"], row["calls"]) == ("authoring", made)
    assert row["cost_usd"] <= 0.0018


def test_without_a_model_or_key_it_says_what_to_add(project, monkeypatch):
    """One sentence, exit status 2, before any document is read."""
    path = Path("pyproject.toml")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    path.write_text(path.read_text().replace('"judge-1"}}', '"j", api_key_env = "NO_SUCH_KEY"}}'))
    code, told = project()
    assert (code, told) == (2, "The model that writes has no key: NO_SUCH_KEY is not set.\n")
    path.write_text("[tool.pytest-rag]\n")
    code, told = project()
    assert (code, told.startswith("There is no model that writes: add to pyproject")) == (2, True)
    path.write_text("[tool.pytest-rag.generate]\nmodle = 'a:b'\n")
    code, told = project()
    assert (code, "must be a table with model" in told) == (2, True)


def test_the_judge_writes_where_nobody_else_is_named(project):
    """`[tool.pytest-rag.judge]` is enough."""
    path = Path("pyproject.toml")
    path.write_text(path.read_text().replace("pytest-rag.generate]", "pytest-rag.judge]"))
    assert project("-n", "1")[0] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-o", "x.yaml"), "x.yaml is no evalset: its name does not end in .rag.yaml."),
        (("--max-cost", "much"), "--max-cost takes US dollars above 0"),
        (("--from", "nowhere"), "'nowhere' does not exist"),
        (("--from", "short"), "short holds no passage of a few sentences"),
    ],
)
def test_what_cannot_be_asked(project, args, message):
    """A wrong option is one sentence and exit status 2."""
    Path("short").mkdir()
    Path("short/a.md").write_text("# A\nShort.\n")
    code, told = project(*args)
    assert (code, message in told) == (2, True), told


def test_ctrl_c_keeps_what_was_made(project, server):
    """Exit status 130; the cases made before are in the file, and the next run goes on."""

    def rule(prompt):
        if len(server.prompts) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return good(prompt) if len(server.prompts) < 5 else 2.0

    server.rule = rule
    code, told = project("-n", "8")
    assert (code, "4 new cases" in told) == (130, True)
    assert len(load(OUT).drafts) == 4
    server.rule = good
    assert project("-n", "8")[0] == 0
    assert len(load(OUT).drafts) == 8
