"""Laws of what sequences share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blocks.local_platform.models.token_prefixes import families, shared_length, shared_prefix

TOKENS = st.lists(st.integers(0, 2), max_size=12)


@given(TOKENS, TOKENS)
def test_the_shared_length_is_that_of_walking_along_both(first: list[int], second: list[int]) -> None:
    walked = 0
    while walked < min(len(first), len(second)) and first[walked] == second[walked]:
        walked += 1
    assert shared_length(first, second) == walked


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8))
def test_all_prompts_begin_with_the_shared_prefix_and_keep_a_token(prompts: list[list[int]]) -> None:
    length = shared_prefix(prompts)
    assert all(prompt[:length] == prompts[0][:length] and len(prompt) > length for prompt in prompts)
    assert any(len(p) == length + 1 or p[: length + 1] != prompts[0][: length + 1] for p in prompts)


@given(st.lists(TOKENS, max_size=10))
def test_every_prompt_is_in_exactly_one_family(prompts: list[list[int]]) -> None:
    positions = [position for family in families(prompts, head=3) for position in family]
    assert sorted(positions) == list(range(len(prompts)))
