"""Runs are found by their id or the beginning of one, and listed by age, workload and client."""

from __future__ import annotations

import pytest

from blocks.ports import RunStore
from flywheel.errors import DataError
from tests.contracts.run_store.cases import run


class FindsRuns:
    def test_a_unique_prefix_of_an_id_is_enough(self, store: RunStore) -> None:
        store.save_run(run("abc-123"))
        store.save_run(run("abd-456"))
        assert store.load_run("abc").run_id == "abc-123"

    def test_a_whole_id_wins_over_longer_ones_that_begin_with_it(self, store: RunStore) -> None:
        store.save_run(run("abc"))
        store.save_run(run("abc-123"))
        assert store.load_run("abc").run_id == "abc"

    def test_an_ambiguous_prefix_is_an_error_that_lists_what_it_could_be(self, store: RunStore) -> None:
        store.save_run(run("abc-123"))
        store.save_run(run("abc-456"))
        with pytest.raises(DataError, match=r"abc-(123|456), abc-(123|456).*more of the id"):
            store.load_run("abc")

    def test_an_unknown_id_is_an_error_with_the_nearest_ids(self, store: RunStore) -> None:
        store.save_run(run("swift-otter"))
        store.save_run(run("brave-lion"))
        with pytest.raises(DataError, match="swift-otter"):
            store.load_run("swft-oter")

    def test_an_empty_store_says_so(self, store: RunStore) -> None:
        assert store.list_runs() == []
        with pytest.raises(DataError, match="empty"):
            store.load_run("anything")

    @pytest.mark.parametrize("run_id", ["%", "_", "run-_", "' OR 1=1 --", '{"$ne": null}', ".*"])
    def test_an_id_is_text_and_no_pattern(self, store: RunStore, run_id: str) -> None:
        store.save_run(run())
        with pytest.raises(DataError, match="no run"):
            store.load_run(run_id)

    def test_runs_are_listed_newest_first_up_to_the_limit(self, store: RunStore) -> None:
        for day in (2, 9, 5):
            store.save_run(run(f"run-{day}", started_at=f"2025-09-{day:02d}T10:00:00Z"))
        assert [found.run_id for found in store.list_runs()] == ["run-9", "run-5", "run-2"]
        assert [found.run_id for found in store.list_runs(limit=2)] == ["run-9", "run-5"]
        assert store.list_runs(limit=0) == []

    def test_runs_are_listed_of_one_workload_or_client(self, store: RunStore) -> None:
        store.save_run(run("run-1"))
        store.save_run(run("run-2", workload_id="order-faq"))
        store.save_run(run("run-3", client_id="acme-app"))
        assert {found.run_id for found in store.list_runs(workload_id="support-router")} == {"run-1", "run-3"}
        assert {found.run_id for found in store.list_runs(client_id="acme-web")} == {"run-1", "run-2"}
        assert [found.run_id for found in store.list_runs("order-faq", "acme-web")] == ["run-2"]
        assert store.list_runs("support") == []

    @pytest.mark.parametrize(
        "workload_id", ["../../etc/passwd", "a/b c:ü", "<script>", "'; DROP TABLE nims; --"]
    )
    def test_any_workload_id_is_stored_and_found(self, store: RunStore, workload_id: str) -> None:
        store.save_run(run(workload_id=workload_id))
        assert store.list_runs(workload_id) == [run(workload_id=workload_id)]

    def test_a_run_is_found_by_exactly_its_id(self, store: RunStore) -> None:
        store.save_run(run("run-10"))
        assert store.find_run("run-1") is None
        store.save_run(run("run-1"))
        assert store.find_run("run-1") == run("run-1")

    def test_all_runs_come_oldest_first_however_many(self, store: RunStore) -> None:
        assert list(store.all_runs()) == []
        for number in range(60):
            store.save_run(
                run(f"run-{number:02d}", started_at=f"2025-09-{number % 28 + 1:02d}", candidates=[])
            )
        ages = [(found.started_at, found.run_id) for found in store.all_runs()]
        assert len(ages) == 60
        assert ages == sorted(ages)
