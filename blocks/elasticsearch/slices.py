"""Several cursors at once, each one page ahead of its reader, in an order that is the same every time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from blocks.elasticsearch.pages import Page
from blocks.elasticsearch.point_in_time import Cursor


def pages_of(cursors: Sequence[Cursor], at_once: int, interrupt: Callable[[], None]) -> Iterator[Page]:
    """Pages of all cursors in turn, `at_once` of them in flight: what is held is two pages for each of those.

    The order depends on the documents alone, not on which answer comes first, so that the same log gives the same
    files. `interrupt` is called when the reading ends before its time, so that nothing under way goes on waiting.
    """
    waiting = deque(cursors)
    with ThreadPoolExecutor(at_once, thread_name_prefix="elasticsearch") as pool:
        under_way: deque[tuple[Cursor, Future[Page]]] = deque()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < at_once:
                    cursor = waiting.popleft()
                    under_way.append((cursor, pool.submit(cursor.next_page)))
                cursor, future = under_way.popleft()
                page = future.result()
                if not cursor.done:
                    under_way.append((cursor, pool.submit(cursor.next_page)))
                yield page
        finally:
            if under_way:
                interrupt()
            for _, future in under_way:
                future.cancel()
