"""The Markdown report: the verdict first, nothing empty, nothing alive."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from report_parts import POISON, held, poisoned, result

from pytest_rag.changes import CaseChange, GoldChange
from pytest_rag.report.dashboard import RunView
from pytest_rag.report.markdown import MOST, code, markdown, table
from pytest_rag.report.overview import overview
from pytest_rag.report.summary import summarise


def told(*results, of=None, **options):
    """Return the report of some results."""
    return markdown(summarise(results, {} if of is None else {"handbook": of}), **options)


class _Alive(HTMLParser):
    """Notes every element that is not one of plain text's, and text outside code."""

    PLAIN = frozenset({
        "p", "blockquote", "ul", "li", "h1", "h2", "h3", "table", "thead", "tbody", "tr", "th",
        "td", "code", "strong", "details", "summary", "br",
    })  # fmt: skip

    def __init__(self):
        super().__init__()
        self.alive, self.text, self.inside = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.inside += tag == "code"
        if tag not in self.PLAIN:
            self.alive.append(tag)

    def handle_endtag(self, tag):
        self.inside -= tag == "code"

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)

    @classmethod
    def of(cls, text):
        """Return what GitHub's renderer makes of Markdown, where it lets HTML through."""
        found = cls()
        unsafe = Options.CMARK_OPT_UNSAFE
        found.feed(cmarkgfm.github_flavored_markdown_to_html(text, options=unsafe))
        return found


class _Cells(HTMLParser):
    """Collects the code of cells."""

    def __init__(self):
        super().__init__()
        self.cells = []

    def handle_starttag(self, tag, attrs):
        if tag == "code":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and self.get_starttag_text() == "<code>" and data.strip("\n"):
            self.cells[-1] += data


def test_green_is_said_first():
    """A run in which everything holds is a tip of one line, and its figures are folded."""
    text = told(result("a"), result("b"))
    assert text.startswith("> [!TIP]\n> **Green.**")
    assert "### `handbook` · 2 cases: 2 passed" in text
    assert "Spent $0.50 · tokens 18 in, 6 out · calls: 2 live" in text
    assert "Cases that fell" not in text
    spared = told(result("a"), saved_usd=0.25)
    assert "Answers that were not live would have cost about $0.25." in spared
    assert "What did not pass" not in text


def test_red_names_what_fell_where_it_went_and_what_came_instead():
    """A regression tells the case, the metric, both values, the rank and the stage."""
    runs = [result("a", outcome="failed"), result("b")]
    text = told(*runs, of=held(results=runs), record="run.jsonl")
    first = text.partition("\n\n")[0]
    assert first.startswith("> [!CAUTION]\n> **Red.**")
    assert "1 case failed" in first
    assert "nDCG@10 regressed" in first
    assert "| `nDCG@10` | ❌ regressed | 0.810 | 0.640 | -0.170 |" in text
    row = (
        "| `a` 💥 hard break | `nDCG@10` | 1.000 | 0.500 | -0.500 | `leave.md`: `rank 2 → cut from"
    )
    assert row in text
    assert "`rank 2 → cut from the context by Limit`" in text
    assert "instead: `drafts/proposal.md`" in text
    assert "| `nDCG@10 mean` | 0.500 | ≥ 0.900 | ❌" in text
    assert "Run record: `run.jsonl`" in text
    assert text.count("<details>") == text.count("</details>") > 1


def test_green_with_changes_is_a_warning():
    """Removed cases, weakened limits and an edited baseline are for a reviewer to see."""
    of = held(
        verdict="unchanged",
        changes=(),
        removed=("old-case",),
        weakened=("nDCG@10 min 0.8 → 0.5",),
        notes=("This change edits handbook.json; the bar is main, as it was.",),
    )
    text = told(result("a"), of=of)
    assert text.startswith("> [!WARNING]\n> **Green, with something to look at.**")
    assert "- removed: `old-case`" in text
    assert "- weakened: `nDCG@10 min 0.8 → 0.5`" in text
    assert "- `This change edits handbook.json; the bar is main, as it was.`" in text


def test_what_was_not_run_is_told_with_its_reason():
    """A missing key is no failure, and no green either."""
    error = {"type": "MissingKeyError", "message": "OPENAI_API_KEY is not set", "traceback": ""}
    text = told(result("a"), result("b", outcome="not_run", error=error, calls=[]))
    assert text.startswith("> [!WARNING]")
    assert "| `b` | not run | `OPENAI_API_KEY is not set` |" in text


@pytest.mark.parametrize("results", [[], [result("a", outcome="error")]])
def test_nothing_measured_is_never_green(results):
    """An empty run, or one of errors alone, says so."""
    assert told(*results).startswith("> [!CAUTION]\n> **Nothing was measured**")


def test_a_long_report_is_cut_with_a_pointer():
    """Ten thousand failures of a kind each stay under GitHub's limit, and folds are closed."""
    checks = [
        [{"metric": "contains", "argument": n, "passed": False, "reason": f"{n} " + "word " * 60}]
        for n in range(10_000)
    ]
    runs = [result(f"case-{n}", outcome="failed", checks=c) for n, c in enumerate(checks)]
    text = told(*runs, of=held(results=runs), record="run.jsonl")
    assert len(text) < MOST
    assert "The rest is in `run.jsonl`." in text
    short = told(*runs[:50], of=held(results=runs[:50]), most=2000)
    assert len(short) <= 2000
    assert "cut here" in short
    assert short.count("\n<details>") == short.count("\n</details>")


def test_nothing_that_a_pipeline_says_comes_alive():
    """No HTML, link, image or mention of a poisoned answer, id, reason or model is rendered."""
    runs = list(poisoned())
    change = CaseChange(
        case=POISON["mention"],
        broke=True,
        scores={POISON["pipe"]: (1.0, 0.5)},
        gold={text: GoldChange(before=2, now=None, lost=text) for text in POISON.values()},
        instead=(POISON["autolink"], POISON["fold"], POISON["pipe"]),
        times={POISON["link"]: (4.0, 9.0)},
    )
    of = held(results=runs, changes=(change,), notes=list(POISON.values()))
    text = told(*runs, of=of, record=POISON["pipe"])
    found = _Alive.of(text)
    assert found.alive == []
    outside = " ".join(found.text)
    assert not re.search(r"octo|evil|javascript:|GH-1|gone|bold|smile|\[\^1\]", outside)
    for words in ("@octocat", "<img src=x onerror", "&lt;img", "pass\\u200bword", "\\x1b[31mred"):
        assert words in text  # but it can be read
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"]


def test_code_spans_say_what_was_said():
    """Whatever backticks, pipes and backslashes it holds, a cell shows the text itself."""
    for said in ("a|b", "\\|", "x\\", "`", "a ``` b", "`|`", "\\`|\\`", "|", "a\\\\|b"):
        shown = _Cells()
        rows = "\n".join(table(("one", "two"), [(code(said), code("next"))]))
        shown.feed(cmarkgfm.github_flavored_markdown_to_html(rows))
        assert shown.cells == [said, "next"]
    assert code("") == code(" \n ") == "`(empty)`"


def test_the_overview_for_documents_tells_means_and_runs():
    """Mean quality, latency and cost of the newest run, and a line a run."""
    runs = [
        RunView(
            header={"started": f"2026-03-0{day}T10:00:00.000+00:00", "run_id": f"r{day}"},
            results=[result("a", scores={"nDCG@10": {"value": day / 10, "reason": None}})],
        )
        for day in (2, 1, 5)
    ]
    text = overview(runs)
    assert "**Green.** Every case and every limit holds." in text
    assert "| `nDCG@10` | 0.500 | — | 1 |" in text
    assert "Mean 31 ms over 1 run." in text
    days = re.findall(r"\| `r\d` \| (\S+) 10:00 \| 1 of 1 \| ([\d.]+) \|", text)
    assert days == [("2026-03-01", "0.100"), ("2026-03-02", "0.200"), ("2026-03-05", "0.500")]
    assert "$0.75 in 3 runs, $0.25 a case in the mean." in text
    # three runs of $0.25 in five days, and 26 days of March are left
    assert "come to about $4.65" in text


def test_the_overview_says_red_and_why():
    """The verdict stands in front of the figures it is drawn from."""
    found = held(results=[result("a")])
    text = overview(
        [RunView(header={}, results=[result("a")], verdicts={"handbook": found.to_dict()})]
    )
    reason = "- `nDCG@10 mean 0.500, limit ≥ 0.900`"
    assert "**Red.** This run does not hold what was asked." in text
    assert text.index("**Red.**") < text.index(reason) < text.index("### Quality")


def test_the_overview_of_poison_is_harmless():
    """What stands in a repository's documents is inert as well."""
    results = [result(text, evalset=text) for text in POISON.values()]
    runs = [
        RunView(header={"started": text, "run_id": text}, results=[*results, *poisoned()])
        for text in POISON.values()
    ]
    found = _Alive.of(overview(runs))
    assert found.alive == []
    assert not re.search(r"octo|evil|javascript:|GH-1|gone|bold", " ".join(found.text))
