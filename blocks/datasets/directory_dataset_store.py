"""The embedded dataset store: directories on a local disk.

<root>/<kind>/<kind>-<16 hex digits>/manifest.json and the files of the dataset
<root>/<kind>/.staging-...                            being written
<root>/scratch/<name>/                                survives a crash, belongs to one name
<root>/.locks/<name>                                  one maker at a time
<root>/.erased/...                                    see blocks.datasets.erasure_list
<root>/.histories/...                                 see blocks.datasets.history_list
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blocks.datasets import erasure_list, history_list
from blocks.datasets.dataset_manifest import (
    MANIFEST,
    Manifest,
    as_stored,
    check_digests,
    check_sizes,
    damaged,
    dataset_name,
    is_name_of,
    kind_in,
    read_manifest,
)
from blocks.datasets.dataset_staging import (
    ORPHANED,
    DirectoryStaging,
    discard,
    one_at_a_time,
    staging_directory,
    sweep_directory,
    write_manifest,
)
from blocks.ports import DatasetRef
from flywheel.dataset_retention import StoredDataset
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
        if manifest is None:
            return None
        with contextlib.suppress(
            OSError
        ):  # a disk that cannot be written to: nothing is removed from it either
            os.utime(directory / MANIFEST)  # used now: see `published`
        return _ref(directory, manifest)

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
        directory = self._root / kind_in(ref.name) / ref.name
        manifest = read_manifest(directory)
        if manifest is None:
            raise DatasetError(f"There is no dataset {ref.name} in {self._root}. Run again to make it.")
        check_sizes(directory, manifest)
        if ref.name not in self._verified:
            check_digests(directory, manifest)
            self._verified.add(ref.name)
        return directory

    def published(self) -> list[StoredDataset]:
        """All datasets; last used when their manifest was last touched. Raises DatasetError for a damaged one."""
        found = []
        for directory in sorted(path.parent for path in self._root.glob(f"*/*/{MANIFEST}")):
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                used = datetime.fromtimestamp((directory / MANIFEST).stat().st_mtime, UTC)
                manifest = read_manifest(directory)
                if manifest is not None and is_name_of(directory.name, manifest):
                    found.append(as_stored(directory.name, manifest, used))
        return found

    def remove(self, name: str, unused_since: datetime) -> bool:
        """Remove a dataset, unless it was used since, or is not there."""
        directory = self._root / kind_in(name) / name
        try:
            used = datetime.fromtimestamp((directory / MANIFEST).stat().st_mtime, UTC)
        except FileNotFoundError:
            return False
        if used >= unused_since:
            return False
        discard(directory)
        return True

    def look_into(self, name: str) -> Path:
        """The dataset's directory as it is, with no check: an erasure that broke off may have left it half changed."""
        return self._root / kind_in(name) / name

    @contextlib.contextmanager
    def revised(self, name: str) -> Iterator[Path]:
        """The same directory, to be changed in place."""
        yield self.look_into(name)

    @property
    def scratch_folder(self) -> Path:
        """The directory that all scratch lies below."""
        return self._root / "scratch"

    def scratch(self, name: str) -> Path:
        """A directory that stays until someone deletes it, the same for the same name."""
        directory = self.scratch_folder / slug(name, 80)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def serve(self, history: str) -> None:
        """See `blocks.datasets.history_list`."""
        history_list.add(_local_files(), str(self._root), history)

    def histories(self) -> frozenset[str]:
        """See `blocks.datasets.history_list`."""
        return history_list.read(_local_files(), str(self._root))

    def erase(self, record_ids: Collection[str]) -> None:
        """See `blocks.datasets.erasure_list`."""
        erasure_list.add(_local_files(), str(self._root), record_ids)

    def erased(self) -> frozenset[str]:
        """See `blocks.datasets.erasure_list`."""
        return erasure_list.read(_local_files(), str(self._root))

    def sweep(self, older_than: timedelta = ORPHANED, *, dry_run: bool = False) -> list[str]:
        """Remove what was left half-written; returns where it lay (`dataset_staging.sweep_directory` does it)."""
        return [str(path) for path in sweep_directory(self._root, older_than, dry_run=dry_run)]

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
