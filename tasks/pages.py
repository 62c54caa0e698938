"""Reading everything from a Prefect server, which answers with a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

PAGE = 200
"""The most that a server puts into one answer."""

T = TypeVar("T")


async def all_pages(page: Callable[[int], Awaitable[list[T]]]) -> list[T]:
    """Everything, from answers of at most `PAGE`; `page` gets the number of those that came before."""
    found: list[T] = []
    while more := await page(len(found)):
        found += more
        if len(more) < PAGE:
            break
    return found
