from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flywheel.evaluation.parity import PromptRendering, compare_renderings
from flywheel.report.parity import parity_markdown, parity_words

TOKENS = st.lists(st.integers(0, 5), max_size=15)


@given(TOKENS, TOKENS)
def test_a_difference_is_reported_exactly_where_there_is_one_and_holds_all_of_it(
    training: list[int], serving: list[int]
) -> None:
    report = compare_renderings([PromptRendering(training, serving)])
    assert report.equal == (training == serving)
    for found in report.differences:
        length = len(training) - found.position - len(found.training)
        rest = training[len(training) - length :] if length else []
        middle = [int(text[1:-1]) for text in found.serving]
        assert training[: found.position] + middle + rest == serving


def test_the_report_names_row_position_and_tokens_and_lets_nothing_in_them_run() -> None:
    texts = {0: "<|im_start|>", 1: "user", 2: "```\n# hi", 3: "tools"}
    alike = PromptRendering([0, 1], [0, 1], texts)
    report = compare_renderings([alike, PromptRendering([0, 1, 2], [0, 1, 3, 2], texts)])
    assert "1 of 2 sample prompts differently; first at token 2" in parity_words(report)
    assert 'served ["tools"]' in parity_words(report)
    shown = parity_markdown(compare_renderings([PromptRendering([2], [1], texts)]))
    assert "````text" in shown
    assert "alike" in parity_markdown(compare_renderings([alike]))
