from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.config import ArgumentConfig, JudgeConfig, JudgeMetricConfig
from flywheel.errors import ConfigError
from flywheel.judging.judged import judged_evaluation, judged_predictions
from flywheel.judging.metrics import ARGUMENTS_JUDGED, JudgeMetric, metric_from, metrics_of
from flywheel.judging.questions import questions_for
from flywheel.results import Evaluation
from tests.fakes.judge_server import fenced_texts, outside
from tests.unit.evaluation.cases import calls, item, text
from tests.unit.judging.cases import POOR, REFERENCE, SIMILARITY, TOOL_CALLING, answered, plain

RIGHT = calls(("get_weather", {"city": "Berlin"}))
BOTH = [SIMILARITY, TOOL_CALLING]


def test_plain_answers_are_rated_from_1_to_10_and_tool_calls_0_or_1() -> None:
    assert (SIMILARITY.name, SIMILARITY.low, SIMILARITY.high) == ("similarity", 1, 10)
    assert (TOOL_CALLING.name, TOOL_CALLING.low, TOOL_CALLING.high) == ("tool_calling_correctness", 0, 1)
    assert [SIMILARITY.score(rating) for rating in (1, 10)] == [0.0, 1.0]
    words, tools = item(text("It rains."), "words"), item(RIGHT, "tools")
    predictions = {"words": answered(words, text("Rain.")), "tools": answered(tools, RIGHT)}
    questions, settled = questions_for([words, tools], predictions, BOTH, 0.0)
    assert [(question.item.id, question.metric.name) for question in questions] == [
        ("words", "similarity"),
        ("tools", "tool_calling_correctness"),
    ]
    assert settled == []
    assert questions[1].truth == 1.0


def test_an_answer_of_the_wrong_kind_is_settled_without_asking_and_one_that_is_missing_is_not_rated() -> None:
    words = [item(text("It rains."), f"w{n}") for n in range(4)]
    tools = item(RIGHT, "tools")
    predictions = {
        "w0": answered(words[0], RIGHT),
        "w1": answered(words[1], text("  ")),
        "w2": answered(words[2], None, "timed out"),
        "tools": answered(tools, text("Which city?")),
    }
    questions, settled = questions_for([*words, tools], predictions, BOTH, 0.0)
    assert questions == []
    assert [(v.id, v.outcome, v.rating, v.score) for v in settled] == [
        ("w0", "settled", 1, 0.0),
        ("w1", "settled", 1, 0.0),
        ("tools", "settled", 0, 0.0),
    ]


def test_the_judge_sees_conversation_tools_reference_and_answer_all_fenced() -> None:
    question = item(RIGHT, "tools")
    prediction = answered(question, calls(("get_weather", {"city": "Bonn"})))
    (asked,), _ = questions_for([question], {"tools": prediction}, [TOOL_CALLING], 0.0)
    prompt = "\n".join(m["content"] for m in asked.messages(structured=True, swapped=False, most=10_000))
    shown = fenced_texts(prompt)
    assert set(shown) == {"conversation", "tools", "reference", "answer"}
    assert "question tools" in shown["conversation"]
    assert "track_order" in shown["tools"]
    assert shown["reference"] == 'get_weather({"city":"Berlin"})'
    assert shown["answer"] == 'get_weather({"city":"Bonn"})'
    for secret in ("question tools", "track_order", "Berlin", "Bonn"):
        assert secret not in outside(prompt)
    assert "{{" not in prompt


def test_the_swapped_prompt_differs_in_the_order_alone() -> None:
    case, prediction = plain("i0", POOR)
    (asked,), _ = questions_for([case], {"i0": prediction}, [SIMILARITY], 1.0)
    straight, swapped = (
        asked.messages(structured=False, swapped=way, most=10_000)[1]["content"] for way in (False, True)
    )
    assert straight != swapped
    assert sorted(straight.splitlines()) == sorted(swapped.splitlines())
    assert fenced_texts(straight) == fenced_texts(swapped)


def test_the_probe_is_a_share_of_the_items_and_the_same_again() -> None:
    pairs = [plain(f"i{n}", f"answer {n}") for n in range(400)]
    items, predictions = [case for case, _ in pairs], {case.id: answer for case, answer in pairs}
    some, _ = questions_for(items, predictions, [SIMILARITY], 0.25)
    again, _ = questions_for(items, predictions, [SIMILARITY], 0.25)
    assert 70 <= sum(question.probe for question in some) <= 130
    assert [q.probe for q in some] == [q.probe for q in again]
    assert not any(q.probe for q in questions_for(items, predictions, [SIMILARITY], 0.0)[0])


def test_a_key_names_what_is_judged_whatever_the_prompt_or_the_judge() -> None:
    case, prediction = plain("i0", POOR)
    other_prompt = metric_from("similarity", "{{fence}}{{output}}{{answers}}", 1, 10, "text", "own")
    (first,), _ = questions_for([case], {"i0": prediction}, [SIMILARITY], 0.0)
    (second,), _ = questions_for([case], {"i0": prediction}, [other_prompt], 0.0)
    assert first.key == second.key
    other, changed = plain("i0", POOR + "!")
    (third,), _ = questions_for([other], {"i0": changed}, [SIMILARITY], 0.0)
    assert third.key != first.key


def test_scores_of_a_judge_stand_beside_the_others_and_unrated_items_are_unscored() -> None:
    pairs = [plain(f"i{n}", POOR) for n in range(4)]
    items, predictions = [case for case, _ in pairs], {case.id: answer for case, answer in pairs}
    questions, _ = questions_for(items, predictions, [SIMILARITY], 0.0)
    verdicts = [
        questions[0].verdict("rated", rating=10, score=1.0),
        questions[1].verdict("rated", rating=1, score=0.0),
        questions[2].verdict("parse_failure", reason="no rating"),
    ]
    judged = judged_predictions(items, predictions, [SIMILARITY], verdicts)
    before = Evaluation(eval_type="base-eval", model="m", primary="rouge_l")
    after = judged_evaluation(before, items, judged, "uri", "similarity", 0.95)
    score = after.scores["similarity"]
    assert (score.value, score.n, score.unscored) == (0.5, 2, 2)
    assert after.scores["rouge_l"].n == 4
    assert (after.primary, after.predictions) == ("similarity", "uri")
    assert judged_evaluation(before, items, judged, "uri", "", 0.95).primary == "rouge_l"


def test_a_prompt_file_replaces_a_built_in_one_and_makes_new_metrics(tmp_path: Path) -> None:
    path = tmp_path / "prompt.md"
    path.write_text("Be strict. {{fence}}\n---\n{{ answers }} {{output}}", encoding="utf-8")
    own = JudgeMetricConfig(name="tone", prompt=str(path), low=1, high=5, applies_to="all")
    config = JudgeConfig(model="m", similarity_prompt=str(path), metrics=["similarity"], custom_metrics=[own])
    similarity, tone = metrics_of(config)
    assert similarity.system == "Be strict. {{fence}}"
    assert (similarity.low, similarity.high, tone.low, tone.high) == (1, 10, 1, 5)
    assert [tone.passes(rating) for rating in (3, 4, 5)] == [False, True, True]
    case, prediction = plain("i0", REFERENCE)
    (asked,), _ = questions_for([case], {"i0": prediction}, [tone], 0.0)
    assert "1 to 5" in asked.messages(structured=True, swapped=False, most=1000)[1]["content"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{fence}} {{output}}", "shows no answers"),
        ("{{fence}} {{output}} {{reference}}", "shows no answers"),
        ("{{answers}} {{output}}", "lacks {{fence}}"),
        ("{{answers}} {{fence}}", "lacks {{output}}"),
        ("{{answers}} {{fence}} {{output}} {{asnwer}}", "placeholder {{asnwer}}"),
        ("", "shows no answers"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused_with_what_it_lacks(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        metric_from("own", text, 1, 10, "all", "own.md")


def test_a_prompt_that_fixes_the_order_has_no_probe() -> None:
    fixed = metric_from("own", "{{fence}}{{output}}{{reference}}{{answer}}", 1, 10, "all", "own.md")
    case, prediction = plain("i0", POOR)
    assert isinstance(fixed, JudgeMetric)
    assert not questions_for([case], {"i0": prediction}, [fixed], 1.0)[0][0].probe


def test_a_prompt_file_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="/not/there"):
        metrics_of(JudgeConfig(model="m", similarity_prompt="/not/there"))


def test_arguments_left_to_the_judge_are_asked_of_it_where_all_else_is_right() -> None:
    rules = [ArgumentConfig(tool="note", argument="text", compare="judge")]
    metric = metrics_of(JudgeConfig(model="m"), rules)[-1]
    assert metric.name == "function_name_and_args_judged"
    answers = {
        "same": {"to": "Ann", "text": "Call me back!"},
        "spelt": {"to": "Ann", "text": "call me back"},
        "worded": {"to": "Ann", "text": "please ring me"},
        "wrong": {"to": "Bob", "text": "please ring me"},
    }
    items = [item(calls(("note", answers["same"])), name, tools=[]) for name in answers]
    predictions = {case.id: answered(case, calls(("note", answers[case.id]))) for case in items}
    questions, settled = questions_for(items, predictions, [metric], 0.0)
    assert [question.item.id for question in questions] == ["worded"]
    assert {verdict.id: verdict.score for verdict in settled} == {"same": 1.0, "spelt": 1.0, "wrong": 0.0}
    assert questions[0].truth is None
    assert ARGUMENTS_JUDGED not in [metric.name for metric in metrics_of(JudgeConfig(model="m"))]
