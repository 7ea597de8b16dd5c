"""The action's own steps, run for pull requests of a real repository."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO

import pytest

BASELINE = "evalsets/baselines/handbook.json"
MARK = "<!-- pytest-rag gate: rag -->"
WORSE = {"settings.json": '{"top_k": 1}'}


def test_a_worse_pipeline_turns_red_and_the_comment_follows_it(project, machine):
    """Red with the lost documents in one comment, which turns green in place once it is mended.

    A baseline that the pull request edits is told, and moves no bar.
    """
    before = (project.origin / BASELINE).read_text()
    accepted = json.loads(before)
    for case in accepted["cases"].values():
        case["scores"] = dict.fromkeys(case["scores"], 0.1)
    event = project.propose({**WORSE, BASELINE: json.dumps(accepted)})
    red = machine(event)
    seen = red.action("rag-gate", mode="")
    assert seen.status == 1
    (comment,) = project.comments
    assert comment["body"].startswith(
        "<!-- pytest-rag gate: rag -->\n\n## RAG gate\n\n> [!CAUTION]"
    )
    for lost in ("vacation.md", "doctor.md", "hotel.md", "screen.md"):
        assert f"`{lost}`: `rank 2 → not retrieved`" in comment["body"]
    assert "the merge base with main`" in comment["body"]
    assert "- `This change edits handbook.json; the bar is" in comment["body"]
    assert "Run record: `run.jsonl`" in comment["body"]
    assert event["pull_request"]["head"]["sha"][:10] in comment["body"]
    assert seen.summary.startswith("> [!CAUTION]")
    # Everything is posted before the last step turns red.
    assert [step.name for step in seen.steps if step.status] == ["Verdict"]
    assert seen.steps[-1].name == "Verdict"
    level, place, text = seen.annotations[0]
    assert (level, place["file"]) == ("error", "evalsets/handbook.rag.yaml")
    assert "R@5 regressed" in text
    places = {place["title"]: place.get("line") for _, place, _ in seen.annotations}
    lines = (red.workspace / "evalsets/handbook.rag.yaml").read_text().splitlines()
    row = next(n for n, line in enumerate(lines, 1) if "id: rail" in line)
    assert places["rail fell"] == str(row)
    ((_, name, content),) = project.artifacts.values()
    assert name == "rag-gate-rag"
    assert {"run.jsonl", "report.md", "report.json", "report.html", "junit.xml"} <= {
        *zipfile.ZipFile(BytesIO(content)).namelist()
    }

    event = project.propose({"settings.json": '{"top_k": 4}', BASELINE: before})
    mended = machine(event).action("rag-gate", mode="")
    assert mended.status == 0
    (comment,) = project.comments
    assert "> [!TIP]" in comment["body"]
    assert mended.annotations == []


def test_documents_alone_are_green_at_once(project, machine):
    """Nothing is installed, no key is asked for, no comment is made; one that is there is told."""
    seen = machine(project.propose({"README.md": "# More\n", "docs/new.md": "x"})).action(
        "rag-gate"
    )
    assert seen.status == 0
    assert [s.name for s in seen.steps if s.ran] == ["What has changed", "Comment"]
    assert project.comments == []
    project.comments.append({"id": 1, "pull": 7, "body": f"{MARK} red", "user": {"type": "Bot"}})
    assert machine(project.propose({"LICENSE": "MIT"})).action("rag-gate").status == 0
    assert "**Nothing to evaluate.**" in project.comments[0]["body"]


def test_what_a_pipeline_says_commands_nothing(project, machine):
    """Its output is no workflow command, and the files that steer later steps are not told it."""
    spy = """
import os
print("::error title=pwned::from the pipeline", flush=True)
print(sorted(k for k in os.environ if k in ("GITHUB_ENV", "GITHUB_OUTPUT", "RAG_ARGS")), flush=True)
"""
    event = project.propose({"conftest.py": spy, "evalsets/handbook.rag.yaml": "cases: ["})
    seen = machine(event).action("rag-gate", args="-s\n-p\nno:cacheprovider")
    assert seen.status == 2
    log = seen.step("Evaluate").log
    assert "::error title=pwned" in log
    assert "\n[]\n" in log
    assert seen.annotations == []
    assert "**No verdict.**" in project.comments[0]["body"]


def test_an_install_that_fails_is_red_and_told(project, machine):
    """The comment does not stay as it was before."""
    event = project.propose({"settings.json": "{}\n"})
    seen = machine(event).action("rag-gate", install="# ours\n-r nowhere.txt")
    assert seen.status == 1
    assert not seen.step("Evaluate").ran
    assert seen.step("Verdict").status == 3
    assert "**No verdict.**" in project.comments[0]["body"]


def test_a_run_without_a_case_is_not_green(project, machine):
    """Other tests may pass; of the pipeline that says nothing."""
    event = project.propose({"evalsets/test_other.py": "def test_it(): pass\n"})
    seen = machine(event).action("rag-gate", mode="", paths="evalsets/test_other.py")
    assert seen.status == 3
    assert "No case was evaluated" in seen.annotations[0][2]
    assert "**No verdict.**" in project.comments[0]["body"]


def test_wrong_inputs_are_told(project, machine):
    """A name that could be anything else, a shard that is none, no record of any shard."""
    event = project.propose({"settings.json": "{}\n"})
    for given, said in (
        ({"name": "a b\n"}, "`name` takes"),
        ({"shard": "1of3"}, "`shard` is i/n"),
        ({"records": "shards/*/run.jsonl"}, "matches no file"),
    ):
        seen = machine(event).action("rag-gate", comment="false", **given)
        assert seen.status == 2
        assert any(said in text for _, _, text in seen.annotations), given


# --- what an evaluation can see -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "ignore", "runs", "said"),
    [
        ({"docs/a.md": "x"}, "docs/**", "false", "only 'docs/a.md' changed"),
        ({"docs/a.md": "x", "app.py": "x = 1\n"}, "docs/**", "true", "'app.py' changed"),
        ({"docs/a.md": "x"}, "", "true", "no file is to be ignored"),
        ({"docs/a.md": "x"}, "*.md", "true", "'docs/a.md' changed"),
        ({"corpus.json": "{}"}, "*.json\n*.md", "true", "names"),
        ({"README.md": None, "app.md": "# Words\n"}, "app.md", "true", "'README.md' changed"),
        ({"docs/a\n::error::b.md": "x"}, "docs/**", "false", r"a\n::error::b.md"),
    ],
    ids=["documents", "code", "off", "folder", "named by the pipeline", "renamed", "hostile name"],
)
def test_what_counts_as_documents(project, machine, files, ignore, runs, said):
    """Patterns decide, from the root; what an evalset or its pipeline names is never ignored."""
    runner = machine(project.propose(files))
    place = "scope.py"
    outputs = runner.script("rag-gate", place, RAG_IGNORE=ignore)
    assert outputs == {"run": runs}
    assert said in runner.outcome.log
    assert runner.outcome.annotations == []


@pytest.mark.parametrize(
    "files",
    [
        {"evalsets/docs.rag.yaml": "pipeline: {local: {corpus: ../docs}}\n"},
        {"evalsets/all.rag.yaml": "pipeline: {local: {corpus: ..}}\n"},
        {
            "evalsets/a.rag.yaml": "pipeline: pkg.rag:build\n",
            "src/pkg/rag.py": "D = Path('docs')\n",
        },
        {"conftest.py": "def rag_pipeline():\n    return load(ROOT / 'docs/guide.md')\n"},
    ],
    ids=["beside", "everything", "module", "conftest"],
)
def test_a_corpus_of_documents_is_no_documentation(project, machine, files):
    """Where a pipeline answers from docs/, it is evaluated when they change."""
    project.commit(files, "answer from the documents")
    runner = machine(project.propose({"docs/guide.md": "Ask nobody.\n"}))
    assert runner.script("rag-gate", "scope.py", RAG_IGNORE="docs/**") == {"run": "true"}
    assert "which an evalset or its pipeline names" in runner.outcome.log


def test_a_shallow_clone_is_evaluated(project, machine):
    """Where git cannot tell what changed, nothing is skipped."""
    runner = machine(project.propose({"docs/a.md": "x"}), whole=False)
    assert runner.script("rag-gate", "scope.py", RAG_IGNORE="docs/**") == {"run": "true"}
    assert "fetch-depth" in runner.outcome.log
