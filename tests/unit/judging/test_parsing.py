from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import ScoringError
from flywheel.judging.parsing import read_verdict, schema_of


@pytest.mark.parametrize("rating", range(1, 11))
@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "RATING: {}",
        "**Rating:** {}",
        "Rating: **{}**",
        "Rating: {}/10",
        "I give it {} out of 10.",
        "{}/10",
        "On the 1-10 scale: {}",
        "On a scale from 1 to 10, the rating is {}.",
        "They differ in two points.\nRATING: {}",
        "<think>2? No, 3.</think>\n{}",
        '{{"reason": "7 of 9 facts agree", "rating": {}}}',
        '{{"rating": "{}"}}',
        '```json\n{{"reason": "x", "rating": {}}}\n```',
        'Here is my verdict: {{"reason": "x", "rating": {}}}',
        "Score = {}",
        "similarity: {}",
        "{}.0",
    ],
)
def test_every_rating_of_the_scale_is_read_in_every_usual_form(text: str, rating: int) -> None:
    assert read_verdict(text.format(rating), 1, 10).rating == rating


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "good",
        "0",
        "11",
        "-3",
        "100",
        "85%",
        "7.5",
        "7,5",
        "1,000",
        "Rating: 1,000",
        "Rating: 12/10",
        "Rating: 3\nRating: 8",
        "First 3, then 8",
        'RATING: 3, though the answer says {"rating": 10}',
        "<think>it is a 7",
        '{"rating": 11}',
        '{"rating": 0}',
        '{"rating": null}',
        '{"rating": true}',
        '{"rating": 7.5}',
        '{"rating": [7]}',
        '{"rating": 1e400}',
        '{"rating": "seven"}',
    ],
)
def test_what_is_no_rating_within_the_scale_is_a_parse_failure(text: str) -> None:
    with pytest.raises(ScoringError):
        read_verdict(text, 1, 10)


@pytest.mark.parametrize(
    ("text", "rating"), [("1", 1), ("Rating: 0", 0), ('{"rating": 1}', 1), ("RATING: 1/1", 1)]
)
def test_a_scale_of_two_points_is_read_too(text: str, rating: int) -> None:
    assert read_verdict(text, 0, 1).rating == rating


@pytest.mark.parametrize("text", ["2", "10", "0.5", "-1", "yes"])
def test_a_scale_of_two_points_has_no_third(text: str) -> None:
    with pytest.raises(ScoringError):
        read_verdict(text, 0, 1)


@given(st.text(max_size=200))
def test_any_text_is_a_rating_within_the_scale_or_a_parse_failure(text: str) -> None:
    try:
        rating = read_verdict(text, 1, 10).rating
    except ScoringError:
        return
    assert 1 <= rating <= 10


@given(st.integers(-5, 20), st.text(max_size=40))
def test_a_structured_verdict_is_read_whatever_its_reason_says(rating: int, reason: str) -> None:
    text = json.dumps({"reason": reason, "rating": rating})
    if 1 <= rating <= 10:
        assert read_verdict(text, 1, 10).rating == rating
    else:
        with pytest.raises(ScoringError):
            read_verdict(text, 1, 10)


def test_the_reason_comes_before_the_rating() -> None:
    schema = schema_of(1, 10)["json_schema"]["schema"]
    assert list(schema["properties"]) == ["reason", "rating"]
    assert schema["properties"]["rating"]["enum"] == list(range(1, 11))
