"""Commands that a page names without running them: do they and their options exist?"""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer

from pytest_rag import cli, plugin

_COMMAND: Any = typer.main.get_command(cli.app)


class _Group:
    """Takes down what the plugin declares."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getgroup(self, *_: str) -> _Group:
        return self

    def addoption(self, name: str, **_: Any) -> None:
        self.names.append(name)


def rag_options() -> list[str]:
    """Return the options that the plugin adds to pytest."""
    declared = _Group()
    plugin.pytest_addoption(declared)  # type: ignore[arg-type]
    return declared.names


def mistakes(line: str) -> list[str]:
    """Return the commands and options of a line that do not exist."""
    known, wrong = {*rag_options()}, []
    for option in re.findall(r"--rag-[a-z-]+", line):
        wrong += [] if option in known else [option]
    for found in re.finditer(r"\bpytest-rag (.+)", line):
        wrong += _unknown(_words(found[1]))
    return wrong


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _unknown(words: list[str]) -> list[str]:
    command, rest = _COMMAND, words
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        name = rest[0].partition("|")[0].rstrip(",")
        if name not in command.commands:
            return [f"pytest-rag {name}"]
        command, rest = command.commands[name], rest[1:]
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    given = [word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)]
    return [word for word in given if word not in options | {"--help"}]
