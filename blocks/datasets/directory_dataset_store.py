"""The embedded dataset store: directories on a local disk.

<root>/<kind>/<kind>-<16 hex digits>/manifest.json and the files of the dataset
<root>/<kind>/.staging-...                            being written
<root>/scratch/<name>/                                survives a crash, belongs to one name
<root>/.locks/<name>                                  one maker at a time
<root>/.erased/...                                    see blocks.datasets.erasure_list
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from blocks.datasets import erasure_list
from blocks.datasets.dataset_manifest import (
    MANIFEST,
    Manifest,
    check_digests,
    check_sizes,
    damaged,
    dataset_name,
    read_manifest,
)
from blocks.datasets.dataset_staging import (
    NAME,
    ORPHANED,
    DirectoryStaging,
    one_at_a_time,
    staging_directory,
    sweep_directory,
    write_manifest,
)
from blocks.ports import DatasetRef
from flywheel.errors import DatasetError
from flywheel.naming import slug
from flywheel.progress import Progress


class DirectoryDatasetStore:
    """Datasets as directories under `root`, on one disk, so that publishing is one rename.

    Several processes may use one store. Two that make the same dataset at once both succeed; the first to
    publish wins, and since the content follows from the key it does not matter who that is.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root).absolute()
        self._verified: set[str] = set()

    @property
    def root(self) -> Path:
        """The directory that all datasets lie below."""
        return self._root

    def find(self, kind: str, key: dict[str, Any]) -> DatasetRef | None:
        """The complete dataset of this kind and key, or None. Raises DatasetError for a damaged manifest."""
        directory = self._directory(kind, key)
        manifest = read_manifest(directory)
        return _ref(directory, manifest) if manifest else None

    @contextlib.contextmanager
    def create(self, kind: str, key: dict[str, Any]) -> Iterator[DirectoryStaging]:
        """A directory to fill. It becomes the dataset when the block ends without an exception, else it goes.

        Raises: DatasetError, OSError (full disk, read-only place).
        """
        final = self._directory(kind, key)
        if final.exists() and read_manifest(final) is None:
            raise damaged(final, f"{MANIFEST} is missing")
        with staging_directory(final.parent, final.name) as staging:
            yield staging
            write_manifest(staging, kind, key)
            staging.ref = _publish(staging.path, final)

    def making(
        self, kind: str, key: dict[str, Any], progress: Progress
    ) -> contextlib.AbstractContextManager[None]:
        """Held by one maker of this dataset at a time; look again with `find` once inside."""
        return one_at_a_time(self._root, self._directory(kind, key).name, progress)

    def open(self, ref: DatasetRef) -> Path:
        """The dataset's directory. Sizes are checked every time, contents once in the life of this object.

        Raises: DatasetError where the dataset is not there or not what was published.
        """
        match = NAME.fullmatch(ref.name)
        if match is None:
            raise DatasetError(f"{ref.name!r} is not the name of a dataset.")
        directory = self._root / match[1] / ref.name
        manifest = read_manifest(directory)
        if manifest is None:
            raise DatasetError(f"There is no dataset {ref.name} in {self._root}. Run again to make it.")
        check_sizes(directory, manifest)
        if ref.name not in self._verified:
            check_digests(directory, manifest)
            self._verified.add(ref.name)
        return directory

    def scratch(self, name: str) -> Path:
        """A directory that stays until someone deletes it, the same for the same name."""
        directory = self._root / "scratch" / slug(name, 80)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def erase(self, record_ids: Collection[str]) -> None:
        """See `blocks.datasets.erasure_list`."""
        erasure_list.add(_local_files(), str(self._root), record_ids)

    def erased(self) -> frozenset[str]:
        """See `blocks.datasets.erasure_list`."""
        return erasure_list.read(_local_files(), str(self._root))

    def sweep(self, older_than: timedelta = ORPHANED) -> list[str]:
        """Remove what was left half-written; returns where it lay (`dataset_staging.sweep_directory` does it)."""
        return [str(path) for path in sweep_directory(self._root, older_than)]

    def _directory(self, kind: str, key: dict[str, Any]) -> Path:
        safe_kind = slug(kind)
        return self._root / safe_kind / dataset_name(safe_kind, key)


def _publish(staging: Path, final: Path) -> DatasetRef:
    """Give the directory its name, or take the dataset that another process published under it first."""
    try:
        staging.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    manifest = read_manifest(final)
    if manifest is None:
        raise damaged(final, f"{MANIFEST} is missing")
    return _ref(final, manifest)


def _ref(directory: Path, manifest: Manifest) -> DatasetRef:
    return DatasetRef(name=directory.name, uri=str(directory), counts=manifest.counts)


def _local_files() -> Any:
    from fsspec.implementations.local import LocalFileSystem  # who erases nothing does not wait for it

    return LocalFileSystem()
