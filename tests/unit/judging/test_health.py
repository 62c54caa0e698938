from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flywheel.config import PriceConfig
from flywheel.errors import ConfigError, DataError
from flywheel.findings.analysis import JudgeHealth
from flywheel.judging.families import families, same_family
from flywheel.judging.files import read_labels, read_verdicts, write_sheet, write_verdicts
from flywheel.judging.health import (
    HEALTH,
    health_document,
    health_of,
    health_of_runs,
    with_earlier_use,
    with_use,
)
from flywheel.judging.metrics import JudgeMetric
from flywheel.judging.questions import JudgeVerdict
from flywheel.judging.token_use import TokenUse
from flywheel.results import JudgeRun
from tests.unit.judging.cases import SIMILARITY, TOOL_CALLING


def verdict(name: str, rating: int | None, metric: JudgeMetric = SIMILARITY, **more: Any) -> JudgeVerdict:
    outcome = more.pop("outcome", "rated" if rating is not None else "parse_failure")
    score = None if rating is None else metric.score(rating)
    return JudgeVerdict(f"key-{name}", name, metric.name, outcome, rating, score, cluster=name, **more)


def health(
    verdicts: list[JudgeVerdict], metric: JudgeMetric = SIMILARITY, labels: dict[str, int] | None = None
) -> JudgeHealth:
    return health_of(
        "big/llama-3.3-70b-instruct",
        metric,
        verdicts,
        candidate="small",
        eval_type="base-eval",
        candidate_model="meta/llama-3.2-1b-instruct",
        production_model="gpt-4o",
        labels={(f"key-{name}", metric.name): label for name, label in (labels or {}).items()},
    )


def test_failures_are_counted_apart_and_what_was_settled_is_not_the_judges() -> None:
    found = health(
        [
            verdict("a", 9),
            verdict("b", None),
            verdict("c", None, outcome="no_verdict"),
            verdict("d", 1, outcome="settled"),
            verdict("e", 1, TOOL_CALLING),
        ]
    )
    assert (found.judged, found.parse_failures, found.no_answer) == (3, 1, 1)
    assert (found.candidate, found.eval_type) == ("small", "base-eval")


def test_agreement_is_over_what_a_program_knows() -> None:
    known = [(1.0, 1), (1.0, 1), (1.0, 0), (0.0, 0), (None, 1)]
    found = health(
        [verdict(f"v{n}", rating, TOOL_CALLING, truth=truth) for n, (truth, rating) in enumerate(known)],
        TOOL_CALLING,
    )
    assert (found.agreement, found.agreement_n) == (0.75, 4)
    identical = health([verdict("a", 10, truth=1.0), verdict("b", 9, truth=1.0), verdict("c", 5, truth=1.0)])
    assert identical.agreement == pytest.approx(2 / 3)
    assert health([verdict("a", 5)]).agreement is None


def test_a_flip_is_more_than_one_point_or_any_change_of_two_points() -> None:
    scale = [verdict("a", 5, swapped_rating=6), verdict("b", 5, swapped_rating=3), verdict("c", 5)]
    assert (health(scale).flip_rate, health(scale).flip_n) == (0.5, 2)
    binary = [
        verdict("a", 1, TOOL_CALLING, swapped_rating=0),
        verdict("b", 1, TOOL_CALLING, swapped_rating=1),
    ]
    assert health(binary, TOOL_CALLING).flip_rate == 0.5
    assert health([verdict("a", 5)]).flip_rate is None


def test_a_judge_that_likes_length_shows_it() -> None:
    found = health([verdict(f"v{n}", n, answer="x" * 10 * n) for n in range(1, 9)])
    assert found.length_correlation == pytest.approx(1.0)


def test_ratings_by_people_give_kappa_and_a_corrected_score() -> None:
    verdicts = [verdict(f"v{n}", 1, TOOL_CALLING) for n in range(40)]
    labels = {f"v{n}": int(n % 2 == 0) for n in range(20)}
    found = health(verdicts, TOOL_CALLING, labels)
    assert found.kappa_n == 20
    assert found.kappa == pytest.approx(0.0)  # it says yes to everything
    assert found.corrected == pytest.approx(0.5)
    assert found.corrected_interval is not None
    assert found.corrected_interval.low > 0.2
    with_wrong_kinds = [*verdicts, *(verdict(f"w{n}", 0, TOOL_CALLING, outcome="settled") for n in range(40))]
    halved = health(with_wrong_kinds, TOOL_CALLING, labels)
    assert halved.corrected == pytest.approx(0.25)
    assert health(verdicts, TOOL_CALLING).kappa is None


def test_one_family_is_noted_for_candidate_and_production() -> None:
    found = health([verdict("a", 5)])
    assert found.same_family
    assert len(found.notes) == 1
    assert "one family" in found.notes[0]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("meta/llama-3.3-70b-instruct", "meta-llama/Llama-3.2-1B", True),
        ("nvidia/llama-3.1-nemotron-70b", "meta/llama-3.1-8b", True),
        ("nvidia/llama-3.1-nemotron-70b", "nvidia/nemotron-mini-4b", True),
        ("mistralai/Mixtral-8x7B", "mistral-small", True),
        ("gpt-4o-mini", "o3", True),
        ("Qwen/Qwen2.5-7B", "qwen3:8b", True),
        ("claude-sonnet-4", "gpt-4o", False),
        ("demo:smollm2-135m", "gpt-4o", False),
        ("google/gemma-2b", "gemini-2.0-flash", True),
        ("acme-large-1", "acme-small-2", True),
        ("acme-large-1", "ecma-large-1", False),
        ("", "", False),
    ],
)
def test_families_are_read_from_names(first: str, second: str, same: bool) -> None:
    assert same_family(first, second) is same
    assert same_family(second, first) is same
    assert families(first) == families(first.upper())


def test_health_goes_through_a_judge_run_and_back() -> None:
    found = health([verdict("a", 5, truth=1.0)])
    run = JudgeRun("id", "run", "small", "base-eval", "j", "now", details={HEALTH: health_document([found])})
    assert health_of_runs([run]) == [found]
    assert health_of_runs([JudgeRun("id", "run", "small", "base-eval", "j", "now")]) == []
    with pytest.raises(DataError, match="judge again"):
        health_of_runs([JudgeRun("id", "run", "c", "base-eval", "j", "now", details={HEALTH: [{"no": 1}]})])


def test_what_a_judging_used_before_it_was_broken_off_is_counted_with_what_it_used_after() -> None:
    price = PriceConfig(model="j", input_per_1k=2.0, output_per_1k=4.0)
    first, then = (with_use(health([verdict("a", 5)]), TokenUse(n, n), price) for n in (1_000, 500))
    assert (first.tokens_in, first.tokens_out, first.cost) == (1_000, 1_000, 6.0)
    broken_off, resumed, other = (
        JudgeRun(name, "run", "small", "base-eval", "j", "now", details={HEALTH: health_document([one])})
        for name, one in (("id", first), ("id", then), ("another", first))
    )
    (both,) = health_of_runs([with_earlier_use(resumed, [other, broken_off])])
    assert (both.tokens_in, both.tokens_out, both.cost) == (1_500, 1_500, 9.0)
    assert with_earlier_use(resumed, [other]) == resumed


def test_the_cost_of_a_judge_without_a_price_is_not_known() -> None:
    assert with_use(health([verdict("a", 5)]), TokenUse(10, 10), None).cost is None
    for_gpus = PriceConfig(model="j", gpu_hour=3.0)
    assert with_use(health([verdict("a", 5)]), TokenUse(10, 10), for_gpus).cost == 0.0


def test_verdicts_and_the_sheet_of_a_run_are_what_a_person_fills_in(tmp_path: Path) -> None:
    verdicts = [verdict("b", 3, reason="r"), verdict("a", None), verdict("c", 1, outcome="settled")]
    write_verdicts(tmp_path / "v.jsonl", verdicts)
    assert read_verdicts(tmp_path / "v.jsonl") == verdicts
    write_sheet(tmp_path / "s.jsonl", verdicts, [SIMILARITY])
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["key-a", "key-b"]
    assert all(row["label"] is None and "rating" not in row and "score" not in row for row in rows)
    assert read_labels(tmp_path / "s.jsonl", [SIMILARITY]) == {}
    rows[0]["label"] = 7
    (tmp_path / "s.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read_labels(tmp_path / "s.jsonl", [SIMILARITY]) == {("key-a", "similarity"): 7}
    assert read_labels(tmp_path / "s.jsonl", [TOOL_CALLING]) == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"key": "a", "metric": "similarity", "label": 11}', "outside the scale"),
        ('{"key": "a", "metric": "similarity", "label": 7.5}', "expected one JSON object"),
        ('{"key": "a", "metric": "similarity", "label": "good"}', "expected one JSON object"),
        ('{"metric": "similarity", "label": 7}', "expected one JSON object"),
        ("seven", "expected one JSON object"),
        ('{"key": "z", "metric": "similarity", "label": 3}', "another label"),
    ],
)
def test_a_bad_line_among_the_labels_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(f'{{"key": "z", "metric": "similarity", "label": 5}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=f"labels.jsonl:2.*{why}"):
        read_labels(path, [SIMILARITY])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(tmp_path / "missing.jsonl", [SIMILARITY])
