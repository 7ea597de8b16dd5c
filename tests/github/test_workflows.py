"""The example workflows in docs/ci: their jobs run here, and what they may do is little."""

from __future__ import annotations

import re
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from actions import ROOT, Runner
from github_server import git

CI = ROOT / "docs/ci"
WORKFLOWS = sorted([*CI.glob("*.yml"), *(ROOT / ".github/workflows").glob("*.yml")])
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
PIP = "import json, sys; open({log!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))"
GH = """#!/bin/bash
echo "gh $*" >> {log}
if [ "$1 $2" = "pr create" ] && [ -e {log}.open ]; then exit 1; fi
if [ "$1 $2" = "pr create" ]; then touch {log}.open; fi
"""


@pytest.fixture
def no_pip(tmp_path):
    """Let a machine have a pip that installs nothing, and says what it was told."""

    def at(runner: Runner):
        folder = tmp_path / "no-pip"
        log = folder / "log"
        (folder / "pip").mkdir(parents=True, exist_ok=True)
        for name in ("__init__", "__main__"):
            told = PIP.format(log=str(log)) if name == "__main__" else ""
            (folder / "pip" / f"{name}.py").write_text(told)
        runner.python_path = str(folder)
        return log

    return at


def test_a_fork_needs_no_secret_and_its_comment_comes_from_another_job(
    project, machine, no_pip, tmp_path
):
    """Replayed without a key, red, and commented by the workflow that runs none of its code."""
    event = project.propose({"settings.json": '{"top_k": 1}'}, owner="stranger")
    project.may_write = False
    runner = machine(event, checked_out=False)
    log = no_pip(runner)
    seen = runner.job(CI / "replay.yml", "rag")
    assert seen.status == 1
    assert [step.name for step in seen.steps if step.status] == ["Verdict"]
    assert log.read_text().count('"-e", "."') == 1
    assert project.comments == []
    assert {name for _, name, _ in project.artifacts.values()} == {
        "rag-gate-rag",
        "rag-comment-rag",
    }

    project.may_write = True
    head = project.pulls[7]["head"]
    run = {
        "id": int(runner.variables["GITHUB_RUN_ID"]), "event": "pull_request",
        "head_sha": head["sha"], "head_branch": head["ref"], "head_repository": head["repo"],
    }  # fmt: skip
    trusted = Runner(tmp_path / "trusted", project, "workflow_run", {"workflow_run": run})
    assert trusted.job(CI / "comment.yml", "comment").status == 0
    assert "`vacation.md`: `rank 2 → not retrieved`" in project.comments[0]["body"]


def test_the_reusable_workflow_is_the_same_gate(project, machine):
    """Documents alone are green there, too: its inputs reach the action."""
    event = project.propose({"docs/guide.md": "Ask twice.\n"})
    runner = machine(event, checked_out=False)
    seen = runner.job(ROOT / ".github/workflows/rag-gate.yml", "gate")
    assert seen.status == 0
    assert "Nothing to evaluate: only 'docs/guide.md' changed" in seen.log


@pytest.mark.parametrize(
    ("event", "labels", "runs"),
    [("push", (), True), ("pull_request", ("rag-live",), True), ("pull_request", ("bug",), False)],
)
def test_live_models_are_asked_on_main_and_on_a_label(github, tmp_path, event, labels, runs):
    """Not for every pull request."""
    told = {"pull_request": {"labels": [{"name": name} for name in labels]}}
    runner = Runner(tmp_path / "machine", github, event, told)
    condition = yaml.safe_load((CI / "live.yml").read_text())["jobs"]["live"]["if"]
    assert runner.holds(condition, runner.context, failed=False) is runs


@pytest.mark.slow
def test_shards_are_merged_and_judged_by_one_job(project, machine, no_pip):
    """Each shard is green and says nothing; the job that merges is red, and red without one."""
    event = project.propose({"settings.json": '{"top_k": 1}'})
    shards = yaml.safe_load((CI / "shards.yml").read_text())["jobs"]["shard"]["strategy"]["matrix"]

    def runner() -> Runner:
        made = machine(event, checked_out=False)
        no_pip(made)
        return made

    for shard in shards["shard"]:
        seen = runner().job(CI / "shards.yml", "shard", shard=shard)
        assert (seen.status, project.comments) == (0, [])
    seen = runner().job(CI / "shards.yml", "rag")
    assert seen.status == 1
    assert "`screen.md`: `rank 2 → not retrieved`" in project.comments[0]["body"]
    first = next(number for number, (_, name, _) in project.artifacts.items() if "1-of-3" in name)
    del project.artifacts[first]
    assert runner().job(CI / "shards.yml", "rag").status == 2
    assert "**No verdict.**" in project.comments[0]["body"]


@pytest.mark.slow
def test_the_nightly_recording_opens_one_pull_request(project, tmp_path):
    """What was measured is proposed, not pushed; the next night updates the same one."""
    project.commit({"settings.json": '{"top_k": 1}'}, "fewer")
    for command in ("create", "edit"):
        runner = Runner(tmp_path / "machine", project, "schedule", {}, {"GITHUB_REF_NAME": "main"})
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        for name, text in (("gh", GH.format(log=tmp_path / "log")), ("pip", "#!/bin/sh\n")):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        runner.programs.insert(0, programs)
        assert runner.job(CI / "record.yml", "record").status == 0, runner.outcome.log
        assert f"gh pr {command}" in (tmp_path / "log").read_text().splitlines()[-1]
    changed = git(project.origin, "diff", "--name-only", "main", "rag/record").splitlines()
    folder = "evalsets"
    assert changed == [f"{folder}/baselines/handbook.json", f"{folder}/cassettes/handbook.jsonl"]


BACKEND = """
import os, zipfile

FILES = {
    "project.pth": os.getcwd(),
    "project-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: project\\nVersion: 1\\n",
    "project-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any",
    "project-1.dist-info/RECORD": "",
}

def build_editable(folder, *_):
    name = "project-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "project"
version = "1"
"""


@pytest.mark.slow
def test_the_handbook_with_fewer_documents_is_red_and_its_readme_is_not(github, machine, tmp_path):
    """The whole road for the project's own example, with an environment that pip installs into."""
    files = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in [*(ROOT / "evalsets/handbook").rglob("*"), *ROOT.glob("evalsets/*handbook.*")]
        if path.is_file()
    }
    baseline = "evalsets/baselines/handbook.json"
    files[baseline] = (ROOT / baseline).read_text()
    files |= {"backend.py": BACKEND, "pyproject.toml": PROJECT, "README.md": "# Handbook\n"}
    github.begin(files)
    venv.create(tmp_path / "env", with_pip=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    (packages / "outside.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")

    evalset = files["evalsets/handbook.rag.yaml"]
    fewer = evalset.replace("corpus: handbook\n", "corpus: handbook\n    top_k: 2\n", 1)
    runner = machine(github.propose({"evalsets/handbook.rag.yaml": fewer}), checked_out=False)
    runner.programs.insert(0, tmp_path / "env" / "bin")
    seen = runner.job(CI / "replay.yml", "rag")
    assert seen.status == 1, seen.log
    assert "project.pth" in {path.name for path in (tmp_path / "env").rglob("*.pth")}
    body = github.comments[0]["body"]
    assert "`nDCG@10` | ❌ regressed" in body, body
    assert re.search(r"`[\w/-]+\.md`: `rank [3-5] → not retrieved`", body)

    event = github.propose({"README.md": "# The handbook\n"}, number=9, branch="words")
    seen = machine(event, checked_out=False).job(CI / "replay.yml", "rag")
    assert seen.status == 0
    assert not seen.step("Evaluate").ran


# --- what they may do -----------------------------------------------------------------------------


def test_every_action_is_pinned_by_its_commit():
    """With its release in a comment, and one commit for one action everywhere."""
    known = {}
    for path in [*WORKFLOWS, *ACTIONS]:
        for line in path.read_text().splitlines():
            found = re.match(r" +-? ?uses: ([\w./-]+)@([0-9a-f]{40}) # (.+)$", line)
            if found:
                known.setdefault("/".join(found[1].split("/")[:2]), set()).add(found.groups()[1:])
            elif "uses: " in line and not line.startswith("#"):
                assert "uses: $/" in line, line
    assert all(len(pins) == 1 for pins in known.values()), known
    assert len(known) == 6


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_job_may_do_more_than_it_needs(path):
    """Nothing is allowed but what a job names; no job of a pull request writes code."""
    workflow = yaml.safe_load(path.read_text())
    if path.stem == "ci":
        assert workflow["permissions"] == {"contents": "read"}
        return
    assert workflow["permissions"] == {}
    allowed = {"contents": "read", "pull-requests": "write", "actions": "read"}
    for job in workflow["jobs"].values():
        granted = job["permissions"]
        if path.stem == "record":
            granted = {**granted, "contents": "read"}
        assert granted.items() <= allowed.items()


@pytest.mark.parametrize("path", ["README.md", "docs/ci.md"])
def test_the_steps_in_the_documents_are_the_actions(path):
    """What a reader copies names inputs that exist; the page names all, with their defaults."""
    action = yaml.safe_load((ROOT / ".github/actions/rag-gate/action.yml").read_text())
    text = (ROOT / path).read_text(encoding="utf-8")
    (step,) = yaml.safe_load(re.search(r"```yaml workflow\n(.*?)```", text, re.DOTALL)[1])
    assert step["uses"] == "OWNER/pytest-rag/.github/actions/rag-gate@COMMIT"
    assert step["with"].keys() <= action["inputs"].keys()
    if path == "docs/ci.md":
        rows = dict(re.findall(r"^\| `([\w-]+)` \| ?(.*?) ?\|", text, re.MULTILINE))
        told = {name: rows[name].replace("`", "").split(", ") for name in action["inputs"]}
        assert told == {
            name: (each["default"].splitlines() or [""]) for name, each in action["inputs"].items()
        }


def test_the_reusable_workflow_takes_what_the_action_takes():
    """With the same defaults."""
    action = yaml.safe_load((ROOT / ".github/actions/rag-gate/action.yml").read_text())["inputs"]
    workflow = yaml.safe_load((ROOT / ".github/workflows/rag-gate.yml").read_text())
    for name, given in workflow[True]["workflow_call"]["inputs"].items():
        assert given["default"] == action[name]["default"], name
