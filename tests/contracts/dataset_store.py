"""What every dataset store must do. A test module derives from the suite and provides the `store` fixture."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from blocks.datasets.dataset_manifest import MANIFEST
from blocks.ports import DatasetRef, DatasetStore
from flywheel.errors import DatasetError
from flywheel.progress import silent

KEY: dict[str, Any] = {"settings": {"seed": 0, "eval_size": 20}, "parents": ["validated-0123456789abcdef"]}


def make(
    store: DatasetStore, key: dict[str, Any] = KEY, content: str = "rows", kind: str = "split"
) -> DatasetRef:
    with store.create(kind, key) as staging:
        (staging.path / "rows.jsonl").write_text(content)
        staging.counts["rows"] = 3
    return staging.ref


def make_and_fail(store: DatasetStore, failure: type[BaseException]) -> None:
    with store.create("split", KEY) as staging:
        (staging.path / "rows.jsonl").write_text("half")
        raise failure


def make_and_fail_inside_of_another(store: DatasetStore) -> None:
    with store.making("icl", KEY, silent):
        raise RuntimeError


class DatasetStoreContract:
    """The suite. `store` is empty at the start of each test."""

    def test_a_dataset_that_was_never_made_is_not_found(self, store: DatasetStore) -> None:
        assert store.find("split", KEY) is None

    def test_a_published_dataset_is_found_under_its_key_whatever_the_order_of_its_fields(
        self, store: DatasetStore
    ) -> None:
        ref = make(store)
        found = store.find("split", {"parents": KEY["parents"], "settings": {"eval_size": 20, "seed": 0}})
        assert found == ref
        assert ref.counts == {"rows": 3}
        assert ref.name.startswith("split-")

    def test_another_setting_or_kind_is_another_dataset(self, store: DatasetStore) -> None:
        ref = make(store)
        assert store.find("split", {**KEY, "settings": {"seed": 1, "eval_size": 20}}) is None
        assert store.find("icl", KEY) is None
        assert make(store, kind="icl").name != ref.name

    def test_an_opened_dataset_holds_the_files_that_were_written(self, store: DatasetStore) -> None:
        directory = store.open(make(store, content="exactly this"))
        assert (directory / "rows.jsonl").read_text() == "exactly this"

    def test_files_in_folders_of_a_dataset_are_kept(self, store: DatasetStore) -> None:
        with store.create("datasets", KEY) as staging:
            (staging.path / "train").mkdir()
            (staging.path / "train" / "training.jsonl").write_text("{}\n")
        assert (store.open(staging.ref) / "train" / "training.jsonl").read_text() == "{}\n"

    @pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
    def test_a_dataset_whose_making_failed_is_not_there(
        self, store: DatasetStore, failure: type[BaseException]
    ) -> None:
        with pytest.raises(failure):
            make_and_fail(store, failure)
        assert store.find("split", KEY) is None
        make(store, content="whole")
        assert store.find("split", KEY) is not None

    def test_a_dataset_is_not_found_before_it_is_complete(self, store: DatasetStore) -> None:
        with store.create("split", KEY) as staging:
            (staging.path / "rows.jsonl").write_text("half")
            assert store.find("split", KEY) is None

    def test_of_two_makers_of_one_dataset_the_first_to_finish_wins_and_both_succeed(
        self, store: DatasetStore
    ) -> None:
        with store.create("split", KEY) as slow:
            (slow.path / "rows.jsonl").write_text("slow")
            fast = make(store, content="fast")
        assert slow.ref == fast
        assert (store.open(slow.ref) / "rows.jsonl").read_text() == "fast"

    def test_making_a_dataset_again_leaves_the_first(self, store: DatasetStore) -> None:
        first = make(store, content="first")
        assert make(store, content="second") == first
        assert (store.open(first) / "rows.jsonl").read_text() == "first"

    def test_a_damaged_dataset_is_refused_with_the_file_and_what_to_do(self, store: DatasetStore) -> None:
        ref = make(store, content="rows")
        (store.open(ref) / "rows.jsonl").write_text("rows and more")
        with pytest.raises(DatasetError, match=r"rows\.jsonl.*[Dd]elete"):
            store.open(ref)

    def test_a_dataset_that_is_gone_is_a_clear_error(self, store: DatasetStore) -> None:
        with pytest.raises(DatasetError, match="no dataset split-0123456789abcdef"):
            store.open(DatasetRef("split-0123456789abcdef", "anywhere"))

    @pytest.mark.parametrize("name", ["../../etc/passwd", "split-0123456789abcdef/../..", "", "/etc"])
    def test_a_ref_cannot_lead_out_of_the_store(self, store: DatasetStore, name: str) -> None:
        with pytest.raises(DatasetError):
            store.open(DatasetRef(name, name))

    def test_scratch_keeps_its_files_and_belongs_to_one_name(self, store: DatasetStore) -> None:
        (store.scratch("run-1 evaluation") / "predictions.jsonl").write_text("partial")
        assert (store.scratch("run-1 evaluation") / "predictions.jsonl").read_text() == "partial"
        assert not (store.scratch("run-1-evaluation") / "predictions.jsonl").exists()

    def test_a_dataset_without_files_and_one_with_an_empty_file_are_datasets(
        self, store: DatasetStore
    ) -> None:
        with store.create("split", KEY) as nothing:
            nothing.counts["rows"] = 0
        assert store.find("split", KEY) == nothing.ref
        assert store.open(nothing.ref).is_dir()
        empty = make(store, kind="icl", content="")
        assert (store.open(empty) / "rows.jsonl").read_bytes() == b""

    def test_what_makers_at_once_leave_is_one_whole_dataset(self, store: DatasetStore) -> None:
        with ThreadPoolExecutor(4) as threads:
            refs = list(threads.map(lambda number: make(store, content=f"{number}" * 1000), range(8)))
        assert {ref.name for ref in refs} == {refs[0].name}
        content = (store.open(refs[0]) / "rows.jsonl").read_text()
        assert content in {f"{number}" * 1000 for number in range(8)}

    def test_of_makers_that_agree_on_it_one_makes_and_the_others_find(self, store: DatasetStore) -> None:
        made = []

        def find_or_make(number: int) -> DatasetRef:
            with store.making("split", KEY, silent):
                found = store.find("split", KEY)
                if found is None:
                    made.append(number)
                    found = make(store, content=f"{number}")
            return found

        with ThreadPoolExecutor(4) as threads:
            refs = list(threads.map(find_or_make, range(4)))
        assert len(made) == 1
        assert refs == [refs[0]] * 4

    def test_makers_of_other_datasets_do_not_wait_and_a_failed_one_holds_nobody_up(
        self, store: DatasetStore
    ) -> None:
        with pytest.raises(RuntimeError), store.making("split", KEY, silent):
            make_and_fail_inside_of_another(store)
        with store.making("split", KEY, silent):
            pass

    def test_whoever_waits_says_so_and_can_be_stopped(self, store: DatasetStore) -> None:
        reports = []

        def stop(stage: str, done: int, total: int | None, detail: str = "") -> None:
            reports.append(stage)
            raise KeyboardInterrupt

        def wait() -> None:
            with pytest.raises(KeyboardInterrupt), store.making("split", KEY, stop):
                pass

        with store.making("split", KEY, silent):
            waiting = threading.Thread(target=wait)
            waiting.start()
            waiting.join(timeout=120)
        assert reports == ["waiting for another maker"]
        with store.making("split", KEY, silent):
            pass

    def test_sweeping_leaves_datasets_scratch_and_what_is_being_written(self, store: DatasetStore) -> None:
        ref = make(store)
        (store.scratch("run-1") / "predictions.jsonl").write_text("partial")
        with store.create("icl", KEY) as living:
            (living.path / "rows.jsonl").write_text("half")
            assert store.sweep() == []
            assert store.sweep(timedelta(hours=1)) == []
        assert (store.open(living.ref) / "rows.jsonl").read_text() == "half"
        assert (store.open(ref) / "rows.jsonl").read_text() == "rows"
        assert (store.scratch("run-1") / "predictions.jsonl").read_text() == "partial"

    def test_what_is_published_tells_what_it_was_made_from_and_when_it_was_last_used(
        self, store: DatasetStore
    ) -> None:
        assert store.published() == []
        before = datetime.now(UTC) - timedelta(seconds=2)  # clocks of files are coarse
        make(store)
        make(store, kind="icl", content="longer rows")
        icl, split = sorted(store.published(), key=lambda dataset: dataset.kind)
        assert (icl.kind, split.kind) == ("icl", "split")
        assert (split.key, split.parents) == (KEY, KEY["parents"])
        assert len(split.contents) == 1
        assert split.contents != icl.contents
        assert icl.size > split.size > 0
        assert before <= split.used_at <= datetime.now(UTC) + timedelta(seconds=2)

    def test_what_is_named_like_a_dataset_by_somebody_else_is_not_published(
        self, store: DatasetStore
    ) -> None:
        ref = make(store)
        with store.revised(ref.name) as directory:
            manifest = json.loads((directory / MANIFEST).read_bytes())
            manifest["key"] = {"of": "another"}
            (directory / MANIFEST).write_text(json.dumps(manifest))
        assert store.published() == []

    def test_a_dataset_is_removed_unless_it_was_used_since_and_can_be_made_again(
        self, store: DatasetStore
    ) -> None:
        ref, other = make(store), make(store, kind="icl")
        store.open(ref)
        assert not store.remove(ref.name, datetime.now(UTC) - timedelta(hours=1))
        later = datetime.now(UTC) + timedelta(hours=1)
        assert store.remove(ref.name, later)
        assert not store.remove(ref.name, later)
        assert store.find("split", KEY) is None
        with pytest.raises(DatasetError, match="no dataset"):
            store.open(ref)
        assert [dataset.name for dataset in store.published()] == [other.name]
        assert store.sweep(timedelta(0)) == []
        assert (store.open(make(store, content="again")) / "rows.jsonl").read_text() == "again"

    def test_finding_a_dataset_keeps_it(self, store: DatasetStore) -> None:
        ref = make(store)
        time.sleep(0.05)
        between = datetime.now(UTC)
        time.sleep(0.05)
        store.find("split", KEY)
        assert not store.remove(ref.name, between)
        [used] = [dataset.used_at for dataset in store.published() if dataset.name == ref.name]
        assert used >= between

    @pytest.mark.parametrize(
        "name", ["../../etc/passwd", "split-0123456789abcdef/../..", "", "/etc", ".erased"]
    )
    def test_nothing_but_a_dataset_can_be_removed(self, store: DatasetStore, name: str) -> None:
        with pytest.raises(DatasetError):
            store.remove(name, datetime.now(UTC))
        with pytest.raises(DatasetError):
            store.look_into(name)

    def test_a_dataset_that_is_revised_has_the_new_content_under_its_name(self, store: DatasetStore) -> None:
        ref = make(store, content="one\ntwo\n")
        with store.revised(ref.name) as directory:
            (directory / "rows.jsonl").write_text("two\n")
            manifest = json.loads((directory / MANIFEST).read_bytes())
            content = b"two\n"
            manifest["files"] = [
                {"path": "rows.jsonl", "size": len(content), "sha256": sha256(content).hexdigest()}
            ]
            (directory / MANIFEST).write_text(json.dumps(manifest))
        found = store.find("split", KEY)
        assert found == ref
        assert (store.look_into(ref.name) / "rows.jsonl").read_text() == "two\n"
        assert store.sweep(timedelta(0)) == []

    def test_the_histories_that_refer_to_the_store_are_remembered_each_once(
        self, store: DatasetStore
    ) -> None:
        assert store.histories() == frozenset()
        for history in ("0123456789abcdef", "fedcba9876543210", "0123456789abcdef"):
            store.serve(history)
        assert store.histories() == {"0123456789abcdef", "fedcba9876543210"}
        assert store.published() == []

    def test_erased_records_are_remembered_each_once(self, store: DatasetStore) -> None:
        assert store.erased() == frozenset()
        store.erase(["r1", "ü/../x y"])
        store.erase(["r1"])
        assert store.erased() == {"r1", "ü/../x y"}
        make(store)
        store.sweep(timedelta(0))
        assert store.erased() == {"r1", "ü/../x y"}
