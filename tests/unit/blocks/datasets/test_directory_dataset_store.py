"""The directory store: the contract, and what is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from flywheel.errors import DatasetError
from tests.contracts.dataset_store import KEY, DatasetStoreContract, make, make_and_fail


@pytest.fixture
def store(tmp_path: Path) -> DirectoryDatasetStore:
    return DirectoryDatasetStore(tmp_path / "store")


class TestContract(DatasetStoreContract):
    pass


def files_below(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def test_the_manifest_tells_settings_parents_counts_and_checksums(store: DirectoryDatasetStore) -> None:
    manifest = json.loads((store.open(make(store)) / "manifest.json").read_text())
    assert manifest["kind"] == "split"
    assert manifest["key"] == KEY
    assert manifest["parents"] == ["validated-0123456789abcdef"]
    assert manifest["counts"] == {"rows": 3}
    assert [(file["path"], file["size"], len(file["sha256"])) for file in manifest["files"]] == [
        ("rows.jsonl", 4, 64)
    ]


def test_same_length_damage_is_found_by_a_store_that_did_not_write_it(
    store: DirectoryDatasetStore, tmp_path: Path
) -> None:
    ref = make(store, content="rows")
    (store.open(ref) / "rows.jsonl").write_text("ROWS")
    with pytest.raises(DatasetError, match=r"content of rows\.jsonl changed"):
        DirectoryDatasetStore(tmp_path / "store").open(ref)


def test_a_missing_and_an_added_file_are_found(store: DirectoryDatasetStore) -> None:
    directory = store.open(make(store))
    (directory / "rows-2.jsonl").write_text("")
    with pytest.raises(DatasetError, match=r"rows-2\.jsonl does not belong"):
        store.open(make(store))
    (directory / "rows-2.jsonl").unlink()
    (directory / "rows.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"rows\.jsonl is missing"):
        store.open(make(store))


@pytest.mark.parametrize("broken", ["", "{", '{"schema_version": 1}'])
def test_a_broken_manifest_is_an_error_and_not_a_dataset_to_make_again(
    store: DirectoryDatasetStore, broken: str
) -> None:
    (store.open(make(store)) / "manifest.json").write_text(broken)
    with pytest.raises(DatasetError, match="Delete the directory"):
        store.find("split", KEY)


def test_a_directory_that_lost_its_manifest_is_no_dataset_and_stops_the_making_early(
    store: DirectoryDatasetStore,
) -> None:
    (store.open(make(store)) / "manifest.json").unlink()
    assert store.find("split", KEY) is None
    with pytest.raises(DatasetError, match="Delete the directory"):
        make(store)


def test_a_dataset_of_another_schema_version_is_refused(store: DirectoryDatasetStore) -> None:
    path = store.open(make(store)) / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(DatasetError, match="schema version 99"):
        store.find("split", KEY)


def test_the_name_of_the_manifest_is_taken(store: DirectoryDatasetStore) -> None:
    with pytest.raises(DatasetError, match="another name"), store.create("split", KEY) as staging:
        (staging.path / "manifest.json").write_text("{}")
    assert store.find("split", KEY) is None


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "a/b c:ü", "<script>", "", "..", "A" * 500, "nul\0byte"]
)
def test_names_from_users_stay_inside_the_store(
    store: DirectoryDatasetStore, tmp_path: Path, text: str
) -> None:
    (store.scratch(text) / "file").write_text("x")
    make(store, kind=text)
    assert all(name.startswith("store/") for name in files_below(tmp_path))
    assert store.scratch(text).parent == tmp_path / "store" / "scratch"


def test_nothing_of_an_interrupted_making_stays(store: DirectoryDatasetStore, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        make_and_fail(store, OSError)
    assert files_below(tmp_path) == []


def test_sweeping_removes_what_a_killed_process_left_and_not_what_a_living_one_writes(
    store: DirectoryDatasetStore, tmp_path: Path
) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from blocks.datasets.directory_dataset_store import DirectoryDatasetStore\n"
        "with DirectoryDatasetStore(Path(sys.argv[1])).create('split', {'seed': 1}) as staging:\n"
        "    (staging.path / 'rows.jsonl').write_text('half'); os.kill(os.getpid(), 9)"
    )
    root = tmp_path / "store"
    killed = subprocess.run([sys.executable, "-c", code, str(root)], timeout=300, check=False)
    assert killed.returncode == -9
    left = list(root.glob("*/.staging-*"))
    assert len(left) == 1
    with store.create("split", KEY) as living:
        assert store.sweep() == [str(path) for path in left]
        assert living.path.exists()
    assert store.find("split", {"seed": 1}) is None
    assert store.sweep() == []


def test_processes_that_make_one_dataset_at_once_all_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from blocks.datasets.directory_dataset_store import DirectoryDatasetStore\n"
        "store = DirectoryDatasetStore(Path(sys.argv[1]))\n"
        "for seed in range(20):\n"
        "    with store.create('split', {'seed': seed}) as staging:\n"
        "        (staging.path / 'rows.jsonl').write_text(str(seed))\n"
        "    assert (store.open(staging.ref) / 'rows.jsonl').read_text() == str(seed)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors.decode()
    published = [name for name in os.listdir(tmp_path / "split") if not name.startswith(".")]
    assert len(published) == len(os.listdir(tmp_path / "split")) == 20
