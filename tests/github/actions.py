"""Runs workflows and actions as GitHub's runner does: their very steps, in bash.

Expressions, the files and variables of a step, and workflow commands in its output are as there.
What this project only uses (``actions/checkout``, caches, artifacts) has a small counterpart here.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OURS = re.compile(r"(?:OWNER/pytest-rag|\$)/(\.github/actions/[\w-]+)(?:@0{40})?")
_QUICK = " ".join(
    f"-p no:{name}" for name in ("langsmith_plugin", "anyio", "hypothesispytest", "benchmark")
)  # fmt: skip
_TOKEN = re.compile(r"'(?:[^']|'')*'|&&|\|\||[!=]=|[!(),]|[\w.*-]+|\s+")
_COMMAND = re.compile(r"::(error|warning)(?: ([^:]*))?::(.*)")


@dataclass
class Step:
    """What a step did."""

    name: str
    status: int | None
    log: str = ""

    @property
    def ran(self) -> bool:
        """Whether its condition held."""
        return self.status is not None


@dataclass
class Outcome:
    """What a job came to."""

    status: int = 0
    steps: list[Step] = field(default_factory=list)
    annotations: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    summary: str = ""

    @property
    def log(self) -> str:
        """Everything that was printed."""
        return "".join(step.log for step in self.steps)

    def step(self, name: str) -> Step:
        """Return a step by its name."""
        return next(step for step in self.steps if step.name == name)


class Runner:
    """A machine that runs one job after the other.

    Args:
        folder: For workspace and temporary files.
        github: The loopback counterpart of GitHub.
        event_name: What started the workflow.
        event: What the file of GITHUB_EVENT_PATH holds.
        variables: GITHUB_* that differ from job to job.
        secrets: Of the repository.
    """

    def __init__(self, folder, github, event_name, event, variables=(), secrets=()):
        self.github, self.secrets = github, dict(secrets)
        self.workspace, self.temp = folder / "workspace", folder / "temp"
        shutil.rmtree(self.workspace, ignore_errors=True)
        shutil.rmtree(self.temp, ignore_errors=True)
        self.workspace.mkdir(parents=True)
        self.temp.mkdir()
        event_path = folder / "event.json"
        event_path.write_text(json.dumps(event))
        github.runs += 1
        self.variables = {
            "GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_EVENT_NAME": event_name,
            "GITHUB_EVENT_PATH": str(event_path), "GITHUB_REPOSITORY": github.repository,
            "GITHUB_API_URL": github.url, "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_RUN_ID": str(github.runs), "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_WORKSPACE": str(self.workspace), "RUNNER_TEMP": str(self.temp),
            "RUNNER_OS": "Linux", **dict(variables),
        }  # fmt: skip
        self.context = {
            "github": {
                "event": event, "event_name": event_name, "token": github.token,
                "run_id": self.variables["GITHUB_RUN_ID"], "run_attempt": "1",
                "repository": github.repository,
                "ref_name": self.variables.get("GITHUB_REF_NAME", ""),
            },
            "runner": {"os": "Linux", "temp": str(self.temp)}, "secrets": self.secrets,
        }  # fmt: skip
        self.cache = folder / "caches"
        self.programs = [Path(sys.executable).parent]
        self.python_path = ""
        self.outcome = Outcome()

    def job(self, workflow: Path, name: str, **matrix: str) -> Outcome:
        """Run one job of a workflow."""
        whole = yaml.safe_load(workflow.read_text())
        job = whole["jobs"][name]
        called = whole[True].get("workflow_call", {})  # what YAML 1.1 makes of `on`
        defaults = {n: i.get("default", "") for n, i in called.get("inputs", {}).items()}
        self.context |= {"matrix": matrix, "inputs": defaults}
        if "if" in job and not self.holds(job["if"], self.context, failed=False):
            return self.outcome
        self._steps(job["steps"], {**self.context, "steps": {}}, {}, None)
        return self.outcome

    def action(self, action: str, /, env=(), **inputs: str) -> Outcome:
        """Run one of our actions."""
        self._ours(f".github/actions/{action}", inputs, dict(env))
        return self.outcome

    def script(self, action: str, name: str, **env: str) -> dict[str, str]:
        """Run a script of one of our actions by itself, and return its outputs."""
        place = ROOT / ".github/actions" / action
        return self._bash(name, f'python3 -E -s "$GITHUB_ACTION_PATH/{name}"', env, place)

    # --- steps ---

    def _ours(self, place: str, given: dict[str, str], env: dict[str, str]) -> dict[str, str]:
        action = yaml.safe_load((ROOT / place / "action.yml").read_text())
        unknown = given.keys() - action["inputs"].keys()
        assert not unknown, unknown
        inputs = {name: each.get("default", "") for name, each in action["inputs"].items()}
        inputs |= {name.replace("_", "-"): text for name, text in given.items()}
        context = {**self.context, "inputs": inputs, "steps": {}}
        return self._steps(action["runs"]["steps"], context, env, ROOT / place)

    def _steps(self, steps, context, env, place) -> dict[str, str]:
        failed = False
        for step in steps:
            named = step.get("name") or step.get("uses") or step["run"]
            if not self.holds(step.get("if", ""), context, failed=failed):
                self.outcome.steps.append(Step(named, None))
                continue
            mine = {**env, **self._filled(step.get("env", {}), context)}
            before = self.outcome.status
            outputs: dict[str, str] = {}
            if "uses" in step:
                given = self._filled(step.get("with", {}), context)
                ours = OURS.fullmatch(step["uses"])
                if ours:
                    self._ours(ours[1], given, mine)
                else:
                    outputs = self._theirs(step["uses"], given)
                    self.outcome.steps.append(Step(named, 0))
            else:
                assert place is None or step["shell"] == "bash"
                outputs = self._bash(named, step["run"], mine, place)
            failed = failed or self.outcome.status != before
            if "id" in step:
                context["steps"][step["id"]] = {"outputs": outputs}
        return {}

    def _bash(self, name: str, text: str, env: dict[str, str], place) -> dict[str, str]:
        assert "${{" not in text, "no expression may be written into a script"
        script = self.temp / "step.sh"
        script.write_text(text)
        files = {n: self.temp / n.lower() for n in ("OUTPUT", "ENV", "PATH", "STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        known = {n: os.environ[n] for n in ("HOME", "LANG", "TMPDIR") if n in os.environ}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False, errors="replace",
            env={
                **known, **self.variables, **{f"GITHUB_{n}": str(p) for n, p in files.items()},
                "GITHUB_ACTION_PATH": str(place), "PYTEST_ADDOPTS": _QUICK, **env,
                "PATH": self.path, "PYTHONPATH": self.python_path,
            },
        )  # fmt: skip
        self.outcome.steps.append(Step(name, done.returncode, done.stdout))
        self.outcome.annotations += commanded(done.stdout)
        self.outcome.summary += files["STEP_SUMMARY"].read_text()
        self.outcome.status = self.outcome.status or done.returncode
        lines = files["OUTPUT"].read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def path(self) -> str:
        """Where programs are found: Python's, as actions/setup-python leaves it, comes first."""
        return os.pathsep.join([*map(str, self.programs), os.environ["PATH"]])

    # --- what others made ---

    def _theirs(self, uses: str, given: dict[str, str]) -> dict[str, str]:
        name, _, commit = uses.partition("@")
        assert re.fullmatch("[0-9a-f]{40}", commit), uses
        kind = name.removeprefix("actions/").replace("/", "_").replace("-", "_")
        getattr(self, f"_use_{kind}")(**{k.replace("-", "_"): v for k, v in given.items()})
        return {}

    def _use_checkout(self, fetch_depth="1", persist_credentials="true"):
        self.github.check_out(self.workspace, self.variables, whole=fetch_depth == "0")

    def _use_setup_python(self, python_version):
        assert python_version

    def _use_cache(self, path, key, restore_keys=""):
        """pip's, which this machine has."""

    def _use_cache_restore(self, path, key, restore_keys=""):
        kept = sorted(self.cache.glob(f"{restore_keys.strip()}*"))
        if kept:
            shutil.copytree(kept[-1], self.workspace, dirs_exist_ok=True)

    def _use_cache_save(self, path, key):
        for name in path.split():
            if (self.workspace / name).exists():
                shutil.copytree(self.workspace / name, self.cache / key / name)

    def _use_upload_artifact(self, name, path, **_):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(path).rglob("*")):
                archive.write(file, file.relative_to(path))
        self.github.upload(int(self.variables["GITHUB_RUN_ID"]), name, packed.getvalue())

    def _use_download_artifact(self, pattern, path):
        for name, content in self.github.matching(pattern):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(self.workspace / path / name)

    # --- expressions ---

    def _filled(self, values: dict[str, Any], context) -> dict[str, str]:
        return {name: self._fill(value, context) for name, value in values.items()}

    def _fill(self, value: Any, context) -> str:
        def put(found: re.Match[str]) -> str:
            return shown(self.evaluate(found[1], context, failed=False))

        text = value if isinstance(value, str) else shown(value)
        return re.sub(r"\$\{\{(.*?)\}\}", put, text, flags=re.DOTALL)

    def holds(self, condition: str, context, *, failed: bool) -> bool:
        """Tell whether a step or job runs."""
        condition = condition.strip().removeprefix("${{").removesuffix("}}")
        if not re.search(r"\b(always|failure|cancelled|success)\(\)", condition):
            condition = f"success() && ({condition})" if condition else "success()"
        return bool(self.evaluate(condition, context, failed=failed))

    def evaluate(self, expression: str, context, *, failed: bool) -> Any:
        """Return the value of an expression."""
        known = {
            "always": lambda: True,
            "success": lambda: not failed,
            "cancelled": lambda: False,
            "hashFiles": self._hash,
            "contains": lambda many, one: one in (many or ()),
            "look": lambda path: look(path, context),
        }
        words = []
        for word in _TOKEN.findall(expression):
            if word.startswith("'"):
                words.append(repr(word[1:-1].replace("''", "'")))
            elif word in known or not re.match(r"[A-Za-z_]", word):
                words.append({"&&": " and ", "||": " or ", "!": " not "}.get(word, word))
            else:
                words.append({"true": "True", "false": "False"}.get(word, f"look({word!r})"))
        return eval("".join(words).strip(), {"__builtins__": {}}, known)

    def _hash(self, *patterns: str) -> str:
        found = sorted({p for each in patterns for p in self.workspace.glob(each) if p.is_file()})
        content = b"".join(path.read_bytes() for path in found)
        return hashlib.sha256(content).hexdigest() if found else ""


def look(path: str, context: Any) -> Any:
    """Return what a dotted path names; empty where it names nothing."""
    found = context
    for name in path.split("."):
        if name == "*":
            return [look(path.partition("*.")[2], each) for each in found or ()]
        found = found.get(name) if isinstance(found, dict) else None
    return "" if found is None else found


def shown(value: Any) -> str:
    """Return a value as it is written into a text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def commanded(log: str) -> list[tuple[str, dict[str, str], str]]:
    """Return the annotations of a log; where commands were stopped there are none."""
    found, stop = [], None
    for line in log.splitlines():
        if stop is not None:
            stop = None if line == f"::{stop}::" else stop
        elif line.startswith("::stop-commands::"):
            stop = line.removeprefix("::stop-commands::")
        elif match := _COMMAND.match(line.lstrip()):
            pairs = (pair.split("=", 1) for pair in (match[2] or "").split(",") if pair)
            found.append((match[1], {k: plain(v) for k, v in pairs}, plain(match[3])))
    return found


def plain(text: str) -> str:
    """Return a command's text as a person sees it."""
    for escaped, char in (("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escaped, char)
    return text
