"""A loopback counterpart of GitHub: a repository with pull requests, comments and artifacts."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_WHO = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, whoever's machine this is."""
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, **_WHO}
    done = subprocess.run(
        ["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class GitHub:
    """What the runner and the actions ask.

    Attributes:
        repository: Its name.
        token: What a job is given.
        may_write: Whether that token may comment; not in pull requests of forks.
        comments: Of all pull requests, as the API tells them.
        artifacts: ``{id: (run, name, content)}``.
        pulls: Pull requests by number, as the API tells them.
        asked: Requests with method and path.
        seen_elsewhere: What the host of the artifacts was told.
    """

    repository = "acme/handbook"

    def __init__(self, folder: Path) -> None:
        self.origin = folder / "origin"
        self.token = "ghs-loopback"
        self.may_write = True
        self.fails = 0
        self.runs = 0
        self.comments: list[dict[str, Any]] = []
        self.artifacts: dict[int, tuple[int, str, bytes]] = {}
        self.pulls: dict[int, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.seen_elsewhere: list[dict[str, str]] = []
        self.claimed: dict[int, int] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    # --- the repository ---

    def begin(self, files: dict[str, str]) -> None:
        """Make the repository with a first commit on ``main``."""
        self.origin.mkdir(parents=True)
        git(self.origin, "init", "-q", "-b", "main")
        self.commit(files, "begin")

    def commit(self, files: dict[str, str | None], message: str) -> None:
        """Commit files where the repository stands; None takes one away."""
        for name, text in files.items():
            path = self.origin / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")
        git(self.origin, "add", "-A")
        git(self.origin, "commit", "-qm", message)

    def propose(self, files, *, number=7, branch="change", owner="acme") -> dict[str, Any]:
        """Push a commit to a pull request, open it where it is new; return its event."""
        known = git(self.origin, "branch", "--list", branch)
        git(self.origin, "switch", "-q", *([] if known else ["-c"]), branch)
        self.commit(files, "propose")
        head = git(self.origin, "rev-parse", "HEAD")
        git(self.origin, "switch", "-q", "--detach", "main")
        git(self.origin, "merge", "-q", "--no-ff", "-m", "merge", branch)
        merged = git(self.origin, "rev-parse", "HEAD")
        git(self.origin, "update-ref", f"refs/pull/{number}/merge", merged)
        git(self.origin, "switch", "-q", "main")
        self.pulls[number] = {
            "number": number, "state": "open", "labels": [],
            "head": {"sha": head, "ref": branch, "repo": {"full_name": f"{owner}/handbook"}},
            "base": {"ref": "main", "repo": {"full_name": self.repository}},
        }  # fmt: skip
        return {"pull_request": self.pulls[number]}

    def check_out(self, place: Path, variables: dict[str, str], *, whole: bool) -> None:
        """Clone as actions/checkout does: a detached commit, and all branches or one commit."""
        ref = variables.get("GITHUB_REF", "refs/heads/main")
        git(place, "init", "-q")
        git(place, "remote", "add", "origin", self.origin.as_uri())
        local = f"refs/remotes/{ref.removeprefix('refs/').replace('heads/', 'origin/')}"
        heads = ["+refs/heads/*:refs/remotes/origin/*"] if whole else ["--depth=1"]
        git(place, "fetch", "-q", "origin", *heads, f"+{ref}:{local}")
        git(place, "checkout", "-q", "--detach", local)

    # --- artifacts ---

    def upload(self, run: int, name: str, content: bytes) -> int:
        """Keep an artifact; return its id."""
        number = len(self.artifacts) + 1
        self.artifacts[number] = (run, name, content)
        return number

    def matching(self, pattern: str) -> list[tuple[str, bytes]]:
        """Return the artifacts whose name matches."""
        found = self.artifacts.values()
        return [(name, content) for _, name, content in found if fnmatch.fnmatch(name, pattern)]

    # --- the API ---

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any):
        """Return a status and what to say."""
        match = re.fullmatch(rf"/repos/{self.repository}/(.*)", path)
        place = match[1] if match else ""
        if method in ("POST", "PATCH") and not self.may_write:
            return 403, {"message": "Resource not accessible by integration"}
        if found := re.fullmatch(r"issues/(\d+)/comments", place):
            return self._comments(method, int(found[1]), query, body)
        if method == "PATCH" and (found := re.fullmatch(r"issues/comments/(\d+)", place)):
            comment = next(c for c in self.comments if c["id"] == int(found[1]))
            comment["body"] = body["body"]
            return 200, comment
        if found := re.fullmatch(r"pulls/(\d+)", place):
            pull = self.pulls.get(int(found[1]))
            return (200, pull) if pull else (404, {})
        if found := re.fullmatch(r"actions/runs/(\d+)/artifacts", place):
            mine = [
                {"id": number, "name": name, "expired": False,
                 "size_in_bytes": self.claimed.get(number, len(content))}
                for number, (run, name, content) in self.artifacts.items()
                if run == int(found[1]) and name == query["name"][0]
            ]  # fmt: skip
            return 200, {"total_count": len(mine), "artifacts": mine}
        return 404, {"message": "Not Found"}

    def _comments(self, method, pull, query, body):
        if method == "POST":
            if len(body["body"]) > 65_536:
                return 422, {"message": "Body is too long"}
            made = {
                "id": 1000 + len(self.comments), "pull": pull, "body": body["body"],
                "user": {"type": "Bot", "login": "github-actions[bot]"},
            }  # fmt: skip
            self.comments.append(made)
            return 201, made
        size, page = int(query["per_page"][0]), int(query["page"][0])
        mine = [c for c in self.comments if c["pull"] == pull]
        return 200, mine[(page - 1) * size : page * size]


def _handler(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            url = urlsplit(self.path)
            github.asked.append(f"{self.command} {url.path}")
            if github.fails:
                github.fails -= 1
                return self._say(502, b"{}")
            if found := re.fullmatch(r"/storage/(\d+)", url.path):
                github.seen_elsewhere.append(dict(self.headers))
                return self._say(200, github.artifacts[int(found[1])][2])
            if self.headers.get("Authorization") != f"Bearer {github.token}":
                return self._say(401, b"{}")
            if found := re.search(r"/actions/artifacts/(\d+)/zip$", url.path):
                there = f"http://localhost:{self.server.server_port}/storage/{found[1]}"
                return self._say(302, b"", Location=there)
            status, told = github.answer(self.command, url.path, parse_qs(url.query), body)
            return self._say(status, json.dumps(told).encode())

        do_POST = do_PATCH = do_GET  # noqa: N815

        def _say(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
