"""The few requests to GitHub that a comment takes, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

Environ = Mapping[str, str]

_ARCHIVE = 300_000
_ANSWER = 20_000_000
_PAGES = 30
_TRIES = 3
_TIMEOUT_S = 20


class RefusedError(Exception):
    """An artifact, or an answer, that is not what it should be."""


class ApiError(Exception):
    """GitHub refused a request; `status` is that of HTTP, 0 where there was no answer."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class Api:
    """The few requests to GitHub.

    Args:
        environ: With the address, the repository and the token.
    """

    def __init__(self, environ: Environ) -> None:
        self._top = f"{environ['GITHUB_API_URL']}/repos/{environ['GITHUB_REPOSITORY']}"
        self._token = environ["GITHUB_TOKEN"]

    def write(self, number: int, mark: str, body: str, *, only_update: bool) -> None:
        """Update our comment in place, or make it.

        Raises:
            ApiError: if that cannot be.
        """
        known = self._find(number, mark)
        if known is None and only_update:
            print("There is no comment to update.")
        elif known is None:
            self.ask("POST", f"issues/{number}/comments", {"body": body})
            print(f"Commented on #{number}.")
        else:
            self.ask("PATCH", f"issues/comments/{known}", {"body": body})
            print(f"Updated the comment on #{number}.")

    def _find(self, number: int, mark: str) -> int | None:
        """Return the id of our comment: of a bot, since everybody can write a marker."""
        for page in range(1, _PAGES + 1):
            found = self.ask("GET", f"issues/{number}/comments?per_page=100&page={page}")
            for each in found:
                bot = (each.get("user") or {}).get("type") == "Bot"
                if bot and (each.get("body") or "").startswith(mark):
                    return int(each["id"])
            if len(found) < 100:
                return None
        return None

    def artifact(self, run: int, name: str) -> bytes | None:
        """Return the newest artifact of a run by that name, or None.

        Raises:
            RefusedError: if it is too big.
        """
        found = self.ask("GET", f"actions/runs/{run}/artifacts?name={name}&per_page=100")
        mine = [a for a in found["artifacts"] if a["name"] == name and not a["expired"]]
        if not mine:
            return None
        newest = max(mine, key=lambda each: int(each["id"]))
        if int(newest["size_in_bytes"]) > _ARCHIVE:
            raise RefusedError("The artifact is too big.")
        archive = self._send("GET", f"actions/artifacts/{int(newest['id'])}/zip", None, _ARCHIVE)
        if len(archive) > _ARCHIVE:
            raise RefusedError("The artifact is too big.")
        return archive

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        """Return what GitHub answers.

        Raises:
            ApiError: if it refuses, or does not answer.
        """
        data = None if body is None else json.dumps(body).encode()
        try:
            return json.loads(self._send(method, path, data, _ANSWER))
        except ValueError as error:
            raise ApiError(f"{method} {path}: the answer is no JSON", 0) from error

    def _send(self, method: str, path: str, data: bytes | None, most: int) -> bytes:
        """Send a request, one that may be repeated more than once; read a little over ``most``."""
        tries = _TRIES if method in ("GET", "PATCH") else 1
        for left in reversed(range(tries)):
            try:
                request = self._request(method, path, data)
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                    return bytes(answer.read(most + 1))
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    raise ApiError(f"{method} {path}: HTTP {error.code}", error.code) from error
            except (OSError, http.client.HTTPException) as error:
                if not left:
                    raise ApiError(f"{method} {path}: {error}", 0) from error
            time.sleep(1)
        raise AssertionError

    def _request(self, method: str, path: str, data: bytes | None) -> urllib.request.Request:
        request = urllib.request.Request(f"{self._top}/{path}", data=data, method=method)
        request.add_header("Accept", "application/vnd.github+json")
        request.add_header("X-GitHub-Api-Version", "2022-11-28")
        request.add_header("Content-Type", "application/json")
        # Unredirected: an artifact lies on another host, which must not see the token.
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return request
