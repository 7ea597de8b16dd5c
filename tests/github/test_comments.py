"""One comment a pull request: of a gate's own run, or of a fork's, which nobody believes."""

from __future__ import annotations

import importlib.util
import io
import zipfile

import pytest
from actions import ROOT, Runner
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

SPEC = importlib.util.spec_from_file_location("tame", ROOT / ".github/actions/rag-comment/tame.py")
TAME = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TAME)
MARK = "<!-- pytest-rag gate: rag -->"
BOT = {"type": "Bot", "login": "github-actions[bot]"}


def packed(**files) -> bytes:
    """Return an archive of files, whose names have _ for a dot."""
    return packed_as({name.replace("_", "."): content for name, content in files.items()})


def packed_as(files, how=zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.fixture
def fork(github, tmp_path):
    """A pull request of a fork whose run has ended: what to leave there, and what comes of it."""
    github.begin({"README.md": "x"})
    github.propose({"README.md": "y"}, owner="stranger")
    github.propose({"README.md": "z"}, number=8, branch="other", owner="victim")
    return Fork(github, tmp_path)


class Fork:
    """The run of a stranger's code, and the workflow that comments for it."""

    def __init__(self, github, tmp_path):
        self.github, self.folder = github, tmp_path / "trusted"
        head = github.pulls[7]["head"]
        self.run = {
            "id": 501, "event": "pull_request", "head_sha": head["sha"],
            "head_branch": head["ref"], "head_repository": head["repo"],
        }  # fmt: skip

    def leave(self, content: bytes, name="rag-comment-rag") -> int:
        """Leave an artifact."""
        return self.github.upload(501, name, content)

    def comment(self) -> Runner:
        """Run the job of docs/ci/comment.yml."""
        runner = Runner(self.folder, self.github, "workflow_run", {"workflow_run": self.run})
        runner.job(ROOT / "docs/ci/comment.yml", "comment")
        return runner

    def refused(self, said: str) -> None:
        """Hold the job to be red with a sentence, and to have posted nothing."""
        seen = self.comment().outcome
        assert seen.status == 1
        assert said in seen.annotations[0][2]
        assert self.github.comments == []


def test_the_report_of_a_fork_is_posted_by_another_workflow(fork, github):
    """It is said whose it is, before anything it says; no checkout, and no token elsewhere."""
    fork.leave(packed(report_md="> [!TIP]\n> **Green.**", pr_txt="7"))
    runner = fork.comment()
    assert runner.outcome.status == 0
    (comment,) = github.comments
    assert comment["pull"] == 7
    assert comment["body"].startswith(f"{MARK}\n\n## RAG gate\n\nThis run had no right")
    assert comment["body"].index("nobody has checked it") < comment["body"].index("**Green.**")
    assert "/actions/runs/501)" in comment["body"]
    assert list(runner.workspace.iterdir()) == []
    (headers,) = github.seen_elsewhere
    assert not [name for name in headers if name.lower() == "authorization"]
    fork.leave(packed(report_md="again", pr_txt="7\n"))
    fork.comment()
    assert "again" in github.comments[0]["body"]
    assert len(github.comments) == 1


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"report.md": "x", "pr.txt": "8"}, "not the one that was run"),
        ({"report.md": "x", "pr.txt": "9"}, "HTTP 404"),
        ({"report.md": "x", "pr.txt": "7; rm -rf /"}, "does not hold the number"),
        ({"report.md": "x", "pr.txt": "7/../8"}, "does not hold the number"),
        ({"report.md": "x", "pr.txt": "\u0667"}, "does not hold the number"),
        ({"report.md": "x", "pr.txt": "7" * 30}, "pr.txt of the artifact is too long"),
        ({"report.md": "x" * 5_000_000, "pr.txt": "7"}, "report.md of the artifact is too long"),
        ({"report.md": b"\xff\xfe", "pr.txt": "7"}, "no UTF-8"),
        ({"report.md": "x"}, "alone"),
        ({"report.md": "x", "pr.txt": "7", "../../etc/cron.d/x": "x"}, "alone"),
        ({"../report.md": "x", "pr.txt": "7"}, "alone"),
        ({"report.md": "x", "pr.txt": "7", "comment.py": "raise SystemExit"}, "alone"),
    ],
    ids=[
        "another's", "none", "shell", "path", "digits", "long number", "huge", "no UTF-8", "half",
        "traversal", "aside", "code",
    ],
)  # fmt: skip
def test_a_hostile_artifact_is_refused(fork, files, said):
    """Nothing of it is posted, run or written."""
    fork.leave(packed_as(files))
    fork.refused(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"PK\x03\x04 torn", "no archive"), (b"", "no archive"), (b"x" * 400_000, "too big")],
    ids=["torn", "empty", "big"],
)
def test_what_is_no_archive_is_refused(fork, content, said):
    """However it ends."""
    fork.leave(content)
    fork.refused(said)


def test_a_size_that_is_a_lie_is_refused(fork, github):
    """What is read is bounded, whatever was said of it."""
    github.claimed[fork.leave(b"x" * 400_000)] = 10
    fork.refused("too big")


def test_another_way_of_packing_is_refused(fork):
    """GitHub packs in one way alone."""
    fork.leave(packed_as({"report.md": "x", "pr.txt": "7"}, zipfile.ZIP_LZMA))
    fork.refused("does not pack")


@pytest.mark.parametrize(
    "change",
    [{"sha": "0" * 40}, {"state": "closed"}],
    ids=["newer commit", "closed"],
)
def test_a_pull_request_that_moved_on_is_left_alone(fork, github, change):
    """What is said of an older commit is of no use; that is nobody's fault."""
    pull = github.pulls[7]
    (pull["head"] if "sha" in change else pull).update(change)
    fork.leave(packed(report_md="x", pr_txt="7"))
    seen = fork.comment().outcome
    assert seen.status == 0
    assert "moved on" in seen.log
    assert github.comments == []


def test_a_run_that_commented_itself_leaves_nothing_to_do(fork, github):
    """No artifact by that name is no failure; nor is a run of something else."""
    fork.leave(packed(report_md="x", pr_txt="7"), name="rag-comment-other")
    assert fork.comment().outcome.status == 0
    fork.run["event"] = "push"
    assert not fork.comment().outcome.steps
    assert github.comments == []


def test_a_job_that_may_not_comment_is_told_what_it_needs(fork, github):
    """Here nobody comes after it."""
    github.may_write = False
    fork.leave(packed(report_md="x", pr_txt="7"))
    fork.refused("pull-requests: write")


ALIVE = {
    "tag": "<img src=x onerror=alert(1)>",
    "comment": "<!-- pytest-rag gate: other -->",
    "mention": "@octocat and `@octocat`",
    "address": "x@5.example y@10-z.example a@1234567",
    "entity": "&#64;octocat",
    "link": "[click](https://evil.example)",
    "reference": "[click][x]\n[x]: //evil.example",
    "bare": "https://evil.example www.evil.example",
    "issue": "#12 GH-12 octo/repo#12",
    "diagram": "```mermaid\ngraph",
    "command": "/approve",
    "bidi": "safe \u202egnp.exe\x00\x1b[31m",
    "fold": "<details><summary><img src=x></summary>",
}


def test_nothing_in_a_report_is_alive(fork, github):
    """No tag, link, image, mention, reference, diagram or command; what is our own stays."""
    ours = "> [!CAUTION]\n> **Red.** `nDCG@10`, `R@5`\n\n<details><summary>Spent</summary>\n\n| a"
    fork.leave(packed(report_md="\n\n".join([ours, *ALIVE.values()]), pr_txt="7"))
    fork.comment()
    body = github.comments[0]["body"]
    assert ours in body
    _, _, told = body.partition(ours)
    assert not [text for text in ALIVE.values() if text in told]
    for text in (
        "<\u2060img", "<\u2060!--", "@\u2060octocat", "x@\u20605", "y@\u206010", "a@\u20601",
        "&\u2060#", "]\u2060(", "]\u2060[",
        "]\u2060:", ":\u2060//", "www\u2060.", "#\u206012", "GH-\u206012",
        "```\u2060mermaid",
        "\n/\u2060approve", "\\u202egnp.exe\\x00\\x1b[31m",
    ):  # fmt: skip
        assert text in told, text
    assert told.count("\n</details>") == 1  # what was left open does not swallow what follows


PIECES = st.sampled_from(
    [
        "<", ">", "[", "]", "(", ")", "!", "\\", "`", "``", "```", "~~~", "&", "#", ":", "//", "/",
        "|", "*", "_", "a", "x=1", "script", "img ", "https", "evil.example", "<!--", "-->", "<?",
        "<![CDATA[", "&lt;", "&#60;", "</details>", "[a]: ", "mailto:", "\n", "\t", " ", "    ",
        "> ", "- ", "![x](y)", "[a][b]",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join))
def test_no_renderer_finds_anything_alive(text):
    """By a CommonMark parser with HTML let through: no link, no image, no tag but a fold's end."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    blocks = parser.parse(TAME.tame(text))
    found = [token for block in blocks for token in (block, *(block.children or ()))]
    assert not [t for t in found if t.type in ("link_open", "image")], text
    tags = "".join(t.content for t in found if t.type in ("html_inline", "html_block"))
    assert "<" not in tags.replace("</details>", "").replace("<\u2060", ""), text


def test_a_long_report_is_cut(fork, github):
    """GitHub takes 65,536 characters, however many had to be put between them."""
    fork.leave(packed(report_md="@a@a@a@a@a@a\n" * 12_000, pr_txt="7"))
    assert fork.comment().outcome.status == 0
    assert "… cut here." in github.comments[0]["body"]
    assert len(github.comments[0]["body"]) < 65_536


# --- which comment ------------------------------------------------------------------------------


def test_the_comment_of_a_bot_is_found_among_many(fork, github):
    """On a later page; a person who writes the same marker is not taken for us."""
    said = [{"id": n, "pull": 7, "body": "hm", "user": {"type": "User"}} for n in range(150)]
    said.append({"id": 200, "pull": 7, "body": f"{MARK} mine", "user": {"type": "User"}})
    said.append({"id": 201, "pull": 7, "body": f"{MARK} old", "user": BOT})
    said.append({"id": 202, "pull": 8, "body": f"{MARK} of another", "user": BOT})
    github.comments += said
    fork.leave(packed(report_md="new", pr_txt="7"))
    fork.comment()
    assert len(github.comments) == len(said)
    assert [c["id"] for c in github.comments if "new" in c["body"]] == [201]


def test_a_server_that_stumbles_is_asked_again(fork, github):
    """Once or twice; an answer that does not come is told, and is no verdict."""
    fork.leave(packed(report_md="x", pr_txt="7"))
    github.fails = 2
    assert fork.comment().outcome.status == 0
    assert len(github.comments) == 1
    github.fails = 50
    seen = fork.comment().outcome
    assert (seen.status, "HTTP 502" in seen.log) == (1, True)
