"""What `flywheel curate` remarks on, beside the funnel."""

from __future__ import annotations

from typing import Any

from flywheel.cli.curate import remarks


def steps(
    extract: dict[str, int],
    validate: dict[str, int],
    same_id: int = 0,
    violations: int = 0,
    repeated: int = 0,
) -> dict[str, Any]:
    broken = {"records": violations, "by_tool": {"b": violations - 1, "a": 1} if violations else {}}
    noise = {"repeated_requests": repeated, "with_different_answers": repeated // 2}
    return {
        "extract": {"reasons": extract},
        "validate": {"reasons": validate, "schema_violations": broken},
        "deduplicate": {"invalid": same_id, "teacher_noise": noise},
    }


def test_every_refusal_has_its_reason_whichever_step_refused_it() -> None:
    said = remarks(steps({"not_json": 3, "erased": 1}, {"bad_role": 1200, "erased": 1}, same_id=2))
    assert len(said) == 1
    assert said[0].startswith("Refused: 1,200 bad_role, 3 not_json, 2 duplicate_id, 2 erased.")


def test_broken_arguments_and_contradictions_are_told_and_a_clean_log_has_no_remark() -> None:
    violations, noise = remarks(steps({}, {}, violations=3, repeated=9))
    assert "tool's own schema: 3 (2 b, 1 a)" in violations
    assert noise == (
        "Asked more than once: 9 requests, of which production answered 4 in more than one way; "
        "dedup_config.contradictions may keep these out of training."
    )
    assert remarks(steps({}, {})) == []


def test_what_requests_were_compared_without_and_repeats_in_other_words_are_told() -> None:
    counts = steps({}, {})
    counts["deduplicate"] |= {
        "fixed_text": {
            "records": 1_200,
            "share_of_text": 0.923,
            "examples": [f"You sort tickets. {'x' * 300}"],
        },
        "same_meaning": {"repeats": 7, "mode": "report"},
    }
    fixed, meaning = remarks(counts)
    assert "1,200 requests, 92% of all their text, which begins with “You sort tickets. xxx" in fixed
    assert "leave_out_fixed_text=false" in fixed
    assert len(fixed) < 300
    assert "7 requests mean the same as another and would be merged by 'merge'" in meaning
    counts["deduplicate"]["same_meaning"]["mode"] = "merge"
    assert "and were merged" in remarks(counts)[1]
