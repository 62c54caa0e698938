"""What a run holds on a platform stays in the ledger until it is struck off."""

from __future__ import annotations

from blocks.ports import RunStore
from tests.contracts.run_store.cases import entry, run


class KeepsTheLedger:
    def test_what_is_allocated_stays_in_the_ledger_until_it_is_struck_off(self, store: RunStore) -> None:
        store.record_resource(entry("fw-1"))
        store.record_resource(entry("fw-2", kind="fine-tune"))
        store.strike_resource("deployment", "fw-1")
        assert store.allocated() == [entry("fw-2", kind="fine-tune")]

    def test_the_ledger_may_be_written_and_struck_twice(self, store: RunStore) -> None:
        store.record_resource(entry())
        store.record_resource(entry(details={"port": 8001}))
        assert store.allocated() == [entry(details={"port": 8001})]
        store.strike_resource("deployment", "fw-1")
        store.strike_resource("deployment", "fw-1")
        assert store.allocated() == []

    def test_the_ledger_knows_whose_a_resource_is(self, store: RunStore) -> None:
        # A sweeper that frees everything would take the resources of runs that are alive.
        store.record_resource(entry("fw-1", run_id="run-1"))
        store.record_resource(entry("fw-2", run_id="run-2"))
        assert [found.name for found in store.allocated("run-2")] == ["fw-2"]
        assert store.allocated("run") == []

    def test_a_resource_may_be_noted_before_its_run_is_saved_and_outlives_its_saving(
        self, store: RunStore
    ) -> None:
        store.record_resource(entry())
        store.save_run(run())
        store.save_run(run())
        assert store.allocated("run-1") == [entry()]
