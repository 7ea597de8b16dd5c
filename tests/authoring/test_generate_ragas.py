"""`pytest-rag generate --with ragas`: ragas' test-set generator, asked through our own models."""

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

TOWNS = {
    "Kotka": ("Ilona Virta", 12),
    "Porto": ("Rui Tavares", 34),
    "Bergen": ("Ilona Virta", 56),
    "Gdansk": ("Ewa Nowak", 78),
    "Aarhus": ("Rui Tavares", 90),
}
EMBEDS = "text-embedding-3-small"
OUT = Path("evalsets/generated.rag.yaml")
_INPUT = re.compile(r"following input\ninput: (.*)\nOutput: ", re.DOTALL)


def kind_of(prompt):
    """Tell what ragas asks for, by the schema it wants complied with."""
    kinds = ("Persona", "PersonaThemesMapping", "ConceptCombinations", "GeneratedQueryAnswer")
    kinds += ("NEROutput", "ThemesAndConcepts", "StringIO")
    return next(k for k in kinds if f'"title": "{k}"' in prompt.split("EXAMPLES")[0])


def town_of(text):
    """Return the town a passage is about."""
    return next(town for town in TOWNS if f"warehouse in {town}" in text)


def good(prompt):
    """Answer each of ragas' questions as a model that has read the passage."""
    kind, given = kind_of(prompt), json.loads(_INPUT.search(prompt)[1])
    return globals()[f"_{kind.lower()}"](given)


def _stringio(given):
    return {"text": f"The warehouse in {town_of(given['text'])}, its keeper and its shelves."}


def _themesandconcepts(given):
    return {"output": ["warehouses", f"shelves in {town_of(given['text'])}"]}


def _neroutput(given):
    town = town_of(given["text"])
    return {"entities": [town, TOWNS[town][0]]}


def _persona(given):
    return {"name": f"Clerk {len(given['text'])}", "role_description": "Looks for things."}


def _personathemesmapping(given):
    return {"mapping": {each["name"]: given["themes"] for each in given["personas"]}}


def _conceptcombinations(given):
    firsts = [concepts[-1] for concepts in given["lists_of_concepts"]]
    return {"combinations": [firsts]}


def _generatedqueryanswer(given):
    if isinstance(given["context"], str):
        town = town_of(given["context"])
        return {
            "query": f"How high are the shelves {given['query_length']} {town} workers climb?",
            "answer": f"The shelves are {TOWNS[town][1]} metres high.",
        }
    towns = [town_of(text) for text in given["context"]]
    keepers = " and ".join(TOWNS[town][0] for town in towns)
    return {
        "query": f"Who keeps the warehouses of {' as well as '.join(towns)} (<1-hop>)?",
        "answer": f"They are kept by {keepers}.",
    }


@pytest.fixture
def server():
    """A model behind HTTP whose answers a rule decides."""
    made = JudgeServer(good)
    yield made
    made.close()


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    """A project with documents and a model that writes; runs `generate --with ragas` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for town, (keeper, metres) in TOWNS.items():
        text = (
            f"# {town}\n\nThe warehouse in {town} is kept by {keeper}, who lives behind it.\n\n"
            f"Its shelves are {metres} metres high and hold spare parts for boats of all sizes.\n"
        )
        (tmp_path / f"docs/{town.lower()}.md").write_text(text)
    named = f'{{openai_compatible = {{base_url = "{server.url}", model = "{{}}"}}}}'
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest-rag]\nconcurrency = 4\n[tool.pytest-rag.judge]\n"
        f"model = {named.replace('{}', 'judge-1')}\n"
        f"embeddings = {named.replace('{}', EMBEDS)}\n[tool.pytest-rag.prices]\n"
        f"judge-1 = {{input = 1.0, output = 2.0}}\n{EMBEDS} = {{input = 3.0}}\n"
    )

    def run(*args):
        done = CliRunner().invoke(app, ["generate", "--from", "docs", "--with", "ragas", *args])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def test_its_questions_become_drafts_with_gold_and_evidence(project, server):
    """Of one passage and of several: gold is their documents, evidence a sentence of each."""
    code, said = project("-n", "6")
    assert code == 0, said
    assert said.startswith(f"wrote {OUT}: 6 new cases, to be reviewed\n"), said
    found = load(OUT)
    assert (found.cases, len(found.drafts)) == ((), 6)
    for case in found.drafts:
        assert list(case.relevant) == [part.partition("#")[0] for part in case.evidence]
        for part, quotes in case.evidence.items():
            text = (Path("docs") / part.partition("#")[0]).read_text()
            assert all(quote in text for quote in quotes), case
        assert "<1-hop>" not in case.query
    assert {len(case.relevant) > 1 for case in found.drafts} == {True, False}
    assert {kind_of(prompt) for prompt in server.prompts} >= {"NEROutput", "GeneratedQueryAnswer"}
    calls = spent()
    assert calls["judge-1"]["calls"] == len(server.prompts)
    assert calls["judge-1"]["cost_usd"] == pytest.approx(len(server.prompts) * 120e-6)
    assert calls[EMBEDS]["cost_usd"] > 0
    total = sum(row["cost_usd"] for row in calls.values())
    assert f"cost: ${total:.4f} · near-duplicates" in said


def spent():
    """Return what the ledger holds, by model."""
    told = CliRunner().invoke(app, ["costs", "--by", "model", "--json"])
    return {row["model"]: row for row in json.loads(told.output)["rows"]}


def test_nothing_of_ragas_is_heard(project, capfd):
    """No bar, log line or warning of its own stands between ours."""
    code, said = project("-n", "2")
    out, err = capfd.readouterr()
    assert (code, out, err) == (0, "", "")
    assert len(said.splitlines()) == 3, said


def broken(kind, answer, *, times=10**6):
    """Answer well, but for the first questions of one kind."""
    left = iter(range(times))
    return lambda prompt: (
        answer if kind_of(prompt) == kind and next(left, None) is not None else good(prompt)
    )


@pytest.mark.parametrize(
    ("kind", "answer", "reason"),
    [
        ("StringIO", "no json", "dropped: 5 · the model did not answer with the JSON it was asked"),
        ("NEROutput", {"entities": 7}, "dropped: 5 · the model did not answer with the JSON it"),
        ("Persona", [], "dropped: 1 · the model did not answer with the JSON it was asked for"),
        (
            "PersonaThemesMapping",
            {"mapping": {"Nobody": ["shelves in Porto", "Ilona Virta", "Rui Tavares", "Porto"]}},
            "ragas failed: KeyError: ",
        ),
        ("GeneratedQueryAnswer", {"query": "Why?"}, "the model did not answer with the JSON"),
        (
            "GeneratedQueryAnswer",
            {"query": "Who sails?", "answer": "Nobody ever sails anywhere at 99."},
            "the answer does not stand in the document",
        ),
        (
            "GeneratedQueryAnswer",
            {"query": "What does the text say of shelves?", "answer": "Its shelves are high."},
            "the question speaks of the text",
        ),
    ],
)
def test_what_goes_wrong_is_told_and_nothing_written(project, server, kind, answer, reason):
    """Whatever step a model spoils, the reason is one line, and there is no file."""
    server.rule = broken(kind, answer)
    code, said = project("-n", "3")
    assert (code, OUT.exists()) == (3, False), said
    assert said.startswith("No case was written.\n")
    assert reason in said
    assert "ragas made no case of the passages it read." in said
    assert "Traceback" not in said


@pytest.mark.parametrize("kind", ["StringIO", "ThemesAndConcepts", "GeneratedQueryAnswer"])
def test_one_failure_loses_one_passage_or_case(project, server, kind):
    """A model that spoils a single answer for good costs that one; the rest is written."""
    server.rule = broken(kind, "no json", times=2)
    code, said = project("-n", "2")
    assert code == 0, said
    assert len(load(OUT).drafts) == 2


def test_a_storm_of_429_stops(project, server):
    """After five failures in a row nothing more is asked, but what is on its way."""
    server.rule = 429
    code, said = project("-n", "4")
    assert (code, OUT.exists()) == (3, False)
    assert re.search(r"The model failed \d times in a row: RateLimitError", said), said
    assert len(server.prompts) <= 3 * (5 + 4)  # the client tries three times


def test_the_ceiling_is_hard(project, server):
    """No call is made that could pass it, whatever ragas still wants to know."""
    path = Path("pyproject.toml")
    path.write_text(path.read_text().replace("concurrency = 4", "max_output_tokens = 300"))
    code, said = project("-n", "4", "--max-cost", "0.004")
    assert (code, OUT.exists()) == (3, False), said
    assert "what is left of the run's ceiling of $0.004 may not be enough" in said
    assert 0 < sum(row["cost_usd"] for row in spent().values()) <= 0.004


def test_ctrl_c_keeps_what_was_made(project, server):
    """Exit status 130; cases that were finished are in the file, and the next run goes on."""
    asked = []

    def rule(prompt):
        if kind_of(prompt) == "GeneratedQueryAnswer":
            asked.append(prompt)
            if len(asked) == 6:
                os.kill(os.getpid(), signal.SIGINT)
        return good(prompt) if len(asked) < 5 else 2.0

    server.rule = rule
    code, said = project("-n", "9")
    assert code == 130, said
    made = len(load(OUT).drafts)
    assert 1 <= made <= 4
    server.rule = good
    assert project("-n", str(made + 1))[0] == 0


def test_only_ragas_can_be_named(project):
    """Another word is one sentence and exit status 2."""
    told = CliRunner().invoke(app, ["generate", "--from", "docs", "--with", "raggas"])
    assert (told.exit_code, told.output) == (
        2,
        "--with takes 'ragas', not 'raggas'; without it the model is asked alone.\n",
    )
