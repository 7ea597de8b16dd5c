"""The project in which a page's blocks are run, one after the other."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs_page import ROOT
from packaging.requirements import Requirement
from typer.testing import CliRunner

from pytest_rag.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPERATORS = {"|", "||", ">", ">>", "<", "2>&1", ";", "&"}
_PLUGINS = [script.name for script in entry_points(group="pytest11") if script.name != "rag"]
HOME = "/home/ada/demo"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@dataclass(slots=True, kw_only=True)
class Done:
    """What a command printed, and how it ended."""

    output: str
    status: int


@dataclass(slots=True, kw_only=True)
class Stage:
    """Runs commands in a folder.

    Attributes:
        pytester: Runs pytest in this process.
        counterparts: Address as a page has it → the one on loopback that stands for it.
        names: What the page's Python blocks have defined.
        seen: What was printed so far.
    """

    pytester: Any
    counterparts: dict[str, str]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    seen: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.pytester.path

    def here(self, text: str) -> str:
        """Return a text with loopback's addresses in place of those it names."""
        for there, here in self.counterparts.items():
            text = text.replace(there, here)
        return text

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(text), encoding="utf-8")
        return path

    def run(self, line: str) -> Done:
        """Run a command as typed, its output kept among what was seen."""
        done = self._run(self.here(line))
        done.output = done.output.replace(str(self.path), HOME)
        self.seen.append(done.output)
        return done

    def _run(self, line: str) -> Done:
        words = shlex.split(line, comments=True)
        if "&&" in words:
            return self._each(line.split("&&"))
        if words[:2] == ["pip", "install"]:
            return self._pip(words[2:])
        known = words and words[0] in ("pytest", "pytest-rag")
        if known and not _OPERATORS & {*words} and not self._installed:
            return self._pytest(words[1:]) if words[0] == "pytest" else self._cli(words[1:])
        return self._shell(line)

    def _each(self, lines: list[str]) -> Done:
        output = ""
        for line in lines:
            done = self._run(line)
            output += done.output
            if done.status:
                break
        return Done(output=output, status=done.status)

    def _pytest(self, args: list[str]) -> Done:
        others = [word for name in _PLUGINS if name != "xdist" for word in ("-p", f"no:{name}")]
        with self.forgetting():
            done = self.pytester.runpytest_inprocess(*others, *args)
        return Done(output=f"{done.stdout}\n{done.stderr}", status=int(done.ret))

    def _cli(self, args: list[str]) -> Done:
        with self.forgetting():
            done = CliRunner().invoke(app, args, prog_name="pytest-rag")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(output=done.output, status=done.exit_code)

    def _shell(self, line: str) -> Done:
        scripts = str(Path(sys.executable).parent)
        environment = {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.path),
            "REPOSITORY": str(ROOT),
        }
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Done(output=done.stdout, status=done.returncode)

    def _pip(self, args: list[str]) -> Done:
        """Look whether what is to be installed can be: extras of ours exist, names are names."""
        wanted = [arg for arg in args if not arg.startswith("-")]
        if "-e" in args and wanted == ["."] and (self.path / "pyproject.toml").exists():
            return self._editable()
        for each in wanted:
            ours = re.sub(r"^\.(?=\[|$)", "pytest-rag", each)
            asked = Requirement(ours)
            missing = asked.extras - PROJECT["optional-dependencies"].keys()
            if asked.name == "pytest-rag" and missing:
                return Done(output=f"no extra {sorted(missing)}", status=1)
        return Done(output="", status=0)

    def _editable(self) -> Done:
        """Leave what an editable install leaves of entry points: a folder that tells them."""
        project = tomllib.loads((self.path / "pyproject.toml").read_text("utf-8"))["project"]
        info = f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        self.write(f"{info}/METADATA", head)
        groups = project.get("entry-points", {})
        lines = [
            line
            for group, points in groups.items()
            for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
        ]
        self.write(f"{info}/entry_points.txt", "\n".join(lines) + "\n")
        return Done(output="", status=0)

    @property
    def _installed(self) -> bool:
        """Whether the project was installed: a process that looked before does not see it."""
        return any(self.path.glob("*.dist-info"))

    def execute(self, source: str, label: str) -> None:
        """Run Python, in the names of the blocks before it."""
        printed = io.StringIO()
        with self.forgetting(), contextlib.redirect_stdout(printed):
            exec(compile(self.here(source), label, "exec"), self.names)
        self.seen.append(printed.getvalue())

    @contextlib.contextmanager
    def forgetting(self) -> Iterator[None]:
        """Import from the project, and forget its modules afterwards."""
        path = list(sys.path)
        sys.path.insert(0, str(self.path))
        try:
            yield
        finally:
            sys.path[:] = path
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None) or "").startswith(str(self.path)):
                    del sys.modules[name]
