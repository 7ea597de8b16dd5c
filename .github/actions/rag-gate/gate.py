"""Runs the evaluation, or merges the records of shards; the verdict is left for the last step.

Environment: RAG_PATHS, RAG_ARGS (one word a line), RAG_MODE, RAG_SHARD, RAG_RECORDS (globs, one a
line), RAG_NAME, RUNNER_TEMP, GITHUB_OUTPUT, GITHUB_STEP_SUMMARY. Outputs: ``status`` (the exit
status), ``folder`` (record and reports), ``artifact`` (its name), ``report`` (the Markdown).
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_NOTHING = 3
_TOLD = ("::error ", "::warning ")
_ALERT = "::warning title=pytest-rag costs::"
_OURS = frozenset(
    f"RAG_{name}" for name in ("ARGS", "MODE", "NAME", "PATHS", "RECORDS", "SHARD")
)  # fmt: skip
_STEERING = frozenset(
    f"GITHUB_{name}" for name in ("ENV", "OUTPUT", "PATH", "STATE", "STEP_SUMMARY")
)  # fmt: skip


class WrongInputError(Exception):
    """An input of the action that makes no sense."""


def main() -> int:
    """Run, tell, and write the outputs; 0 unless the inputs are wrong."""
    try:
        folder, words = plan()
    except WrongInputError as error:
        print(f"::error title=rag-gate::{error}")
        return 2
    print(f"> python {shlex.join(words[1:])}", flush=True)
    status, alerts = run(words)
    report = folder / "report.md"
    if report.is_file():
        text = text_of(report).replace(f"{folder}{os.sep}", "")
        report.write_text(text, encoding="utf-8")
        append("GITHUB_STEP_SUMMARY", text)
    elif not status and not os.environ.get("RAG_SHARD"):
        print("::error title=rag-gate::No case was evaluated, so nothing can be said.")
        status = _NOTHING
    told = text_of(folder / "annotations.txt").splitlines()
    print(*alerts, *(line for line in told if line.startswith(_TOLD)), sep="\n", flush=True)
    shard = os.environ.get("RAG_SHARD", "")
    # A shard's failed cases are the merging gate's to tell; a shard that did not run is its own.
    verdict = 0 if shard and status == 1 else status
    suffix = f"-{shard.replace('/', '-of-')}" if shard else ""
    outputs = {
        "status": verdict,
        "folder": folder,
        "report": report,
        "artifact": f"rag-gate-{os.environ['RAG_NAME']}{suffix}",
    }
    append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in outputs.items()))
    return 0


def plan() -> tuple[Path, list[str]]:
    """Return the folder for everything that is written, empty, and the command.

    Raises:
        WrongInputError: if an input makes no sense.
    """
    name, shard = os.environ.get("RAG_NAME", ""), os.environ.get("RAG_SHARD", "")
    if not _NAME.fullmatch(name):
        raise WrongInputError("`name` takes up to 50 letters, digits, dots, dashes, underscores.")
    if shard and not re.fullmatch(r"[0-9]+/[0-9]+", shard):
        raise WrongInputError("`shard` is i/n, such as 1/3.")
    folder = Path(os.environ["RUNNER_TEMP"]) / "rag-gate" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    records = lines_of("RAG_RECORDS")
    words = merging(records, folder) if records else evaluating(shard, folder)
    return folder, [sys.executable, "-m", *words]


def evaluating(shard: str, folder: Path) -> list[str]:
    """Return pytest's command."""
    mode = os.environ.get("RAG_MODE", "")
    reports = [f"--rag-report={each}" for each in wanted(folder)]
    more = [f"--rag-mode={mode}"] if mode else []
    more += [f"--rag-shard={shard}"] if shard else []
    out = f"--rag-out={folder / 'run.jsonl'}"
    fixed = ["--color=yes", *more, out, *reports, f"--junitxml={folder / 'junit.xml'}"]
    return ["pytest", *lines_of("RAG_PATHS"), *fixed, *lines_of("RAG_ARGS")]


def merging(patterns: list[str], folder: Path) -> list[str]:
    """Return the command that joins the records of shards and judges the whole.

    Raises:
        WrongInputError: if there is no record.
    """
    found = sorted({str(path) for pattern in patterns for path in Path().glob(pattern)})
    if not found:
        raise WrongInputError("`records` matches no file: did the shards upload theirs?")
    reports = [word for each in wanted(folder) for word in ("--report", each)]
    return ["pytest_rag", "merge", *found, "--out", str(folder / "run.jsonl"), *reports]


def wanted(folder: Path) -> Iterator[str]:
    """Yield the reports; the page where what draws it is installed."""
    yield f"md:{folder / 'report.md'}"
    yield f"json:{folder / 'report.json'}"
    yield f"github:{folder / 'annotations.txt'}"
    if find_spec("jinja2") and find_spec("vl_convert"):
        yield f"html:{folder / 'report.html'}"


def run(words: list[str]) -> tuple[int, list[str]]:
    """Run a command whose output commands nothing; return its status and the alerts on costs.

    What a pipeline or a document says may look like a workflow command, so those are off while it
    speaks. The files by which a step steers later ones are not told to it either.
    """
    token = secrets.token_hex(16)
    env = {k: v for k, v in os.environ.items() if k not in _STEERING | _OURS}
    alerts = []
    print(f"::stop-commands::{token}", flush=True)
    process = subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    for line in process.stdout or ():
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        if line.startswith(_ALERT.encode()):
            alerts.append(line.decode("utf-8", "replace").rstrip())
    status = process.wait()
    print(f"\n::{token}::", flush=True)
    return status if status >= 0 else 128 - status, alerts


def lines_of(name: str) -> list[str]:
    """Return the lines of an input that are not empty."""
    lines = (line.strip() for line in os.environ.get(name, "").splitlines())
    return [line for line in lines if line]


def text_of(path: Path) -> str:
    """Return a file's text; none where there is no file."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def append(name: str, text: str) -> None:
    """Append to one of the files that GitHub names by a variable."""
    with Path(os.environ[name]).open("a", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
