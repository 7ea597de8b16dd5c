"""A folder becomes documents: ids, metadata, text, and what cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_rag.errors import ConfigError, MissingExtraError, PipelineError
from pytest_rag.extras import require
from pytest_rag.pipelines.corpus import read_folder
from pytest_rag.pipelines.markup import github_slug, html_to_text, outline, split_front_matter

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = """<!doctype html><html lang="de"><head><title>Büro &amp; Halle</title>
<style>p {color: red}</style><script>alert("x")</script></head><body><h1>Büro</h1>
<p>Der   Eingang ist <b>links</b>.</p><h2>Öffnungszeiten</h2><ul><li>Montag 8 Uhr</li>
<li>Freitag 9 Uhr</li></ul><table><tr><th>Raum</th><th>Etage</th></tr><tr><td>2.14</td>
<td>zwei</td></tr></table></body></html>"""


def write(folder: Path, **files: str) -> Path:
    """Write files whose names spell ``/`` as ``__`` and ``.`` as ``_dot_``."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def pdf_bytes(*pages: str, labels: bool = False) -> bytes:
    """Return a hand-made PDF with one line of text a page; ``labels`` starts them at ``i``."""
    kids = " ".join(f"{10 + 2 * i} 0 R" for i in range(len(pages)))
    style = "/PageLabels << /Nums [0 << /S /r >>] >>" if labels else ""
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {style} >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    for i, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET"
        objects[10 + 2 * i] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {11 + 2 * i} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects[11 + 2 * i] = f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream"
    body, places = "%PDF-1.4\n", {}
    for number, content in objects.items():
        places[number] = len(body)
        body += f"{number} 0 obj\n{content}\nendobj\n"
    size = max(objects) + 1
    rows = "".join(
        f"{places.get(n, 0):010} {'00000 n' if n in places else '65535 f'} \n" for n in range(size)
    )
    trailer = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {size}\n{rows}{trailer}".encode("latin-1")


def test_ids_are_posix_paths_in_order(tmp_path: Path) -> None:
    """Ids are paths below the folder; hidden files and unknown suffixes are passed over."""
    write(tmp_path, people__leave_dot_md="# Leave\n", faq_dot_txt="Q", _dot_git__x_dot_md="no")
    write(tmp_path, photo_dot_png="no", people___dot_draft_dot_md="no", b_dot_HTM="<p>Hi</p>")
    assert [d.id_ for d in read_folder(tmp_path)] == ["b.HTM", "faq.txt", "people/leave.md"]


def test_a_hidden_folder_above_the_corpus_does_not_hide_it(tmp_path: Path) -> None:
    """Only what lies below the corpus folder is looked at."""
    folder = write(tmp_path / ".cache" / "docs", a_dot_md="text")
    assert [d.id_ for d in read_folder(folder)] == ["a.md"]


def test_glob_picks_files(tmp_path: Path) -> None:
    """A pattern below the folder picks files; one that finds nothing is named in the error."""
    write(tmp_path, people__leave_dot_md="x", it__vpn_dot_md="y")
    assert [d.id_ for d in read_folder(tmp_path, "people/*.md")] == ["people/leave.md"]
    with pytest.raises(ConfigError, match=r"matching 'hr/\*'"):
        read_folder(tmp_path, "hr/*")
    with pytest.raises(ConfigError, match="is no pattern"):
        read_folder(tmp_path, "/etc/*")


def test_front_matter_is_metadata_and_not_text(tmp_path: Path) -> None:
    """YAML above the body becomes metadata; dates are ISO strings, nested values JSON."""
    source = (
        "---\ntitle: Leave\nvalid: 2025-03-01\ntags: [a, b]\nowner: {name: Ann}\n---\n\nBody.\n"
    )
    document = read_folder(write(tmp_path, leave_dot_md=source))[0]
    assert document.text == "Body.\n"
    assert document.metadata == {
        "title": "Leave",
        "valid": "2025-03-01",
        "tags": ["a", "b"],
        "owner": '{"name": "Ann"}',
        "file_type": "text/markdown",
    }


@pytest.mark.parametrize(
    ("text", "metadata", "body"),
    [
        ("no front matter\n---\n", {}, "no front matter\n---\n"),
        ("---\n---\nBody", {}, "Body"),
        ("---\na: 1\n...\nBody", {"a": 1}, "Body"),
        ("---\na: 1\nnever closed", {}, "---\na: 1\nnever closed"),
    ],
)
def test_front_matter_edges(text: str, metadata: dict[str, object], body: str) -> None:
    """Front matter is only what opens the file and is closed."""
    assert split_front_matter(text) == (metadata, body)


@pytest.mark.parametrize("front", ["a: [1", "- a\n- b"])
def test_broken_front_matter_names_the_file(tmp_path: Path, front: str) -> None:
    """Front matter that is no YAML mapping is an error with the file in it."""
    write(tmp_path, bad_dot_md=f"---\n{front}\n---\nBody\n")
    with pytest.raises(PipelineError, match=r"bad\.md: its front matter is not"):
        read_folder(tmp_path)


def test_title_comes_from_front_matter_heading_or_name(tmp_path: Path) -> None:
    """The first of front matter, first heading and file name is the title."""
    write(tmp_path, a_dot_md="---\ntitle: One\n---\n# Two\n", b_dot_md="# `Two`\n")
    write(tmp_path, **{"sick-leave_dot_txt": "# not a heading here"})
    assert [d.metadata["title"] for d in read_folder(tmp_path)] == ["One", "Two", "sick leave"]


def test_html_becomes_text_with_headings() -> None:
    """Scripts and styles go, headings and lists stay as Markdown, entities are characters."""
    metadata, text = html_to_text(_PAGE)
    assert metadata == {"title": "Büro & Halle", "language": "de"}
    assert "alert" not in text
    assert "color" not in text
    assert "Der Eingang ist links." in text
    assert "- Montag 8 Uhr\n- Freitag 9 Uhr" in text
    assert "| Raum | Etage |\n| 2.14 | zwei |" in text
    assert [h.slug for h in outline(text)] == ["büro", "öffnungszeiten"]


def test_html_without_closing_tags_keeps_its_text() -> None:
    """``</head>``, ``</p>`` and ``</li>`` may be left out."""
    assert html_to_text("<head><title>T</title><body><p>One<p>Two<ul><li>Three<li>Four")[1] == (
        "One\n\nTwo\n\n- Three\n- Four\n"
    )


def test_pdf_pages_are_joined(tmp_path: Path) -> None:
    """A PDF is one document; a form feed stands between its pages, labels are kept."""
    (tmp_path / "plan.pdf").write_bytes(pdf_bytes("Ring the bell.", "Go outside.", labels=True))
    document = read_folder(tmp_path)[0]
    assert document.text == "Ring the bell.\fGo outside."
    assert document.metadata["page_labels"] == ["i", "ii"]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A broken PDF and text that is not UTF-8 say which file it was."""
    (tmp_path / "broken.pdf").write_bytes(b"not a pdf")
    with pytest.raises(PipelineError, match=r"broken\.pdf: not a readable PDF"):
        read_folder(tmp_path)
    (tmp_path / "broken.pdf").unlink()
    (tmp_path / "latin.txt").write_bytes("Büro".encode("latin-1"))
    with pytest.raises(PipelineError, match=r"latin\.txt: not UTF-8 text \(byte 1\)"):
        read_folder(tmp_path)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    """Both are told apart and name the folder."""
    with pytest.raises(ConfigError, match=r"nowhere' does not exist"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"has no \.htm, \.html, \.markdown, \.md"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("Carry-over of days", "carry-over-of-days"),
        ("Férias & faltas", "férias--faltas"),
        ("Wi-Fi: guests, partners", "wi-fi-guests-partners"),
        ("`list.sort()` and **you**", "listsort-and-you"),
        ("See [the FAQ](faq.md#x)", "see-the-faq"),
        ("snake_case_name", "snake_case_name"),
        ("1.2 Größe ⚠️", "12-größe-"),
    ],
)
def test_github_slugs(heading: str, slug: str) -> None:
    """Anchors are those GitHub makes."""
    assert github_slug(heading) == slug


def test_outline_numbers_duplicates_and_skips_code() -> None:
    """Equal headings get ``-1``; a heading in fenced code is none; sections nest."""
    text = "# A\n## B\n```\n# no\n```\n## B ##\n### B-1\n# C\nend\n"
    found = outline(text)
    assert [h.slug for h in found] == ["a", "b", "b-1", "b-1-1", "c"]
    assert text[found[0].start : found[0].end] == text[: text.index("# C")]
    assert text[found[1].start : found[1].end].endswith("```\n")


def test_a_missing_extra_says_what_to_type() -> None:
    """A package that is not there names its extra; a broken one keeps its own error."""
    with pytest.raises(MissingExtraError, match=r"pip install 'pytest-rag\[demo\]'"):
        require("no_such_package.inside", "demo")


def test_a_package_that_breaks_on_import_keeps_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an installed package fails to import is not our missing extra."""
    (tmp_path / "breaks_on_import.py").write_text("import missing_below\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="missing_below"):
        require("breaks_on_import", "demo")
