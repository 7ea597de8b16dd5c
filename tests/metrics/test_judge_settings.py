"""``[tool.pytest-rag.judge]``: what it takes, and what it says of the rest."""

from __future__ import annotations

import pytest

from pytest_rag import ConfigError
from pytest_rag.config import JudgeSettings, OpenAICompatible, load

SERVED = OpenAICompatible(base_url="http://h/v1", model="m", api_key_env="K")
TABLE = '{openai_compatible = {base_url = "http://h/v1", model = "m", api_key_env = "K"}}'


def read(tmp_path, text):
    """Return the settings of a project."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest-rag.judge]\n{text}\n")
    return load(tmp_path).judge


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", JudgeSettings()),
        ('model = "my_app.judges:build"', JudgeSettings(model="my_app.judges:build")),
        (f"model = {TABLE}", JudgeSettings(model=SERVED)),
        (f"embeddings = {TABLE}", JudgeSettings(embeddings=SERVED)),
        ('embeddings = "local"\ntimeout_s = 5', JudgeSettings(embeddings="local", timeout_s=5.0)),
    ],
)
def test_the_forms_of_a_model(tmp_path, text, settings):
    """An import path, or where it is served."""
    assert read(tmp_path, text) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "a:b"', "Unknown key 'modle' in [tool.pytest-rag.judge]. Did you mean 'model'?"),
        ('model = "gpt-4o"', 'judge.model must be "package.module:name", or {openai_compatible'),
        ("model = {openai = {}}", 'judge.model must be "package.module:name", or {openai_comp'),
        ('model = {openai_compatible = {model = "m"}}', "judge.model.openai_compatible must be {"),
        (
            'model = {openai_compatible = {base_url = "u", model = "m", api_key = "sk-1"}}',
            "Unknown key 'api_key' in judge.model.openai_compatible. Did you mean 'api_key_env'?",
        ),
        (
            'model = {openai_compatible = {base_url = "u", model = 4}}',
            "judge.model.openai_compatible.model must be a text, not 4.",
        ),
        ("timeout_s = 0", "judge.timeout_s must be a number of seconds above 0, not 0."),
        ("timeout_s = inf", "judge.timeout_s must be a number of seconds above 0, not inf."),
        ("embeddings = 7", "judge.embeddings must be"),
    ],
)
def test_anything_else_is_refused(tmp_path, text, message):
    """With the nearest key, or the form to write."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    assert message in str(raised.value)


@pytest.mark.parametrize("kind", ["openai", "openai_compatible"])
def test_a_key_that_was_written_there_is_not_shown(tmp_path, kind):
    """Not even in the error."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, f"model = {{{kind} = {{api_key = 'sk-1'}}}}")
    assert "sk-1" not in str(raised.value)
