"""A server that answers with a page at a time."""

from __future__ import annotations

import pytest

from tasks.pages import PAGE, all_pages


@pytest.mark.parametrize("number", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
async def test_everything_is_found_once_however_many_pages_there_are(number: int) -> None:
    there = list(range(number))

    async def page(offset: int) -> list[int]:
        return there[offset : offset + PAGE]

    assert await all_pages(page) == there
