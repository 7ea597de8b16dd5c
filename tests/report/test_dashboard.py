"""The dashboard in a real browser: it opens, every control works, nothing runs that should not."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from machine import needed
from report_parts import POISON, held, poisoned, result
from typer.testing import CliRunner

from pytest_rag.cli import app
from pytest_rag.config import Alerts
from pytest_rag.records import Result
from pytest_rag.report.dashboard import RunView, dashboard
from pytest_rag.report.dashboard.spend import saved, spend

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, or a skip where the machine has none."""
    chromium = needed("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def handbook(tmp_path_factory):
    """The page of two real runs of the handbook, the second with fewer documents."""
    folder = tmp_path_factory.mktemp("handbook")
    shutil.copytree(ROOT / "evalsets" / "handbook", folder / "handbook")
    text = (ROOT / "evalsets" / "handbook.rag.yaml").read_text(encoding="utf-8")
    file = folder / "handbook.rag.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, more in (("one", ""), ("two", "    top_k: 2\n")):
            corpus = "    corpus: handbook\n"
            file.write_text(text.replace(corpus, corpus + more), encoding="utf-8")
            args = ["run", file.name, "--out", f"{name}.jsonl", "--baseline", "none"]
            CliRunner().invoke(app, args, catch_exceptions=False)
        done = CliRunner().invoke(app, ["report", "one.jsonl", "two.jsonl", "-o", "out"])
    assert done.output == "wrote out/index.html\n"
    return folder / "out" / "index.html"


@contextmanager
def opened(browser, path, **options):
    """Open a page; in the end nothing was asked for, nothing ran, nothing complained."""
    context = browser.new_context(**options)
    page = context.new_page()
    troubles, asked = [], []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    yield page
    assert page.evaluate("window.pwned") is None
    context.close()
    assert troubles == []
    assert asked == [path.as_uri()]


def serious(page):
    """Return what axe-core finds that is serious or worse."""
    page.evaluate((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    return [
        (each["id"], each["impact"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def count(page):
    """Return what the page says of how many cases it shows."""
    return page.locator("[data-count]").inner_text()


def ids(page):
    """Return the cases of the rows that are shown."""
    return page.locator("[data-body] button").all_inner_texts()


# --- two real runs ------------------------------------------------------------------------------


def test_search_filters_and_sorting_by_mouse(browser, handbook):
    """A reader finds a case by words, by what became of it, by tag, and by the stage to blame."""
    with opened(browser, handbook) as page:
        assert count(page) == "93 cases"
        page.get_by_label("Search").fill("vacation carry")
        assert (count(page), ids(page)) == ("1 of 93 cases", ["carry-over"])
        page.get_by_role("button", name="Clear").click()
        page.locator("[data-count]:text-is('93 cases')").wait_for()
        page.locator("select[name=change]").select_option("worse")
        worse = int(count(page).split()[0])
        assert 10 < worse < 60
        page.locator("select[name=stage]").select_option("retrieve")
        assert 0 < int(count(page).split()[0]) < worse
        page.locator("select[name=tag]").select_option("it")
        page.locator("select[name=verdict]").select_option("passed")
        assert int(count(page).split()[0]) < worse
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("button", name="nDCG@10").click()
        column = page.locator("[data-body] tr td:nth-child(4)")
        rising = [float(text.split("→")[-1]) for text in column.all_inner_texts()]
        assert rising == sorted(rising)
        page.get_by_role("button", name="nDCG@10").click()
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("nDCG@10")
        page.get_by_role("button", name="Next").click()
        assert page.locator("[data-where]").inner_text() == "page 2 of 4"


def test_a_case_by_keyboard(browser, handbook):
    """Enter opens it, it tells what was lost and where the time went, Escape closes it."""
    with opened(browser, handbook) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.get_by_label("Search").focus()
        page.keyboard.type("carry-over")
        page.locator("[data-body] button").first.focus()
        page.keyboard.press("Enter")
        box = page.get_by_role("dialog", name="carry-over")
        box.wait_for()
        text = box.inner_text()
        for words in (
            "How many unused vacation days", "Up to five unused days.", "people/leave.md",
            "rank before", "not retrieved", "Retrieved before, not now", "0.950\t0.760", "itself",
            "wordllama", "Over the runs", "1 of 1", "gold lost at retrieve", "vacation",
        ):  # fmt: skip
            assert words in text, words
        assert page.evaluate("location.hash") == "#e0/carry-over"
        page.keyboard.press("Escape")
        box.wait_for(state="hidden")
        assert page.evaluate("document.activeElement.textContent") == "carry-over"


def bars(page):
    """Return the bars of the waterfall of the open case: what each says when it is pointed at."""
    return [title.split(":")[0] for title in page.locator("rect title").all_text_contents()]


def test_the_waterfall_tells_what_ran_when(browser, handbook):
    """A bar a component, as far from the left as it began; the figures are a table as well."""
    with opened(browser, handbook) as page:
        page.get_by_label("Search").fill("carry-over")
        page.locator("[data-body] button").first.click()
        page.wait_for_selector("dialog[open]")
        names = bars(page)
        parts = ["the whole run", "HybridRetriever", "LexicalRetriever", "DenseRetriever"]
        assert names[:4] == parts
        lefts = [float(bar.get_attribute("x")) for bar in page.locator("rect").all()]
        assert lefts[1:] == sorted(lefts[1:])
        assert lefts[0] < lefts[1] < lefts[names.index("ExtractiveSynthesizer")]
        page.get_by_text("Every component").focus()
        page.keyboard.press("Enter")
        row = page.locator("dialog tr", has_text="DenseRetriever").inner_text().split("\t")
        assert row[0].strip() == "DenseRetriever"
        assert row[1] == "retrieve"
        assert all(cell.endswith(" ms") for cell in row[2:])


def test_the_verdict_is_read_first(browser, handbook):
    """Red, why, and what moved since the run before: all on the first screen, and in the tab."""
    with opened(browser, handbook, viewport={"width": 1280, "height": 500}) as page:
        box = page.get_by_label("Verdict", exact=True).first
        told = box.inner_text()
        assert told.startswith("Red. This run does not hold what was asked.")
        assert re.search(r"nDCG@10 mean 0\.\d+, limit ≥ 0\.\d+", told)
        moved = r"Since the run before \(.+\), of 93 cases: \d+ worse by nDCG@10; gold was lost at"
        assert re.search(moved, told)
        assert box.bounding_box()["y"] + box.bounding_box()["height"] < 400
        assert page.title() == "Red: handbook · RAG evaluation"
        page.get_by_role("link", name="Quality over time").focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("heading", name="Quality over time").is_visible()
        assert page.evaluate("scrollY") > 500


def test_every_control_by_keyboard(browser, handbook):
    """Tab reaches each of them, and what a mouse does the keys do."""
    with opened(browser, handbook) as page:
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    "(e => e.name || e.id || e.dataset.sort || e.dataset.page || e.type)"
                    "(document.activeElement)"
                )
            )
        wanted = {
            "theme",
            "print",
            "text",
            "verdict",
            "change",
            "tag",
            "stage",
            "reset",
            "Case",
            "Question",
            "Verdict",
            "nDCG@10",
            "Latency",
            "Cost",
            "Gold lost at",
            "1",
        }
        assert wanted <= reached, wanted - reached
        page.locator("[data-sort=Latency]").focus()
        page.keyboard.press("Enter")
        assert page.locator("th[aria-sort=ascending]").inner_text() == "Latency ▲"
        page.keyboard.press("Space")
        assert page.locator("th[aria-sort=descending]").inner_text() == "Latency ▼"
        page.locator("select[name=change]").focus()
        page.keyboard.type("worse")
        assert 10 < int(count(page).split()[0]) < 60
        page.locator("button[type=reset]").focus()
        page.keyboard.press("Enter")
        page.locator("[data-count]:text-is('93 cases')").wait_for()
        page.locator("[data-page='1']").focus()
        page.keyboard.press("Enter")
        assert page.locator("[data-where]").inner_text() == "page 2 of 4"
        page.locator("#theme").focus()
        page.keyboard.press("Space")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_link_leads_to_a_case(browser, handbook):
    """The address of an open case opens it again; its neighbours are a key away."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(handbook.as_uri() + "#e0/carry-over")
    page.wait_for_selector("dialog[open]")
    assert page.locator("#case-name").inner_text() == "carry-over"
    page.get_by_role("dialog").get_by_role("button", name="Next").click()
    page.locator("#case-name:not(:text-is('carry-over'))").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator("#case-name:text-is('carry-over')").wait_for()
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_everybody_can_read_it(browser, handbook, scheme, width):
    """axe-core finds nothing serious, closed or open, and no phone scrolls sideways."""
    size = {"width": width, "height": 800}
    with opened(browser, handbook, color_scheme=scheme, viewport=size, bypass_csp=True) as page:
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for summary in page.locator("details > summary").all():
            summary.click()
        page.locator("[data-body] button").first.click()
        page.wait_for_selector("dialog[open]")
        assert serious(page) == []


def test_dark_and_print(browser, handbook):
    """The button turns the colors; on paper the controls are gone and the figures are not."""
    with opened(browser, handbook, color_scheme="light") as page:
        back = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(back)
        page.get_by_role("button", name="Dark").click()
        assert page.evaluate(back) != light
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(back) == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(22, 32, 44)"
        assert not page.get_by_label("Search").is_visible()
        assert page.get_by_role("heading", name="Quality over time").is_visible()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert len(ids(page)) == 93  # nobody turns pages on paper
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.locator("[data-body] button").first.evaluate("button => button.click()")
        page.wait_for_selector("dialog[open]")
        assert not page.get_by_role("heading", name="Quality over time").is_visible()


# --- what it is made of ---------------------------------------------------------------------------


def runs(*days, **fields):
    """Return a run a day, each with one case."""
    return [
        RunView(
            header={"started": f"2026-03-{day:02}T10:00:00+00:00", "git": {"commit": f"{day:040}"}},
            results=[result("a", **fields), result("b", evalset="other")],
        )
        for day in days
    ]


def page_of(tmp_path, *args, **options):
    """Write a page and return its path."""
    path = tmp_path / "page.html"
    path.write_text(dashboard(*args, **options), encoding="utf-8")
    return path


def test_several_evalsets_and_costs(browser, tmp_path):
    """One evalset is shown at a time; costs are summed over all, with what is ahead."""
    alerts = Alerts(day_usd=0.3, month_usd=2.0)
    with opened(browser, page_of(tmp_path, runs(1, 2, 4), alerts=alerts)) as page:
        assert page.locator("article:visible h2").all_inner_texts() == ["handbook"]
        page.locator("#evalset").select_option(label="other")
        assert page.locator("article:visible h2").all_inner_texts() == ["other"]
        text = page.locator("main").inner_text()
        assert "Cost of all evalsets: $1.50" in text
        assert "The limit of $2.00 a month is passed, or will be at this rate." in text
        assert "3 days cost more than $0.30, the last on 2026-03-04." in text
        assert "dashed: the limit of a day" in text
        row = page.locator("tr", has_text="2026-03").last.inner_text().split("\t")
        assert row == ["2026-03", "$1.50", "$11.62", "$2.00"]
        assert "gpt-x" in text


def test_what_a_month_will_come_to():
    """Known so far, and the mean a day for the days left; the unknown is in no sum."""
    found = spend(runs(1, 2, 4))
    assert (found.by(7), found.by_model(), found.unknown) == ({"2026-03": 1.5}, {"gpt-x": 1.5}, 0)
    assert found.forecast == pytest.approx(1.5 + 1.5 / 4 * 27)
    assert spend(runs(1, 2)).forecast is None
    assert spend(runs(1, calls=[], cost_usd=None)).unknown == 1


def test_what_a_cache_saved():
    """Each answer that was not live counts as the mean live call of its model, or is not known."""
    call = {"model": "gpt-x", "origin": "cache", "cost_usd": 0.0}
    reused = result("a", calls=[call, call])
    assert saved([result("b"), reused]) == pytest.approx(0.5)
    assert saved([reused]) is None
    assert saved([result("b")]) is None


def test_one_run_with_its_baseline(browser, tmp_path):
    """A single run tells its verdict, and where gold was by the baseline; references as well."""
    lost = {"leave.md": {"grade": 2, "rank": None, "indexed": True, "lost": "cut from the context"}}
    run = RunView(
        header={},
        results=[result("a", outcome="failed", gold=lost, reference=["Up to five days."])],
        verdicts={"handbook": held().to_dict()},
    )
    with opened(browser, page_of(tmp_path, [run])) as page:
        text = page.locator("main").inner_text()
        assert "Red" in text
        assert "nDCG@10 regressed" in text
        assert "baselines/handbook.json at 1a2b3c4" in text
        page.locator("[data-body] button").first.click()
        page.wait_for_selector("dialog[open]")
        told = page.locator("dialog").inner_text()
        assert "Up to five days." in told
        row = page.locator("dialog tr", has_text="leave.md").first.inner_text().split("\t")
        assert row == ["leave.md", "2", "2", "not retrieved", "cut from the context"]


def test_an_older_record_is_laid_end_to_end(browser, tmp_path):
    """One that does not tell when a stage began says so, and shows how long each took."""
    with opened(browser, page_of(tmp_path, [RunView(header={}, results=[result("a")])])) as page:
        page.locator("[data-body] button").first.click()
        page.wait_for_selector("dialog[open]")
        assert bars(page) == ["the whole run", "retrieve", "synthesize"]
        assert "laid end to end" in page.locator("dialog").inner_text()


NOTHING = {
    "scores": {}, "retrieved": None, "gold": {}, "stages_ms": {}, "self_ms": {}, "calls": [],
    "latency_ms": None, "input_tokens": None, "output_tokens": None, "cost_usd": None,
    "answer": None,
}  # fmt: skip
SILENT = {"type": "", "message": "", "traceback": ""}
OLDER = {
    "evalset": "an older one", "case": "c", "outcome": "failed", "query": "q",
    "scores": {"R@5": {"value": 1.0}}, "calls": [{"stage": "llm", "model": "m"}],
    "retrieved": [{"id": "a", "rank": 1}], "gold": {"a": {"grade": 1, "rank": 1}},
    "checks": [{"metric": "R@5", "passed": False}],
}  # fmt: skip
NAMES = ("a/b", "\"quo'te`", POISON["endscript"], "😀", "مرحبا", "..", "x" * 900)
ODD = [
    *(result(n, "errors alone", outcome="error", error=SILENT, **NOTHING) for n in "ab"),
    result("a", "not run", outcome="not_run", **NOTHING),
    result("a", "one case"),
    *(result(n, "nothing known", **NOTHING) for n in "ab"),
    Result(evalset="the least", case="c", outcome="failed", query=""),
    result("a", "long", query="Why? " * 10_000, reference=["Because. " * 10_000]),
    Result.from_dict(OLDER),
    *(result(name, name, tags=[name]) for name in NAMES),
]


def test_whatever_a_run_holds_it_can_be_looked_at(browser, tmp_path):
    """Little, nothing, too much, names of any kind: the page opens, and so does every case."""
    path = page_of(tmp_path, [RunView(header={}, results=ODD)])
    with opened(browser, path) as page:
        articles = page.locator("article").all()
        assert len(articles) == len({each.evalset for each in ODD})
        for place, article in enumerate(articles):
            page.locator("#evalset").select_option(index=place)
            article.locator("[data-body] button").first.click()
            page.wait_for_selector("dialog[open]")
            assert page.locator("dialog h3").first.inner_text() in ("Why", "Question")
            page.keyboard.press("Escape")
            page.wait_for_selector("dialog", state="hidden")


def test_an_address_of_any_kind_opens_the_page(browser, tmp_path):
    """A case is found by its address whatever its name; what is no address opens the page."""
    path = page_of(tmp_path, [RunView(header={}, results=[result("a/b %")])])
    page = browser.new_page()
    page.goto(path.as_uri() + "#e0/a%2Fb%20%25")
    page.wait_for_selector("dialog[open]")
    for hash_ in ("#100%", "#e9/x", "#e0/gone", "#e0-cases"):
        page.goto("about:blank")
        page.goto(path.as_uri() + hash_)
        page.wait_for_selector("html[data-ready]")
        assert count(page) == "1 case"
    page.close()


def test_poison_is_text(browser, tmp_path):
    """Nothing that a pipeline says runs, is loaded, or is lost: it can be read."""
    results = list(poisoned())
    notes = {"handbook": {**held(results=results).to_dict(), "missing": POISON["script"]}}
    views = [
        RunView(header={"started": POISON["onerror"]}, results=results, verdicts=notes),
        RunView(header={"git": {"commit": POISON["endscript"]}}, results=results, verdicts=notes),
    ]
    path = page_of(tmp_path, views)
    assert path.stat().st_size < 1_000_000
    with opened(browser, path) as page:
        for n in range(len(results)):
            page.locator("[data-body] button").nth(n).click()
            page.wait_for_selector("dialog[open]")
            page.keyboard.press("Escape")
        page.get_by_label("Search").fill("window.pwned=1'>")
        assert count(page).startswith("1 of")
        page.locator("[data-body] button").first.click()
        page.wait_for_selector("dialog[open]")
        assert POISON["onerror"] in page.locator("dialog").inner_text()
        assert page.locator("img, main script[src], a:not([href^='#']), dialog a").count() == 0


def test_no_run_and_no_result(tmp_path):
    """A folder without records, and records without results, are told what they are."""
    empty = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert (empty.exit_code, "holds no run record" in empty.output) == (2, True)
    missing = CliRunner().invoke(app, ["report", str(tmp_path / "run.jsonl")])
    assert (missing.exit_code, "cannot be read" in missing.output) == (2, True)
    assert "There is nothing to show" in dashboard([])
