"""`pytest-rag doctor`: what it finds, what it calls broken, and what it never shows."""

from __future__ import annotations

import pytest

from pytest_rag.cli import findings


@pytest.fixture
def installed(project, monkeypatch):
    """Return a function that makes a distribution look installed, before the real ones."""
    monkeypatch.syspath_prepend(project.path / "site")

    def install(name, *metadata, entry_points=""):
        folder = f"site/{name.replace('-', '_')}-9.9.dist-info"
        text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 9.9", *metadata])
        project.write(f"{folder}/METADATA", text + "\n")
        project.write(f"{folder}/entry_points.txt", entry_points)

    return install


@pytest.fixture
def quick(monkeypatch):
    """Leave the embedding model out: it costs seconds and has a test of its own."""
    monkeypatch.setattr(findings, "models", lambda: iter(()))


def row(output, name):
    """Return the state and the text of the line about something."""
    line = next(line for line in output.splitlines() if f" {name} " in line)
    state, _, text = line.partition(f" {name} ")
    return state.strip(), text.strip()


def test_a_sound_installation_is_0(project):
    """The embedded model really embeds, the configuration is valid, the evalset loads."""
    project("init")
    shown = project("doctor")
    assert shown.exit_code == 0, shown.output
    assert row(shown.stdout, "[tool.pytest-rag]") == ("ok", "valid")
    assert row(shown.stdout, "evalsets/example.rag.yaml") == ("ok", "4 cases")
    state, text = row(shown.stdout, "wordllama")
    assert state == "ok"
    assert text.startswith("embeds a sentence in 256 dimensions")
    assert shown.stdout.rstrip().endswith("All is well.")


def test_extras_are_read_from_the_metadata(project, installed, quick):
    """A complete extra is ok; one whose packages are not there names the command, and is no fault.

    What only developers need is not listed.
    """
    installed(
        "pytest-rag",
        "Provides-Extra: demo",
        "Provides-Extra: all",
        "Provides-Extra: light",
        "Provides-Extra: dev",
        "Requires-Dist: pytest>=8",
        'Requires-Dist: tomli; python_version < "3"',
        'Requires-Dist: rich; extra == "light"',
        'Requires-Dist: no-such-thing>=1; extra == "demo"',
        'Requires-Dist: pytest-rag[demo,light]; extra == "all"',
        'Requires-Dist: no-such-linter; extra == "dev"',
    )
    shown = project("doctor")
    assert shown.exit_code == 0, shown.output
    assert row(shown.stdout, "pytest-rag itself") == ("ok", "everything it needs is there")
    assert row(shown.stdout, "light") == ("ok", "complete")
    assert row(shown.stdout, "demo") == ("missing", "no-such-thing is not installed")
    assert row(shown.stdout, "all") == ("missing", "no-such-thing is not installed")
    assert "pip install 'pytest-rag[demo]'" in shown.stdout
    assert "no-such-linter" not in shown.stdout


def test_a_requirement_that_is_too_old_is_1(project, installed, quick):
    """Something installed that does not fit is broken."""
    installed("pytest-rag", "Requires-Dist: pytest>=999")
    shown = project("doctor")
    assert shown.exit_code == 1
    state, text = row(shown.stdout, "pytest-rag itself")
    assert state == "broken"
    assert text.endswith("is installed, >=999 is needed")
    assert "Something is broken." in shown.stdout


def test_a_model_that_does_not_load_is_1(project, monkeypatch):
    """An installed model that cannot be loaded is broken, and its own words are shown."""
    from pytest_rag import vectors

    def refuse():
        raise OSError("no weights")

    monkeypatch.setattr(vectors, "_model", refuse)
    shown = project("doctor")
    assert shown.exit_code == 1
    assert row(shown.stdout, "wordllama") == ("broken", "does not load: OSError: no weights")


def test_a_model_that_is_not_installed_is_no_fault(monkeypatch):
    """The embedded pipeline is optional: what brings it is named."""
    monkeypatch.setattr(findings, "find_spec", lambda name: None)
    (found,) = findings.models()
    assert (found.state, found.text) == ("missing", "not installed: pip install 'pytest-rag[demo]'")


def test_keys_are_named_and_never_shown(project, quick, monkeypatch):
    """Of a key only its name and that it is set are told."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("COHERE_API_KEY", "")
    shown = project("doctor")
    assert row(shown.stdout, "OPENAI_API_KEY") == ("ok", "set")
    assert "COHERE_API_KEY" in shown.stdout.partition("not set")[2]
    assert "secret" not in shown.output


def test_plugins_that_slow_pytest_down_are_noted(project, installed, quick, monkeypatch):
    """The plugin of langsmith costs start-up time; ragas reports home unless it is told not to."""
    installed("langsmith", entry_points="[pytest11]\nlangsmith_plugin = langsmith.pytest_plugin\n")
    installed("ragas")
    monkeypatch.delenv("RAGAS_DO_NOT_TRACK", raising=False)
    shown = project("doctor")
    assert shown.exit_code == 0
    assert "pytest -p no:langsmith_plugin" in row(shown.stdout, "langsmith")[1]
    assert "RAGAS_DO_NOT_TRACK=true" in row(shown.stdout, "tracking")[1]
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "true")
    assert "RAGAS_DO_NOT_TRACK" not in project("doctor").stdout


def test_wrong_configuration_is_1(project, quick):
    """An invalid [tool.pytest-rag] is broken, with the nearest key."""
    project.write("pyproject.toml", "[tool.pytest-rag]\nconcurency = 4\n")
    shown = project("doctor")
    assert shown.exit_code == 1
    assert "'concurrency'" in row(shown.stdout, "[tool.pytest-rag]")[1]


def test_an_evalset_that_does_not_load_is_1(project, quick):
    """Every evalset below the root is loaded; those in hidden and installed folders are not."""
    project.write("sets/bad.rag.yaml", "caes: []\n")
    project.write(".venv/worse.rag.yaml", "caes: []\n")
    project.write("node_modules/worse.rag.yaml", "caes: []\n")
    shown = project("doctor")
    assert shown.exit_code == 1
    assert "bad.rag.yaml:1:1: " in row(shown.stdout, "sets/bad.rag.yaml")[1]
    assert "worse" not in shown.stdout


def test_a_project_without_anything_says_what_to_type(project, quick):
    """No configuration and no evalset is no fault."""
    (project.path / "pyproject.toml").unlink()
    shown = project("doctor")
    assert shown.exit_code == 0
    assert "pytest-rag init" in row(shown.stdout, "evalsets")[1]


def test_the_judge_is_looked_at_and_not_asked(project, quick, monkeypatch):
    """Whether one is configured, whether it can be made, and whether ragas imports."""
    shown = project("doctor").stdout
    assert row(shown, "judge")[0] == "not set"
    served = '{base_url = "http://127.0.0.1:9", model = "m", api_key_env = "K"}'
    text = f"[tool.pytest-rag.judge]\nmodel = {{openai_compatible = {served}}}\n"
    project.write("pyproject.toml", text)
    monkeypatch.delenv("K", raising=False)
    shown = project("doctor")
    assert shown.exit_code == 1
    told = ("broken", "does not load: MissingKeyError: K is not set")
    assert row(shown.stdout, "judge") == told
    monkeypatch.setenv("K", "sk-secret")
    shown = project("doctor").stdout
    assert row(shown, "judge") == ("ok", "m, not asked")
    assert "secret" not in shown
