"""Datasets at URLs: the contract over memory:// and file://, and what is this store's own."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from pydantic import SecretStr, ValidationError

from blocks.datasets.fsspec_block import FsspecDatasets
from blocks.datasets.fsspec_dataset_store import FsspecDatasetStore, dataset_store_at
from flywheel.errors import ConfigError, DatasetError, EndpointRefused, RemoteRejected, TransientRemoteError
from tests.contracts.dataset_store import KEY, DatasetStoreContract, make, make_and_fail
from tests.fakes.faulty_files import FaultyFileSystem, NoCredentialsError, register


@pytest.fixture
def memory_url() -> Iterator[str]:
    url = f"memory://{uuid.uuid4().hex}/datasets"
    yield url
    files, path = fsspec.core.url_to_fs(url)
    if files.exists(path):
        files.rm(path, recursive=True)


class TestContractInMemory(DatasetStoreContract):
    @pytest.fixture
    def store(self, memory_url: str, tmp_path: Path) -> FsspecDatasetStore:
        return FsspecDatasetStore(memory_url, tmp_path / "cache")


class TestContractInADirectory(DatasetStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FsspecDatasetStore:
        return FsspecDatasetStore(f"file://{tmp_path}/shared", tmp_path / "cache")


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FsspecDatasetStore]:
    register()
    yield FsspecDatasetStore("faulty://bucket/datasets", tmp_path / "cache")
    register()


def left() -> list[str]:
    """What lies there, but for the notes of when something was used."""
    return sorted(path for path in FaultyFileSystem.store if "/.used/" not in path)


def test_another_machine_gets_what_was_published_and_downloads_it_once(
    memory_url: str, tmp_path: Path
) -> None:
    ref = make(FsspecDatasetStore(memory_url, tmp_path / "a"), content="exactly this")
    elsewhere = FsspecDatasetStore(memory_url, tmp_path / "b")
    assert elsewhere.find("split", KEY) == ref
    assert ref.uri == f"{memory_url}/split/{ref.name}"
    directory = elsewhere.open(ref)
    assert directory.is_relative_to(tmp_path / "b")
    assert (directory / "rows.jsonl").read_text() == "exactly this"
    assert json.loads((directory / "manifest.json").read_text())["key"] == KEY
    files, path = fsspec.core.url_to_fs(memory_url)
    for name in files.find(path):
        if name.endswith("rows.jsonl"):
            files.rm_file(name)
    assert elsewhere.open(ref) == directory  # from its own copy
    assert FsspecDatasetStore(memory_url, tmp_path / "b").open(ref) == directory


@pytest.mark.parametrize("damage", [b"ROWS", b"rows and more", b"", None])
def test_files_that_changed_at_the_url_are_refused_and_no_copy_stays(
    memory_url: str, tmp_path: Path, damage: bytes | None
) -> None:
    ref = make(FsspecDatasetStore(memory_url, tmp_path / "a"))
    files, path = fsspec.core.url_to_fs(memory_url)
    [name] = [name for name in files.find(path) if name.endswith("rows.jsonl")]
    files.rm_file(name)
    if damage is not None:
        files.pipe_file(name, damage)
    elsewhere = FsspecDatasetStore(memory_url, tmp_path / "b")
    for _ in range(2):
        with pytest.raises(
            DatasetError, match=rf"{ref.name} is damaged.*Delete {memory_url}/split/{ref.name}.json"
        ):
            elsewhere.open(ref)
    assert not [found for found in (tmp_path / "b").rglob("*") if found.is_file()]


def test_a_publication_that_cannot_be_read_is_an_error_and_not_a_dataset_to_make_again(
    memory_url: str, tmp_path: Path
) -> None:
    store = FsspecDatasetStore(memory_url, tmp_path / "cache")
    ref = make(store)
    files, path = fsspec.core.url_to_fs(memory_url)
    publication = f"{path}/split/{ref.name}.json"
    whole = files.cat_file(publication)
    files.pipe_file(publication, whole[:50])
    with pytest.raises(DatasetError, match="cannot be read"):
        store.find("split", KEY)
    files.pipe_file(publication, whole.replace(b'"schema_version": 1', b'"schema_version": 99'))
    with pytest.raises(DatasetError, match="schema version 99"):
        store.find("split", KEY)


@pytest.mark.parametrize("afterwards", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ConnectionResetError("peer"), MemoryError()])
def test_a_publishing_that_breaks_off_at_any_point_leaves_the_dataset_whole_or_absent_and_can_be_repeated(
    faulty: FsspecDatasetStore, failure: BaseException, at: int, afterwards: bool
) -> None:
    FaultyFileSystem.fail(failure, at=at, afterwards=afterwards)
    with pytest.raises(BaseException, match=r"peer|") as caught:
        make(faulty, content="first")
    assert not isinstance(caught.value, DatasetError)
    found = faulty.find("split", KEY)
    if found is None:
        assert left() == [], "what was uploaded is removed"
    else:
        assert (at, afterwards) == (4, True)
        assert (faulty.open(found) / "rows.jsonl").read_text() == "first"
    FaultyFileSystem.fail(None)
    again = make(faulty, content="second")
    assert (faulty.open(again) / "rows.jsonl").read_text() == ("second" if found is None else "first")
    assert len(left()) == 2


def test_what_a_killed_maker_uploaded_is_swept_when_it_is_old_and_not_before(
    faulty: FsspecDatasetStore, tmp_path: Path
) -> None:
    ref = make(faulty)
    make(faulty, kind="icl")
    files = FaultyFileSystem()
    for name, upload in ((ref.name, "0123456789abcdef"), ("split-0000000000000000", "00000000000000aa")):
        files.pipe_file(f"/bucket/datasets/.uploads/split/{name}/{upload}", b"2025-09-01T10:00:00+00:00")
        files.pipe_file(f"/bucket/datasets/split/{name}/{upload}/rows.jsonl", b"half")
    [published] = [
        path.split("/")[-2] for path in left() if ref.name in path and path.endswith("rows.jsonl")
    ][1:]
    # A maker that was killed between publishing and taking its mark away.
    files.pipe_file(f"/bucket/datasets/.uploads/split/{ref.name}/{published}", b"2025-09-01T10:00:00+00:00")
    # One that is at it, and one that has just begun to write its mark.
    files.pipe_file(
        f"/bucket/datasets/.uploads/split/{ref.name}/00000000000000bb", b"2099-09-01T10:00:00+00:00"
    )
    files.pipe_file(f"/bucket/datasets/.uploads/split/{ref.name}/00000000000000cc", b"")
    gone = FsspecDatasetStore("faulty://bucket/datasets", tmp_path / "elsewhere").sweep()
    assert sorted(gone) == [
        "faulty://bucket/datasets/split/split-0000000000000000/00000000000000aa",
        f"faulty://bucket/datasets/split/{ref.name}/0123456789abcdef",
    ]
    assert (faulty.open(ref) / "rows.jsonl").read_text() == "rows"
    assert [path.split("/")[-1] for path in left() if ".uploads" in path] == [
        "00000000000000bb",
        "00000000000000cc",
    ]
    fresh = FsspecDatasetStore("faulty://bucket/datasets", tmp_path / "fresh")
    assert (fresh.open(ref) / "rows.jsonl").read_text() == "rows"
    assert faulty.sweep(timedelta(0)) == []


@pytest.mark.parametrize(
    ("failure", "error", "said"),
    [
        (NoCredentialsError("Unable to locate credentials"), EndpointRefused, "credentials"),
        (PermissionError("Access Denied"), EndpointRefused, "credentials"),
        (FileNotFoundError("The specified bucket does not exist"), RemoteRejected, "Create it first"),
        (TimeoutError("read timed out"), TransientRemoteError, "Try again"),
        (ConnectionResetError("reset by peer"), TransientRemoteError, "Try again"),
    ],
)
def test_what_an_object_store_refuses_is_told_with_what_to_do(
    faulty: FsspecDatasetStore, failure: Exception, error: type[Exception], said: str
) -> None:
    FaultyFileSystem.fail(failure)
    begun = []
    with pytest.raises(error, match=said) as caught, faulty.create("split", KEY) as staging:
        begun.append(staging)
    assert not begun, "it is found out before the work"
    assert "faulty://bucket/datasets" in str(caught.value)


def test_a_url_of_no_known_kind_and_one_whose_package_is_missing_are_clear_errors(tmp_path: Path) -> None:
    for url in ("nosuch://bucket", "gs://bucket/x"):
        with pytest.raises(ConfigError, match=url):
            FsspecDatasetStore(url, tmp_path).find("split", KEY)


def test_a_full_disk_is_said_with_its_place_and_leaves_nothing(tmp_path: Path) -> None:
    # A bound on the size of files stands for a full disk: the same call fails, with the same kind of error.
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from blocks.datasets.fsspec_dataset_store import FsspecDatasetStore\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "store = FsspecDatasetStore(f'file://{sys.argv[1]}/shared', Path(sys.argv[1]) / 'cache')\n"
        "try:\n"
        "    with store.create('split', {'seed': 1}) as staging:\n"
        "        for part in range(9): (staging.path / f'{part}.bin').write_bytes(b'x' * 400)\n"
        "        (staging.path / 'sums').write_text('y' * 800 if sys.argv[2] == 'manifest' else 'y' * 8000)\n"
        "except OSError as error:\n"
        "    print(type(error).__name__, error.errno)\n"
        "print(store.find('split', {'seed': 1}))\n"
    )
    for when in ("data", "manifest"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), when],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert done.stdout.splitlines() == ["OSError 27", "None"], done.stderr
    assert not [found for found in tmp_path.rglob("*") if found.is_file()]


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FsspecDatasetStore(f"file://{tmp_path}/file/datasets", tmp_path / "cache")
    with pytest.raises(RemoteRejected, match="Create"):
        make(store)


def test_a_password_in_the_url_is_refused_since_settings_are_stored(tmp_path: Path) -> None:
    for url in ("ftp://user:geheim@host/x", "sftp://user@host/x"):
        with pytest.raises(ConfigError, match="block") as caught:
            dataset_store_at(url, tmp_path)
        assert "geheim" not in str(caught.value)


def test_the_block_builds_the_store_with_its_options_and_hides_them(memory_url: str, tmp_path: Path) -> None:
    block = FsspecDatasets(
        url=memory_url, copies=str(tmp_path), options=SecretStr('{"skip_instance_cache": true}')
    )
    ref = make(block.connect())
    assert block.connect().open(ref).is_relative_to(tmp_path)
    assert "skip_instance_cache" not in repr(block)
    with pytest.raises(ConfigError, match="no JSON object"):
        FsspecDatasets(url=memory_url, copies=str(tmp_path), options=SecretStr("[1]")).connect()
    with pytest.raises(ValidationError, match="extra"):
        FsspecDatasets(url=memory_url, urls="misspelt")


def test_nothing_of_an_interrupted_making_stays(faulty: FsspecDatasetStore, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        make_and_fail(faulty, OSError)
    assert left() == []
    assert not [found for found in tmp_path.rglob("*") if found.is_file()]
