"""Choosing indivisible groups of records whose sizes add up to a number exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


def reachable_sums(sizes: Iterable[int], most: int) -> int:
    """The sums of all subsets of `sizes` up to `most`, as the set bits of a number; the empty sum, 0, is one.

    Equal sizes are taken together in powers of two, so a million groups of few distinct sizes cost little.
    Source: Kellerer, Pferschy and Pisinger 2004, Knapsack Problems, section 7.1.1 (bounded subset sum).
    """
    mask = (1 << most + 1) - 1
    sums = 1
    for size, count in Counter(size for size in sizes if 0 < size <= most).items():
        sums |= _shifted(sums, size, min(count, most // size), mask)
    return sums


def nearest_sums(sums: int, target: int, most: int) -> tuple[int | None, int | None]:
    """The largest reachable sum from 1 to `target`, and the smallest from there to `most`; None where there is none."""
    below = (sums & ((1 << target + 1) - 1)).bit_length() - 1
    above = sums >> target & ((1 << max(most - target + 1, 0)) - 1)
    return below if below > 0 else None, target + (above & -above).bit_length() - 1 if above else None


def complete(
    chosen: Sequence[int], spare: Sequence[int], sizes: Sequence[int], target: int
) -> list[int] | None:
    """Groups whose sizes add up to `target`, keeping as many of the first of `chosen` as possible.

    Args:
        chosen: Groups picked so far, best first; their sizes add up to at most `target`.
        spare: The other groups, best first.
        sizes: Size of each group.
    Returns:
        The groups in no particular order, or None where no subset has that sum.
    """
    kept, pool = list(chosen), list(spare)
    need = target - sum(sizes[group] for group in kept)
    while True:
        # Give up groups from the end, ever more of them, until the rest can be filled.
        found = _exactly(pool, sizes, need)
        if found is not None:
            return kept + found
        if not kept:
            return None
        count = max(1, len(kept) // 8)
        kept, given_up = kept[:-count], kept[-count:]
        pool = given_up + pool
        need += sum(sizes[group] for group in given_up)


def _exactly(pool: Sequence[int], sizes: Sequence[int], need: int) -> list[int] | None:
    """Groups of the pool that add up to `need`; of groups of one size the first ones."""
    by_size: dict[int, list[int]] = {}
    for group in pool:
        if 0 < sizes[group] <= need:
            by_size.setdefault(sizes[group], []).append(group)
    mask = (1 << need + 1) - 1
    steps = [(0, 1)]  # the size considered, and the sums reachable with it and those before
    for size in sorted(by_size):
        sums = steps[-1][1]
        steps.append((size, sums | _shifted(sums, size, min(len(by_size[size]), need // size), mask)))
    if not steps[-1][1] >> need & 1:
        return None
    found: list[int] = []
    for (size, _), (_, before) in zip(steps[:0:-1], steps[-2::-1], strict=True):
        count = 0
        while not before >> need & 1:
            need -= size
            count += 1
        found += by_size[size][:count]
    return found


def _shifted(sums: int, size: int, count: int, mask: int) -> int:
    """`sums`, and each of them with 1 to `count` times `size` added."""
    reach, step = sums, 1
    while count > 0:
        step = min(step, count)
        reach |= reach << step * size & mask
        count -= step
        step *= 2
    return reach
