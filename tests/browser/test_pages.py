"""What people see after a real run: the pages of a real Prefect server and the report from disk, in a real browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from flywheel.cli.main import main
from flywheel.naming import slug_of
from tests.browser.conftest import HOSTILE, Paused
from tests.browser.pages import artifact_url, click, open_page, picture, shown, until, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OF_THE_RUN = slug_of("support-router", "acme-web")
"""End of the keys of its artifacts."""
UIS = ("", "/v2")
"""Prefect's two user interfaces: they render tables and Markdown each in its own way."""


def assert_nothing_ran(browser: Any) -> None:
    """No script of the hostile text ran, and neither its image nor its link is there."""
    assert browser.title != "owned"
    for what in ("img[src='x']", "a[href^='javascript']", "script:not([src]):not([type=module])"):
        every = "return [...document.querySelectorAll(arguments[0])].map(e => e.outerHTML)"
        assert [e for e in browser.execute_script(every, what) if "owned" in e] == [], what
    assert browser.find_elements(By.CSS_SELECTOR, "img[src='x']") == []


def test_the_run_page_shows_the_run_waiting_for_a_person(
    run: Paused, browser: Any, screenshots: Path
) -> None:
    address = f"{run.ui}/runs/flow-run/{run.flow_run_id}"
    open_page(browser, address, "Paused", "Resume", "Pausing flow", "support-router")
    picture(browser, screenshots / "run.png", 1280, 900)
    browser.set_window_size(1280, 3000)  # the list draws only what is in sight
    click(browser, "Artifacts")
    kinds = ("summary", "divergent", "verdicts", "results", "costs", "regressions", "funnel", "leakage")
    wait_for(browser, *(f"{kind}-support-router" for kind in (*kinds, "judges", "decision")))
    click(browser, "Subflow Runs")
    wait_for(browser, "small-a", "Completed")


@pytest.mark.parametrize("ui", UIS)
def test_the_summary_says_what_it_comes_to_and_what_to_do_next(
    run: Paused, browser: Any, screenshots: Path, ui: str
) -> None:
    address = artifact_url(run.ui, f"summary-{OF_THE_RUN}").replace("/artifacts", f"{ui}/artifacts", 1)
    command = f"flywheel decide {run.flow_run_id} small-a --approve"
    open_page(browser, address, "can be considered", "What to do now", "surfaced", command, "production")
    wait_for(browser, "Where the records went")

    def drawn() -> bool:
        charts = browser.find_elements(By.CSS_SELECTOR, "img[src^='data:image/svg+xml']")
        return [int(chart.get_property("naturalWidth")) > 0 for chart in charts] == [True]

    until(browser, drawn, "one chart that is drawn")
    assert_nothing_ran(browser)
    picture(browser, screenshots / f"summary{ui.replace('/', '-')}.png", 1280, 1400)


@pytest.mark.parametrize("ui", UIS)
def test_hostile_answers_show_as_text_in_the_divergent_answers(
    run: Paused, browser: Any, screenshots: Path, ui: str
) -> None:
    address = artifact_url(run.ui, f"divergent-{OF_THE_RUN}").replace("/artifacts", f"{ui}/artifacts", 1)
    open_page(browser, address, "customized-eval", "onerror")

    def as_text() -> bool:
        page = shown(browser).replace("\u2060", "").replace("⟦", "").replace("⟧", "")
        return HOSTILE in " ".join(page.replace("\u2217", "*").split())

    until(browser, as_text, HOSTILE)
    assert_nothing_ran(browser)
    picture(browser, screenshots / f"divergent{ui.replace('/', '-')}.png")


def test_tables_of_verdicts_costs_and_the_checklist_open(run: Paused, browser: Any) -> None:
    for kind, words in (
        ("verdicts", ("surfaced", "customized-eval")),
        ("costs", ("USD", "days")),
        ("decision", ("spot-check", "security-and-compliance", "open")),
        ("judges", ("No judge was asked",)),
    ):
        open_page(browser, artifact_url(run.ui, f"{kind}-{OF_THE_RUN}"), *words)


def test_the_run_form_explains_every_setting(run: Paused, browser: Any, screenshots: Path) -> None:
    open_page(
        browser,
        f"{run.ui}/deployments/deployment/{run.deployment_id}/run",
        "Workload Id",
        "Eval Size",
        "Candidates",
        "Who produced the traffic.",
        "Records held out for evaluation",
        "Require Decision",
        "How much worse than production a candidate may be",
    )
    picture(browser, screenshots / "form.png")


@pytest.fixture(scope="module")
def report(run: Paused, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report as the command writes it, opened from disk."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    home = f"connections.home={run.config.connections.home}"
    assert main(["report", str(run.flow_run_id), "--out", str(out), "--set", home]) == 0
    return out.as_uri()


def test_the_report_opens_from_disk_with_every_section(
    run: Paused, browser: Any, report: str, screenshots: Path
) -> None:
    browser.get("about:blank")  # what the page before had under way is broken off, and said so in its log
    browser.get_log("browser")
    page = open_page(browser, report, "can be considered", "Recompute it")
    for words in (
        "Verdicts",
        "Quality against cost and latency",
        "Costs",
        "Divergent answers",
        "validation loss",
    ):
        assert words in page
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.chart")) == 9
    assert [entry["message"] for entry in browser.get_log("browser")] == []  # also what the policy refused
    requests = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert requests == []
    assert_nothing_ran(browser)
    assert HOSTILE in page
    picture(browser, screenshots / "report.png", 1100, 1500)


def test_two_steps_lead_from_the_verdict_to_the_single_item(browser: Any, report: str) -> None:
    open_page(browser, report, "can be considered")
    link = browser.find_element(By.CSS_SELECTOR, "a[data-evaluation='customized-eval']")
    browser.execute_script("arguments[0].click()", link)
    every = browser.find_elements(By.CSS_SELECTOR, "article.item")

    def chosen() -> list[Any]:
        items = [e for e in every if e.is_displayed()]
        return items if {e.get_attribute("data-evaluation") for e in items} == {"customized-eval"} else []

    items = until(browser, chosen, "the items of customized-eval alone")
    assert items[0].find_elements(By.TAG_NAME, "ins")
    assert len(items) < len(every)
    search = browser.find_element(By.ID, "by-text")
    search.send_keys("no such words anywhere")
    none = f"0 of {len(every)} shown"
    until(browser, lambda: browser.find_element(By.ID, "shown").text == none, none)


def test_the_report_fits_a_phone_and_is_dark_where_the_reader_wants_it(
    browser: Any, report: str, screenshots: Path
) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        open_page(browser, report, "can be considered")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(20, 25, 31)"
        assert browser.save_screenshot(str(screenshots / "report-phone-dark.png"))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_decision_in_the_form_is_recorded_and_nothing_else_happens(
    run: Paused, browser: Any, screenshots: Path
) -> None:
    before = run.stored()
    open_page(browser, f"{run.ui}/runs/flow-run/{run.flow_run_id}", "Paused", "Resume")
    click(browser, "Resume")
    wait_for(browser, "It was surfaced. What do you decide?", "Spot Check", "Submit")
    picture(browser, screenshots / "decision.png", 1280, 1400)

    def fields() -> Any:
        found = browser.find_elements(By.CSS_SELECTOR, "[role=dialog], .p-modal")
        kinds = ("select, .p-select select", "textarea", "input[type=checkbox], .p-toggle input")
        of_kinds = [found[0].find_elements(By.CSS_SELECTOR, kind) for kind in kinds] if found else []
        return of_kinds if of_kinds and len(of_kinds[1]) >= 2 and all(of_kinds) else None

    (choice, *_), (name, note, *_), (spot_check, *_) = until(browser, fields, "the form's fields")
    browser.execute_script(
        "const s = arguments[0]; s.value = [...s.options].find(o => o.text.trim() === 'reject').value;"
        "s.dispatchEvent(new Event('change', {bubbles: true}))",
        choice,
    )
    name.send_keys("Ada")
    note.send_keys(HOSTILE)
    browser.execute_script("arguments[0].click()", spot_check)
    click(browser, "Submit")

    deadline = time.monotonic() + 240
    while not run.stored().decisions and time.monotonic() < deadline:
        time.sleep(0.5)
    after = run.stored()
    (decision,) = after.decisions
    assert (decision.candidate, decision.decision, decision.by) == ("small-a", "rejected", "Ada")
    assert decision.note == HOSTILE
    assert [point for point, done in decision.checklist.items() if done] == ["spot-check"]
    assert (after.status, after.candidates, after.analysis) == (
        before.status,
        before.candidates,
        before.analysis,
    )
    run.thread.join(240)
    assert not run.thread.is_alive()
    open_page(browser, f"{run.ui}/runs/flow-run/{run.flow_run_id}", "Completed")
