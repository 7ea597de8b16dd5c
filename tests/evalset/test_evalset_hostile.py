"""Files that are broken, hostile or huge: one clear problem each, quick, nothing executed."""

from __future__ import annotations

import gc
import importlib
import os
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_rag.errors import EvalSetError
from pytest_rag.evalset import MAX_BYTES, load, yamlpos
from pytest_rag.evalset.problems import Problems

PATH = Path("x.rag.yaml")
CASE = "cases: [{id: a, query: q}]\n"


@pytest.fixture(params=["libyaml", "pure"])
def parser(request, monkeypatch):
    """Run a test with libyaml, and with PyYAML's own parser."""
    name = "CSafeLoader" if request.param == "libyaml" else "SafeLoader"
    if not hasattr(yaml, name):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yamlpos, "_Loader", getattr(yaml, name))
    return request.param


def said(data):
    """Return place and message of every problem."""
    with pytest.raises(EvalSetError) as caught:
        load(PATH, text=data if isinstance(data, bytes) else data.encode())
    return [(p.line, p.column, p.message) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("evalset: a: b", 1, 11, "A ':' followed by a space begins a value"),
        ("evalset: 'x", 1, 10, "A quote is opened here and never closed."),
        ("cases: [1, 2", 1, 8, "A '[' is opened here and not closed with ']'"),
        ("cases: {a: 2", 1, 8, "A '{' is opened here and not closed with '}'"),
        ("cases: [*.md]", 1, 9, "A text cannot begin with '*'. Put it in quotes: '*.md'."),
        ("evalset: @x", 1, 10, "A text cannot begin with '@'. Put it in quotes: '@x'."),
        ("evalset: `x`", 1, 10, "A text cannot begin with '`'. Put it in quotes: '`x`'."),
        ("cases:\n\t- b", 2, 1, "A tab cannot indent YAML. Write spaces."),
        ("cases:\n  - b\n c: d", 3, 2, "This does not continue what stands above it."),
        ("evalset: 'b' c", 1, 14, "This does not continue what stands above it."),
        ("evalset: *x", 1, 10, "Alias '*x' refers to no anchor above it."),
        ("{evalset: b}}", 1, 13, "Something follows here after the end"),
        ("cases: a\n--- b", 2, 1, "A second document begins here. Put it into a file of its own."),
        ("", 1, 1, "The file is empty."),
        ("# only a comment\n", 1, 1, "The file is empty."),
        ("- a", 1, 1, "An evalset is a mapping. Begin with 'cases:'."),
        ("? [a]\n: b", 1, 3, "A key must be a text, not a list or a mapping."),
        ("<<: {a: b}", 1, 1, "Merge keys ('<<') are not supported."),
        ("evalset: a\nevalset: b\n" + CASE, 2, 1, "Key 'evalset' is given twice: in line 1"),
        ("evalset: !!str a\n" + CASE, 1, 10, "Tag '!!str' is not supported."),
        ("gate: {R@5: .nan}\n" + CASE, 1, 13, "'.nan' is not a finite number."),
        ("gate: {R@5: 1e999}\n" + CASE, 1, 13, "'1e999' is not a finite number."),
        ("gate: {R@5: -.inf}\n" + CASE, 1, 13, "'-.inf' is not a finite number."),
        (f"gate: {{R@5: {'9' * 5000}}}\n{CASE}", 1, 13, "'9999999999"),
        ("evalset: &a [*a]", 1, 14, "Alias '*a' stands inside what it refers to."),
        ("evalset: " + "[" * 900, 1, 49, "Nested deeper than 40 levels."),
    ],
)
def test_broken_yaml(parser, text, line, column, message):
    """What is no YAML, or more YAML than a data file needs, is told at its place."""
    [(at, near, found)] = said(text)
    assert found.startswith(message)
    assert at == line
    assert near == column or (parser == "pure" and abs(near - column) <= 1)


def test_what_nests_without_end(parser):
    """A hundred thousand levels are refused as soon as the parser has seen enough of them."""
    [(line, column, message)] = said("evalset: " + "[" * 100_000)
    assert message == "Nested deeper than 40 levels."
    assert line == 1
    assert 49 <= column <= 1100


def test_a_backslash_in_double_quotes(parser):
    """A regular expression in double quotes is told to use single quotes."""
    [(line, _, message)] = said('evalset: "\\d"')
    assert (line, message[:40]) == (1, "In double quotes a backslash begins an e")


@pytest.mark.parametrize(
    "text",
    ['evalset: "\\U00110000"', 'evalset: "\\UFFFFFFFF"', f"%YAML 1.{'1' * 5000}\n---\na"],
)
def test_numbers_no_parser_can_hold(parser, text):
    """Escapes beyond Unicode and giant versions are problems and not tracebacks."""
    assert len(said(text)) == 1


def test_every_character(parser):
    """Every character of Unicode is text for both parsers, or a problem with its place."""
    allowed = [chr(code) for code in range(0x20, 0x11000) if not 0xD800 <= code < 0xE000]
    text = "".join(each for each in allowed if not yamlpos._CONTROL.search(each))
    node = yamlpos.compose("'" + text.replace("'", "''") + "'", Problems(PATH))
    assert len(node.value) > 60_000


def test_nothing_is_executed(parser, tmp_path):
    """A tag that would call a function is refused, and the function is not called."""
    flag = tmp_path / "flag"
    found = said(f"evalset: !!python/object/apply:os.mkdir ['{flag}']\n{CASE}")
    assert found[0][2].startswith("Tag '!!python/object/apply:os.mkdir' is not supported.")
    assert not flag.exists()


def test_alias_bomb(parser):
    """Nested aliases stop at the bound on values, before anything is unfolded."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    before = len(gc.get_objects())
    [(line, column, message)] = said("\n".join(rows))
    assert len(gc.get_objects()) - before < 10_000
    assert message.startswith("The file holds more than 1,000,000 values.")
    assert (line, column) == (6, 45)


def test_a_chain_of_aliases_is_no_deeper_than_brackets(parser):
    """Depth hidden in a chain of aliases is bounded like depth that is written out."""
    rows = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 900))]
    [(line, _, message)] = said("\n".join(rows))
    assert message == "Nested deeper than 40 levels."
    assert line == 40


def test_a_list_of_too_many_values():
    """A small file with millions of values stops at the bound."""
    [(line, _, message)] = said("cases: [" + "a," * 1_000_001)
    assert (line, message[:30]) == (1, "The file holds more than 1,000")


@pytest.mark.parametrize(
    "text",
    [
        f"cases: [{{id: a, query: q, tags: [{'a-b,' * 900_000}]}}]",
        "cases: [{id: a, query: q, checks: {" + ",".join(f"x{n}: 1" for n in range(5000)) + "}}]",
        CASE + "gate: {" + ",".join(f"x{n}: 1" for n in range(5000)) + "}",
        CASE + "\n".join(f"x{n}: 1" for n in range(5000)),
    ],
    ids=["tags", "checks", "gate", "keys"],
)
def test_too_much_is_wrong(text):
    """A file in which everything is wrong gives a bounded list of problems."""
    assert len(said(text)) <= 1001


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        ("évalset: x\nq: é\xff".encode("latin-1"), 1, 1, "Byte b'\\xe9' is not UTF-8."),
        ("a: é\nb: é".encode() + b"\xff", 2, 5, "Byte b'\\xff' is not UTF-8."),
        (CASE.encode("utf-16"), 1, 1, "The file is saved as UTF-16. Save it as UTF-8."),
        (CASE.encode("utf-32-be"), 1, 1, "Control character '\\x00' is not allowed."),
        (b"a: b\nb: \x00", 2, 4, "Control character '\\x00' is not allowed."),
        (b"a: \x1b[31m", 1, 4, "Control character '\\x1b' is not allowed."),
    ],
)
def test_bytes_that_are_no_text(data, line, column, message):
    """Bytes that are not UTF-8 text are told with line and column."""
    [(at, near, found)] = said(data)
    assert (at, near) == (line, column)
    assert found.startswith(message)


def test_byte_order_mark_and_windows_lines():
    """A byte order mark and Windows line ends are no problem."""
    data = b"\xef\xbb\xbfcases:\r\n  - id: a\r\n    query: q\r\n"
    assert load(PATH, text=data).cases[0].line == 2


def test_a_sparse_gigabyte(tmp_path):
    """A file over the limit is refused by its size, unread."""
    path = tmp_path / "big.rag.yaml"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 30)
    with pytest.raises(EvalSetError, match=r"has 1,024 MiB, and 64 are allowed\. Move the cases"):
        load(path)


def test_text_over_the_limit():
    """Text that is handed in is held to the same limit."""
    assert said(b" " * (MAX_BYTES + 1))[0][2].startswith("The file has 64 MiB")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", r"This is not a regular file\."),
        ("pipe", r"This is not a regular file\."),
        ("none", "Cannot read the file: No such"),
    ],
)
def test_a_path_that_cannot_be_read(tmp_path, name, message):
    """A folder, a pipe that nobody writes to and a missing file are told as such."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EvalSetError, match=message):
        load(tmp_path / name)


def test_user_values_are_cut():
    """A long value is shown in part."""
    [(_, _, message)] = said(f"cases: [{{id: a, query: q, repeat: {'x' * 500}}}]")
    assert len(message) < 120
    assert "…" in message


def test_the_collector_is_left_as_it_was():
    """The garbage collector runs again after a load that failed."""
    assert gc.isenabled()
    said("[")
    assert gc.isenabled()


def test_llama_index_is_not_imported():
    """The package names no module of LlamaIndex."""
    module = importlib.import_module("pytest_rag.evalset")
    sources = Path(module.__file__).parent.glob("*.py")
    assert not [path.name for path in sources if "llama_index" in path.read_text()]


# --- properties -------------------------------------------------------------------------------


def tried(data):
    """Return None where the bytes load, and the problems where they do not."""
    try:
        load(PATH, text=data)
    except EvalSetError as error:
        return error.problems
    return None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"cases: [{id: a, query: q, checks: {R@5: 0x}}]")
def test_random_bytes(data):
    """Bytes load, or are an EvalSetError with at least one problem."""
    found = tried(data)
    assert found is None or found


@settings(max_examples=300, deadline=None)
@given(st.text("cases:idquery-[]{}&*!<>|'\"#% \n\t,?x1.~", max_size=80))
def test_random_yaml(text):
    """So do texts made of YAML's own characters."""
    found = tried((CASE + text).encode())
    assert all(problem.message.endswith((".", "?")) for problem in found or ())


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp")),
    min_size=1,
    max_size=20,
).filter(str.strip)
IDS = TEXT.map(str.strip).filter(lambda text: "::" not in text and text.isprintable() and text)
TAGS = st.text(string.ascii_lowercase, min_size=5, max_size=8).map(lambda word: f"t{word}")
CASES = st.fixed_dictionaries(
    {"id": IDS, "query": TEXT},
    optional={
        "answer": TEXT | st.lists(TEXT),
        "relevant": st.dictionaries(TEXT, st.integers(0, 10**9)) | st.lists(TEXT, unique=True),
        "forbidden": st.lists(TEXT),
        "tags": st.lists(TAGS, unique=True),
        "filters": st.dictionaries(TEXT, TEXT | st.booleans() | st.integers(-9, 9)),
        "repeat": st.integers(1, 1000),
        "timeout_s": st.floats(1e-3, 1e9),
    },
)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that begins as a number does: YAML 1.1 takes ``0E0`` for none."""


def _dump_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = '"' if text.startswith(tuple("+-.0123456789")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _dump_text)


@settings(max_examples=200, deadline=None)
@given(st.lists(CASES, min_size=1, max_size=5, unique_by=lambda case: case["id"]))
def test_what_is_dumped_loads(cases):
    """Cases written by another YAML library come back as they were."""
    text = yaml.dump({"cases": cases}, Dumper=_Dumper, allow_unicode=True)
    found = load(PATH, text=text.encode()).cases
    for case, written in zip(found, cases, strict=True):
        answer, gold = written.get("answer", []), written.get("relevant", {})
        assert (case.id, case.query) == (written["id"], written["query"])
        assert case.answers == ((answer,) if isinstance(answer, str) else tuple(answer))
        assert case.relevant == (gold if isinstance(gold, dict) else dict.fromkeys(gold, 1))
        assert case.forbidden == tuple(written.get("forbidden", ()))
        assert case.tags == tuple(written.get("tags", ()))
        assert case.filters == written.get("filters", {})
        assert case.repeat == case.min_pass == written.get("repeat", 1)
        assert case.timeout_s == written.get("timeout_s", 60)
