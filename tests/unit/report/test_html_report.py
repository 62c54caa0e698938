"""The page shows everything, loads nothing, and text from a log stays text in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from flywheel.report.evidence import AnswersOf, Evidence
from flywheel.report.html.divergent_items import MOST_ITEMS, listed_items
from flywheel.report.html.page import report_html
from flywheel.results import CandidateResult, RunResult
from tests.unit.report.full_run import HOSTILE, divergent, full_evidence, full_run


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.shown = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.shown += data


@pytest.fixture(scope="module")
def page() -> str:
    return report_html(full_run(), full_evidence()).decode("utf-8")


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def test_hostile_text_becomes_no_element_and_no_attribute(elements: Elements) -> None:
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert "img" not in tags
    assert elements.open == []
    handlers = [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert handlers == []


def test_hostile_text_is_shown_as_it_is(elements: Elements) -> None:
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert elements.shown.count(shown) >= 10
    assert "{{ 7*7 }}" in elements.shown
    assert "\x1b" not in elements.shown
    assert "\u202e" not in elements.shown


def test_nothing_is_loaded_from_anywhere(elements: Elements) -> None:
    for tag, attributes in elements.found:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert "style" not in attributes  # the policy would refuse it
        assert (attributes.get("href") or "#").startswith("#")


def test_the_policy_names_exactly_the_style_and_the_script_of_the_page(page: str) -> None:
    import base64
    import hashlib

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert content
        digest = base64.b64encode(hashlib.sha256(content.group(1).encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy.group(1)
    assert "default-src &#39;none&#39;" in policy.group(1)


def test_every_section_has_what_the_run_has(elements: Elements) -> None:
    for words in (
        "small customized-eval is surfaced.",
        "surfaced",
        "cannot tell",
        "−0.010 [−0.04, +0.02]",
        "0.900 [0.80, 1.00]",
        "100.00 to 140.50 USD",
        "2 to never",
        "price of org/small",
        "regressed",
        "judge and candidate are of one family",
        "spot-check",
        "security-and-compliance",
        "flywheel score --items items.jsonl --predictions predictions.jsonl",
        "validation loss",
        "/jobs/j/adapter",
        "rows left out",
        "time to first token",
        "40 ms / 1.2 s",
        "stop 40",
        "no choice has content or tool calls",
        "is stale because 31% of the answers since are of other kinds",
        "3 of 42 evaluation items (7%) ask what production answered in materially different ways",
        "of which production answered 4 in more than one way",
        "nothing is routed, and there is no router",
        "useful cut",
        "46.5 % [38, 55]",
        "0.985 [0.91, 1.00]",
        "1.10 USD",
        "too few items",
        "0.582 [0.32, 0.81]",
        "2.4 of 3.5",
        "1: 3, 3: 2",
    ):
        assert words in elements.shown, words
    charts = [a for tag, a in elements.found if tag == "svg"]
    assert len(charts) == 7  # scores, two of quality against cost, a cascade, a curve, latency, funnel


def test_a_verdict_leads_to_its_items_and_each_item_has_an_address(elements: Elements) -> None:
    links = [a for tag, a in elements.found if tag == "a" and "data-candidate" in a]
    assert ("small", "customized-eval") in [(a["data-candidate"], a["data-evaluation"]) for a in links]
    ids = {a["id"] for tag, a in elements.found if tag == "article"}
    assert {f"item-{number}" for number in range(1, 7)} == ids


def test_what_a_run_does_not_have_is_said_to_be_missing() -> None:
    bare = RunResult("r", "w", "c", "failed", "2026-01-01T00:00:00+00:00", message="no log", error="no log")
    shown = Elements(report_html(bare, Evidence(missing=["Evaluation items: gone."])).decode()).shown
    for words in (
        "No candidate has a score. no log",
        "No verdict was reached",
        "No costs were computed",
        "No signal tells this run's answers apart",
        "No judge was asked",
        "Evaluation items: gone.",
        "No candidate was fine-tuned",
        "No latencies are known",
        "Curation did not get to its end",
    ):
        assert words in shown, words


def test_a_candidate_that_failed_before_its_evaluations_has_its_place_and_reason() -> None:
    run = msgspec.structs.replace(
        full_run(),
        candidates=[CandidateResult("dead", "m", "failed", error="image not found")],
        analysis=None,
    )
    shown = Elements(report_html(run, Evidence()).decode()).shown
    assert "dead is failed: image not found" in shown


def test_an_agreement_of_production_that_is_assumed_is_no_line_among_the_scores() -> None:
    run = full_run()
    assert run.analysis is not None
    assumed = [msgspec.structs.replace(one, source="assumed", value=1.0) for one in run.analysis.ceilings]
    with_line, without = (
        report_html(run, full_evidence()).decode(),
        report_html(
            msgspec.structs.replace(run, analysis=msgspec.structs.replace(run.analysis, ceilings=assumed)),
            full_evidence(),
        ).decode(),
    )
    for page, known in ((with_line, True), (without, False)):
        assert ('class="ceiling"' in page) is known
        assert ("The dashed line is production" in page) is known
        assert (
            "Production&#39;s agreement with itself" in page or "Production's agreement with itself" in page
        )


def test_the_page_stays_of_a_size_that_a_browser_opens() -> None:
    many = [divergent(f"i{n}", "wrong tool", 5.0) for n in range(2 * MOST_ITEMS)]
    evidence = Evidence(
        answers=[
            AnswersOf(name, "base-eval", [], [], many, "items.jsonl", "predictions.jsonl")
            for name in ("a", "b")
        ]
    )
    items, left_out = listed_items(evidence)
    assert len(items) == MOST_ITEMS
    assert {item["candidate"] for item in items} == {"a", "b"}
    assert left_out.startswith(f"{3 * MOST_ITEMS} more")
