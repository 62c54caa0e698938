"""Which training records stand for a training set that is too large to choose in-context examples from."""

from __future__ import annotations

import pyarrow as pa

from flywheel.curation.schema import ASSIGNMENT
from flywheel.datasets.example_pool import choose


def assignment(train: int, rare: int = 0) -> pa.Table:
    """`train` training records of one class, the last `rare` of them of another; evaluation and validation beside."""
    sides = ["train"] * train + ["evaluation"] * 50 + ["validation"] * 50
    rows = [
        {
            "row": number,
            "record_id": f"r{number:05}",
            "timestamp": 1.7e9,
            "answer_class": "rare" if train - rare <= number < train else "usual",
            "cluster": f"c{number:05}",
            "weight": 1,
            "split": side,
        }
        for number, side in enumerate(sides)
    ]
    return pa.Table.from_pylist(rows, ASSIGNMENT)


def ids(table: pa.Table) -> list[str]:
    found: list[str] = table["record_id"].to_pylist()
    return found


def test_a_small_training_set_is_the_pool_and_nothing_of_the_other_sides_is() -> None:
    table = assignment(40)
    assert ids(choose(table, 0, most=100)) == [f"r{number:05}" for number in range(40)]
    assert set(choose(assignment(400), 0, most=100)["split"].to_pylist()) == {"train"}


def test_the_seed_draws_the_pool_and_zero_is_a_seed() -> None:
    table = assignment(1_000)
    zero, again, one = (ids(choose(table, seed, most=100)) for seed in (0, 0, 1))
    assert zero == again
    assert zero == sorted(zero)
    assert len(set(zero)) == len(set(one)) == 100
    assert len(set(zero) & set(one)) < 30  # ten are expected by chance
    assert 20 < sum(name < "r00500" for name in zero) < 80


def test_records_that_are_added_leave_most_of_the_pool_as_it_was() -> None:
    before, after = (set(ids(choose(assignment(n), 0, most=100))) for n in (1_000, 1_050))
    assert len(before & after) > 80


def test_a_rare_tool_keeps_its_records_whatever_the_seed() -> None:
    for seed in range(5):
        pool = choose(assignment(1_000, rare=6), seed, most=100)
        assert pool["answer_class"].to_pylist().count("rare") == 6
