"""Which records deduplication leaves out, and what each is told: the reason, and the record that stands for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.curation.duplicates.exact_duplicates import ExactGroups
from flywheel.curation.duplicates.near_duplicates import Merge
from flywheel.curation.validated_table import row_numbers

Indices = npt.NDArray[np.int64]


def left_out_of(
    table: pa.Table, groups: ExactGroups, merges: Sequence[Merge]
) -> tuple[Indices, list[tuple[str, str]], dict[str, int]]:
    """The rows that are left out, ascending; the reason code and the detail of each; how many there are of each kind.

    Args:
        table: The validated table's `record_id`.
        merges: In their order; the members of all but the first mean the same in other words.
    Returns:
        The counts are `invalid` (an id used twice), `exact_duplicates` and `near_duplicates`.
    """
    every_row = np.arange(groups.request_of.size)
    kept_by = groups.representative[groups.request_of]  # of refused rows: overwritten below
    similarity = np.zeros(groups.representative.size, dtype=np.float32)
    final = np.arange(groups.representative.size)
    for merged in merges:
        similarity[merged.member] = merged.similarity
        final[merged.member] = merged.representative
    in_other_words = np.zeros(groups.representative.size, dtype=bool)
    in_other_words[[member for merged in merges[1:] for member in merged.member]] = True
    near_of = np.where(groups.request_of >= 0, final[groups.request_of], -1)
    bad_id = groups.request_of < 0
    exact = ~bad_id & (kept_by != every_row)
    near = ~bad_id & ~exact & (near_of != groups.request_of)
    rows = np.flatnonzero(bad_id | exact | near)
    stands_for_it = np.where(exact, kept_by, groups.representative[near_of])[rows]
    keepers = table["record_id"].combine_chunks().take(row_numbers(stands_for_it)).to_pylist()
    requests = groups.request_of[rows]
    facts = (bad_id[rows], exact[rows], in_other_words[requests], similarity[requests])

    counts = {
        "invalid": int(bad_id.sum()),
        "exact_duplicates": int(exact.sum()),
        "near_duplicates": int(near.sum()),
    }
    return rows, list(map(_why, keepers, *(fact.tolist() for fact in facts))), counts


def _why(keeper: str, bad_id: bool, exact: bool, in_other_words: bool, share: float) -> tuple[str, str]:
    if bad_id:
        return (
            "duplicate_id",
            "A newer record has the same id and other content; give each call an id of its own.",
        )
    if exact:
        return "exact_duplicate", f"The same request as record {keeper}."
    if in_other_words:
        return "near_duplicate", f"Means the same as record {keeper}: cosine {share:.3f} of vectors."
    return "near_duplicate", f"Similar to record {keeper}: Jaccard {share:.3f} of shingles."
