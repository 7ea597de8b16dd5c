"""Where a project begins."""

from __future__ import annotations

import pytest

from pytest_rag.cli.project import find_root

OURS = "[tool.pytest-rag]\n"
OTHERS = "[project]\nname = 'x'\n"


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"pyproject.toml": OURS, "a/pyproject.toml": OTHERS}, "."),
        ({"pyproject.toml": OURS, "a/pyproject.toml": OURS}, "a"),
        ({"pyproject.toml": OTHERS, "a/pyproject.toml": "[tool.pytest-rag.prices]\n"}, "a"),
        ({".git/HEAD": "", "a/pyproject.toml": OTHERS}, "a"),
        ({"pyproject.toml": OTHERS, "a/.git/HEAD": ""}, "a"),
        ({"pyproject.toml": "\xff", "a/x": ""}, "."),
    ],
)
def test_the_nearest_table_wins_then_the_nearest_project(tmp_path, files, root):
    """[tool.pytest-rag] above beats a nearer pyproject.toml; then that or git, the nearer one."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1")
    start = tmp_path / "a" / "b"
    start.mkdir(parents=True)
    assert find_root(start) == (tmp_path / root)


def test_outside_any_project_it_is_the_folder_itself(tmp_path):
    """Nothing above says that it is a project: relative paths start here."""
    if any((p / m).exists() for p in tmp_path.parents for m in ("pyproject.toml", ".git")):
        pytest.skip("the temporary folder lies in a project")
    assert find_root(tmp_path) == tmp_path
