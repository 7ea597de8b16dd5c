"""Writes the report of a gate into the one comment of its pull request, and updates it in place.

After ``pull_request`` the report is a file: RAG_REPORT. Where the token may not write, as in pull
requests of forks, it is laid into the folder that the output ``left`` names, for an artifact.

After ``workflow_run`` it is in that artifact, made by a run that had the code of a stranger, so
nothing of it is believed: its size is bounded, it is read in memory and never unpacked, it may hold
two files of text, and the pull request it names must have the head that GitHub says was run.

Environment: RAG_NAME, RAG_REPORT, RAG_ONLY_UPDATE, GITHUB_TOKEN, GITHUB_EVENT_NAME,
GITHUB_EVENT_PATH, GITHUB_REPOSITORY, GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_RUN_ID,
GITHUB_OUTPUT, RUNNER_TEMP. Nothing but the standard library is used.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api import Api, ApiError, Environ, RefusedError
from tame import MOST, tame

_FORBIDDEN = (401, 403, 404)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError)
_NO_VERDICT = "> [!CAUTION]\n> **No verdict.** The gate did not come to its end; its log says why."
_NOTHING_TO_EVALUATE = (
    "> [!TIP]\n> **Nothing to evaluate.** No file changed that an evaluation could see."
)
_FROM_A_FORK = (
    "This run had no right to comment, so its report came as an artifact. The code of the pull "
    "request made it, and nobody has checked it."
)


class PassedError(Exception):
    """There is nothing to comment, and nothing is wrong."""


def main() -> int:
    """Comment, or leave the report to who may; 1 where something was refused, 0 otherwise."""
    try:
        report = found(os.environ)
        left = None if post(os.environ, report) else leave(os.environ, report)
    except PassedError as passed:
        print(passed)
        left = None
    except (RefusedError, ApiError) as error:
        print(f"::error title=rag-comment::{command_data(str(error))}")
        return 1
    if left is not None:
        with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
            file.write(f"left={left}\n")
    return 0


@dataclass(frozen=True)
class Report:
    """What is to be commented.

    Attributes:
        pull: Number of the pull request.
        text: The report.
        run: Id of the run that made it.
        head: The commit it is about.
        note: What is to be known of it, or empty.
    """

    pull: int
    text: str
    run: int
    head: str
    note: str = ""


def found(environ: Environ) -> Report:
    """Find the report and its pull request.

    Raises:
        PassedError: if there is none.
        RefusedError: if it is not what it should be.
    """
    if not _NAME.fullmatch(environ.get("RAG_NAME", "")):
        raise RefusedError("`name` takes up to 50 letters, digits, dots, dashes, underscores.")
    event = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    kind = environ["GITHUB_EVENT_NAME"]
    if kind == "workflow_run":
        return from_artifact(Api(environ), event["workflow_run"], environ["RAG_NAME"])
    if kind != "pull_request":
        raise PassedError("This is no pull request: nothing to comment.")
    pull = event["pull_request"]
    return Report(
        pull=int(pull["number"]),
        text=from_file(environ),
        run=int(environ["GITHUB_RUN_ID"]),
        head=pull["head"]["sha"],
    )


def post(environ: Environ, report: Report) -> bool:
    """Write the comment; False where that cannot be, which takes no verdict with it."""
    name = environ["RAG_NAME"]
    only_update = environ.get("RAG_ONLY_UPDATE") == "true"
    top = f"{environ['GITHUB_SERVER_URL']}/{environ['GITHUB_REPOSITORY']}"
    body = body_of(name, report, f"{top}/actions/runs/{report.run}")
    try:
        Api(environ).write(report.pull, marker(name), body, only_update=only_update)
    except ApiError as error:
        if error.status in _FORBIDDEN:
            print("The token may not comment here, as in pull requests of forks.")
        else:
            print(f"::warning title=rag-comment::{command_data(str(error))}")
        return False
    return True


def leave(environ: Environ, report: Report) -> Path:
    """Lay the report into a folder, for an artifact.

    Raises:
        RefusedError: where it came out of one.
    """
    if environ["GITHUB_EVENT_NAME"] == "workflow_run":
        raise RefusedError("Nothing was posted. The job needs `pull-requests: write`.")
    folder = Path(environ["RUNNER_TEMP"]) / "rag-comment" / environ["RAG_NAME"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report.text, encoding="utf-8")
    (folder / "pr.txt").write_text(str(report.pull), encoding="utf-8")
    return folder


def from_file(environ: Environ) -> str:
    """Return the report of this run, or what to say where there is none."""
    if environ.get("RAG_ONLY_UPDATE") == "true":
        return _NOTHING_TO_EVALUATE
    path = environ.get("RAG_REPORT", "")
    if not path or not Path(path).is_file():
        return _NO_VERDICT
    return Path(path).read_text(encoding="utf-8", errors="replace")


# --- the text -------------------------------------------------------------------------------------


def marker(name: str) -> str:
    """Return the line by which the comment is found again."""
    return f"<!-- pytest-rag gate: {name} -->"


def body_of(name: str, report: Report, run: str) -> str:
    """Return the comment: our own lines, and between them a report in which nothing is alive.

    What is to be known of the report stands before it, where nothing in it can hide that.
    """
    title = "## RAG gate" if name == "rag" else f"## RAG gate · {name}"
    end = f"<sub>[Run and artifacts]({run}) · {report.head[:10]}</sub>"
    parts = (marker(name), title, report.note, tame(report.text), end)
    return "\n\n".join(part for part in parts if part) + "\n"


def command_data(text: str) -> str:
    """Return a text for a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


# --- the artifact of a stranger -------------------------------------------------------------------


def from_artifact(api: Api, run: dict[str, Any], name: str) -> Report:
    """Return the report that a finished run left for us.

    Raises:
        PassedError: if it left none, or its pull request has moved on.
        RefusedError: if what it left is not two small files of text, or names another pull request.
    """
    if run.get("event") != "pull_request":
        raise PassedError("That run was of no pull request: nothing to comment.")
    archive = api.artifact(int(run["id"]), f"rag-comment-{name}")
    if archive is None:
        raise PassedError("That run left no report to comment: it commented by itself.")
    files = unpack(archive)
    pull = files["pr.txt"].strip()
    if not re.fullmatch(r"[1-9][0-9]{0,8}", pull):
        raise RefusedError("pr.txt does not hold the number of a pull request.")
    check(api.ask("GET", f"pulls/{pull}"), run)
    return Report(
        pull=int(pull),
        text=files["report.md"],
        run=int(run["id"]),
        head=run["head_sha"],
        note=_FROM_A_FORK,
    )


def check(pull: Any, run: dict[str, Any]) -> None:
    """Hold the pull request that a stranger named to the run that GitHub tells of."""
    head = pull.get("head") or {}
    theirs = (head.get("repo") or {}).get("full_name")
    ran = (run.get("head_repository") or {}).get("full_name")
    if not theirs or theirs != ran or head.get("ref") != run.get("head_branch"):
        raise RefusedError("The artifact names a pull request that is not the one that was run.")
    if head.get("sha") != run.get("head_sha") or pull.get("state") != "open":
        raise PassedError("The pull request has moved on: nothing to comment.")


def unpack(archive: bytes) -> dict[str, str]:
    """Return the two texts of an archive, read in memory; a path in it is never followed.

    Raises:
        RefusedError: for any other content.
    """
    most = {"report.md": 4 * MOST, "pr.txt": 20}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            if sorted(opened.namelist()) != sorted(most):
                raise RefusedError("The artifact does not hold report.md and pr.txt alone.")
            if any(each.compress_type not in _PACKED for each in opened.infolist()):
                raise RefusedError("The artifact is packed in a way that GitHub does not pack.")
            found = {name: opened.open(name).read(size + 1) for name, size in most.items()}
    except _UNREADABLE as error:
        raise RefusedError("The artifact is no archive that can be read.") from error
    for name, size in most.items():
        if len(found[name]) > size:
            raise RefusedError(f"{name} of the artifact is too long.")
    try:
        return {name: content.decode("utf-8") for name, content in found.items()}
    except UnicodeDecodeError as error:
        raise RefusedError("The artifact is no UTF-8.") from error


if __name__ == "__main__":
    sys.exit(main())
