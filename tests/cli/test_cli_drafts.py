"""`pytest-rag run` and `doctor` with cases that nobody has reviewed, and with suspicious ones."""

from __future__ import annotations

DRAFT = "\n  - {id: draft, query: later, relevant: [a.md], reviewed: false}\n"


def test_a_run_counts_drafts_and_asks_none(project):
    """They are told at the end, and refused by name."""
    path = project.evalset("a", "good", "one")
    path.write_text(path.read_text().rstrip() + DRAFT)
    done = project("run", "a.rag.yaml", "--baseline", "none")
    assert done.exit_code == 0, done.output
    assert "not reviewed: 1 case of a, not run" in done.output
    named = project("run", "a.rag.yaml", "--case", "draft")
    assert (named.exit_code, "'draft' is not reviewed" in named.output) == (2, True)


def test_drafts_alone_are_nothing_to_run(project):
    """A file of proposals is no green run."""
    project.write(
        "a.rag.yaml", "pipeline: my_rag:good\nreviewed: false\ncases: [{id: a, query: q}]"
    )
    done = project("run", "a.rag.yaml")
    assert (done.exit_code, "so there is nothing to run" in done.output) == (2, True)


def test_the_doctor_looks_cases_through(project):
    """Gold and evidence that the documents do not hold are broken; the rest are notes."""
    project.write(
        "docs/leave.md", "# Leave\nFive days carry over into the next year.\n\n## Pay\nX.\n"
    )
    project.write(
        "a.rag.yaml",
        """
        pipeline: {local: {corpus: docs}}
        cases:
          - {id: fine, query: How many days carry over?, answer: Five., relevant: [leave.md#leave]}
          - {id: gone, query: Who pays the rent?, relevant: [leaves.md, "x/*"]}
          - {id: part, query: Where is the pay?, relevant: [leave.md#wages]}
          - {id: told, query: Which five days are free?, answer: Five days., relevant: [leave.md]}
          - {id: odd, query: Why so blue?, answer: Because quarks tumble., relevant: [leave.md]}
          - id: quote
            query: What stands there?
            evidence: {leave.md: [Five days carry   over, Six days carry over]}
            reviewed: false
          - {id: twin, query: How many days do carry over?, answer: Five., relevant: [leave.md]}
        """,
    )
    done = project("doctor", "a.rag.yaml")
    assert done.exit_code == 1
    rows = [line.split(maxsplit=2) for line in done.output.splitlines() if line.startswith("  ")]
    assert [(row[0], row[1]) for row in rows] == [
        ("ok", "cases"),
        ("ok", "documents"),
        ("ok", "near-duplicates"),
        ("broken", "gone"),
        ("broken", "gone"),
        ("broken", "part"),
        ("note", "told"),
        ("note", "odd"),
        ("note", "twin"),
        ("broken", "quote"),
    ]
    assert rows[0][2] == "7, 1 not reviewed"
    assert rows[3][2] == "Gold 'leaves.md' is not in the corpus. Did you mean 'leave.md'?"
    assert rows[6][2] == "The question holds its answer: 'Five days.'."
    assert "Asks what 'fine' asks" in rows[8][2]


def test_without_documents_only_questions_are_looked_at(project):
    """It says so, and how to name them; a folder that is not there is one sentence."""
    project.evalset("a", "good", "one")
    done = project("doctor", "a.rag.yaml")
    assert done.exit_code == 0
    assert "so gold and answers were not looked for: --corpus DOCS" in done.output
    wrong = project("doctor", "a.rag.yaml", "--corpus", "nowhere")
    assert (wrong.exit_code, "'nowhere' does not exist" in wrong.output) == (2, True)
