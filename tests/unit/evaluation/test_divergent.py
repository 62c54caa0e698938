from __future__ import annotations

from flywheel.evaluation.aggregate import score_predictions
from flywheel.evaluation.divergent import JUDGED_SAME, compare_lines, divergent_answers, prompt_text
from flywheel.results import EvalItem, Prediction
from tests.fakes.chat_server import completion
from tests.unit.evaluation.cases import calls, item, text

BERLIN = calls(("get_weather", {"city": "Berlin"}))
CASES = {
    "right": (BERLIN, BERLIN),
    "text": (text("Good morning to you"), text("Good evening")),
    "arguments": (BERLIN, calls(("get_weather", {"city": "Bonn"}))),
    "missing": (BERLIN, text("It rains.")),
    "unwanted": (text("Hello"), BERLIN),
    "tool": (BERLIN, calls(("track_order", '{"id": "7"}'))),
    "extra": (BERLIN, calls(("get_weather", {"city": "Berlin"}), ("track_order", "{}"))),
}


def test_answers_are_ranked_by_how_bad_the_difference_is() -> None:
    items = [item(reference, name) for name, (reference, _) in CASES.items()]
    scored = score_predictions(items, [Prediction(name, answer) for name, (_, answer) in CASES.items()])
    found = divergent_answers(items, scored)
    assert [(answer.id, answer.kind) for answer in found] == [
        ("extra", "wrong tool"),
        ("tool", "wrong tool"),
        ("unwanted", "should not have called"),
        ("missing", "missing call"),
        ("arguments", "wrong arguments"),
        ("text", "different text"),
    ]
    assert [answer.severity for answer in found] == sorted((a.severity for a in found), reverse=True)
    assert divergent_answers(items, {p.id: p for p in scored}, most=2) == found[:2]


def test_prompt_reference_and_answer_are_plain_text() -> None:
    items = [item(BERLIN, "tool")]
    [found] = divergent_answers(items, score_predictions(items, [Prediction("tool", CASES["tool"][1])]))
    assert found.prompt == "question tool"
    assert found.reference == 'get_weather({"city": "Berlin"})'
    assert found.answer == 'track_order({"id": "7"})'


def test_an_item_without_an_answer_is_no_divergent_answer() -> None:
    items = [item(BERLIN, "a")]
    assert divergent_answers(items, score_predictions(items, [Prediction("a", error="timed out")])) == []
    assert divergent_answers(items, []) == []


def test_among_equals_the_more_frequent_request_comes_first() -> None:
    rare, frequent = item(BERLIN, "a"), item(BERLIN, "b")
    frequent = EvalItem("b", frequent.request, frequent.response, frequent.cluster, weight=9)
    scored = score_predictions([rare, frequent], [Prediction(i, text("no")) for i in "ab"])
    assert [answer.id for answer in divergent_answers([rare, frequent], scored)] == ["b", "a"]


def test_a_conversation_is_shown_with_its_roles_and_without_its_system_prompt() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "where is my order"}]},
        completion(None, [("track_order", '{"id": "7"}')])["choices"][0]["message"],
        {"role": "tool", "tool_call_id": "call_0", "content": "on its way"},
        {"role": "user", "content": "and now?"},
    ]
    shown = prompt_text(EvalItem("a", {"messages": messages}, {}, "c"))
    assert shown.splitlines() == [
        "user: where is my order",
        'assistant: track_order({"id":"7"})',
        "tool: on its way",
        "user: and now?",
    ]


def test_an_empty_answer_is_shown_as_one() -> None:
    items = [item(text("Hello"), "a")]
    [found] = divergent_answers(items, score_predictions(items, [Prediction("a", text(None))]))
    assert found.answer == "(empty answer)"
    lines = compare_lines(found, width=9)
    assert lines[0] == "different text (a)"
    assert lines[1] == "  prompt:    question…"


def test_an_answer_that_is_the_reference_word_for_word_never_differs_whatever_a_judge_makes_of_it() -> None:
    asked = item(text("Hello"), "hello")
    same = Prediction("hello", text("Hello "), scores={"exact_match": 1.0, "rouge_l": 1.0, "similarity": 0.1})
    assert divergent_answers([asked], [same]) == []


def test_where_a_judge_rated_two_texts_its_score_says_whether_they_differ() -> None:
    asked = item(text("Hello"), "hello")
    rated = {
        score: divergent_answers(
            [asked], [Prediction("hello", text("Hi"), scores={"rouge_l": 0.3, "similarity": score})]
        )
        for score in (JUDGED_SAME, 0.2)
    }
    assert rated[JUDGED_SAME] == []
    assert [found.score for found in rated[0.2]] == [0.2]
