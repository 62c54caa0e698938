"""Datasets at any fsspec URL: object stores (s3://, gs://), shared directories (file://), memory:// in tests.

<url>/...                             see blocks.datasets.publications, erasure_list and history_list
<cache>/<kind>/<name>/<upload>/       a local copy with its manifest.json, which is what readers get
<cache>/scratch/<name>/               partial work of this machine
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from blocks.datasets import erasure_list, history_list
from blocks.datasets.dataset_manifest import (
    MANIFEST,
    as_stored,
    check_digests,
    check_sizes,
    dataset_name,
    is_name_of,
    kind_in,
    read_manifest,
)
from blocks.datasets.dataset_staging import (
    ORPHANED,
    DirectoryStaging,
    encoded,
    one_at_a_time,
    staging_directory,
    sweep_directory,
    write_manifest,
)
from blocks.datasets.fsspec_faults import explaining
from blocks.datasets.publications import Publication, Publications
from blocks.ports import DatasetRef
from flywheel.dataset_retention import StoredDataset
from flywheel.errors import ConfigError, DatasetError
from flywheel.naming import slug
from flywheel.progress import Progress


class FsspecDatasetStore:
    """Datasets at a URL, with local copies in `cache`.

    Any number of machines may use one store. A dataset exists from the moment its publication does, which is one
    small object; two makers upload into folders of their own, and the first to publish wins where the store can create
    exclusively, the last elsewhere: a dataset is whole either way.

    Every method raises ConfigError (no package for the URL), EndpointRefused (credentials), RemoteRejected (no such
    bucket), TransientRemoteError (out of reach) and OSError (the local disk is full).

    Args:
        url: Where the datasets are, for example `s3://bucket/flywheel`.
        cache: Local directory for copies, scratch and locks.
        options: Of the file system, as fsspec takes them: credentials, endpoint.
    """

    def __init__(self, url: str, cache: Path, options: dict[str, Any] | None = None) -> None:
        self._url = url.rstrip("/")
        self._there = Publications(self._url, options or {})
        self._cache = Path(cache).absolute()
        self._verified: set[Path] = set()

    def find(self, kind: str, key: dict[str, Any]) -> DatasetRef | None:
        """The complete dataset of this kind and key, or None. Raises DatasetError for a damaged publication."""
        safe_kind = slug(kind)
        name = dataset_name(safe_kind, key)
        publication = self._there.get(safe_kind, name)
        if publication is None:
            return None
        self._there.note_use(safe_kind, name)
        return self._ref(safe_kind, name, publication)

    @contextlib.contextmanager
    def create(self, kind: str, key: dict[str, Any]) -> Iterator[DirectoryStaging]:
        """A local directory to fill. It is uploaded and published when the block ends without an exception."""
        safe_kind = slug(kind)
        name = dataset_name(safe_kind, key)
        upload = secrets.token_hex(8)
        with (
            self._marked(
                safe_kind, name, upload
            ),  # before the work: a place that refuses us is found out early
            staging_directory(self._cache / safe_kind / name, name) as staging,
        ):
            yield staging
            ours = Publication(upload, write_manifest(staging, kind, key))
            publication = self._publish(staging.path, safe_kind, name, ours)
            staging.ref = self._ref(safe_kind, name, publication)
            if publication.upload == upload:
                staging.path.rename(self._cache / safe_kind / name / upload)

    def making(
        self, kind: str, key: dict[str, Any], progress: Progress
    ) -> contextlib.AbstractContextManager[None]:
        """Held by one maker of this dataset on this machine at a time; look again with `find` once inside."""
        return one_at_a_time(self._cache, dataset_name(slug(kind), key), progress)

    def open(self, ref: DatasetRef) -> Path:
        """A local directory with the dataset's files, downloaded where they are not here yet.

        Sizes are checked every time, contents once in the life of this object, and after a download.
        Raises: DatasetError where the dataset is not there or not what was published.
        """
        return self.look_into(ref.name)

    def published(self) -> list[StoredDataset]:
        """All datasets. Raises DatasetError for a damaged publication."""
        return [
            as_stored(name, publication.manifest, used)
            for name, publication, used in self._there.all()
            if is_name_of(name, publication.manifest)
        ]

    def remove(self, name: str, unused_since: datetime) -> bool:
        """Remove a dataset and the copy of this machine, unless it was used since, or is not there."""
        kind = kind_in(name)
        publication = self._there.get(kind, name)
        if publication is None or self._there.used(kind, name, publication) >= unused_since:
            return False
        self._there.remove(kind, name, publication)
        shutil.rmtree(self._cache / kind / name, ignore_errors=True)
        return True

    def look_into(self, name: str) -> Path:
        """See `open`: what lies at a URL is never half changed."""
        kind = kind_in(name)
        publication = self._there.get(kind, name)
        if publication is None:
            raise DatasetError(f"There is no dataset {name} in {self._url}. Run again to make it.")
        return self._copy(kind, name, publication)

    @contextlib.contextmanager
    def revised(self, name: str) -> Iterator[Path]:
        """A copy to change, its manifest included. It is published in place of the dataset if the block ends well.

        What was there before goes, from this machine too; copies on others are not read any more and go when
        those next open the dataset.
        """
        kind = kind_in(name)
        before = self._there.get(kind, name)
        upload = secrets.token_hex(8)
        with (
            self._marked(kind, name, upload),
            staging_directory(self._cache / kind / name, name) as staging,
        ):
            directory = staging.path / name
            shutil.copytree(self.look_into(name), directory)
            yield directory
            manifest = read_manifest(directory)
            if before is None or manifest is None or manifest == before.manifest:
                return
            self._there.mark(kind, name, before.upload)  # it goes even if we are killed in between
            self._there.upload(directory, kind, name, Publication(upload, manifest))
            self._there.replace(kind, name, Publication(upload, manifest))
            self._there.withdraw(kind, name, before.upload)
            self._forget_other_copies(kind, name, upload)

    @property
    def scratch_folder(self) -> Path:
        """The directory that all scratch of this machine lies below."""
        return self._cache / "scratch"

    def scratch(self, name: str) -> Path:
        """A directory of this machine that stays until someone deletes it, the same for the same name."""
        directory = self.scratch_folder / slug(name, 80)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def serve(self, history: str) -> None:
        """See `blocks.datasets.history_list`."""
        with explaining(self._url):
            history_list.add(self._there.files(), self._there.path(), history)

    def histories(self) -> frozenset[str]:
        """See `blocks.datasets.history_list`."""
        with explaining(self._url):
            return history_list.read(self._there.files(), self._there.path())

    def erase(self, record_ids: Collection[str]) -> None:
        """See `blocks.datasets.erasure_list`."""
        with explaining(self._url):
            erasure_list.add(self._there.files(), self._there.path(), record_ids)

    def erased(self) -> frozenset[str]:
        """See `blocks.datasets.erasure_list`."""
        with explaining(self._url):
            return erasure_list.read(self._there.files(), self._there.path())

    def sweep(self, older_than: timedelta = ORPHANED, *, dry_run: bool = False) -> list[str]:
        """Remove uploads that were begun over `older_than` ago and not published; returns where they lay.

        What was left half-written in the local cache goes too.
        """
        gone = [str(path) for path in sweep_directory(self._cache, older_than, dry_run=dry_run)]
        for kind, name, upload in self._there.left_behind(older_than):
            publication = self._there.get(kind, name)
            if publication is None or publication.upload != upload:
                gone.append(f"{self._url}/{kind}/{name}/{upload}")
            if not dry_run:
                self._there.withdraw(kind, name, upload)
        return gone

    @contextlib.contextmanager
    def _marked(self, kind: str, name: str, upload: str) -> Iterator[None]:
        """Mark an upload as under way. At the end the mark goes, and what was uploaded if it was not published."""
        try:
            self._there.mark(kind, name, upload)
            yield
        finally:
            with contextlib.suppress(Exception):  # what cannot be removed now, `sweep` finds by its mark
                self._there.withdraw(kind, name, upload)

    def _publish(self, source: Path, kind: str, name: str, ours: Publication) -> Publication:
        """Upload and publish; returns what is published in the end, which may be another maker's."""
        self._there.mark(kind, name, ours.upload)  # anew: the making may have taken long
        self._there.upload(source, kind, name, ours)
        published = self._there.get(kind, name)
        if published is None:
            self._there.create(kind, name, ours)
            published = self._there.get(kind, name)
        if published is None:
            raise DatasetError(f"The dataset {name} was published and is not in {self._url}. Run again.")
        return published

    def _copy(self, kind: str, name: str, publication: Publication) -> Path:
        directory = self._cache / kind / name / publication.upload
        if not directory.exists():
            self._download(kind, name, publication, directory)
            self._forget_other_copies(kind, name, publication.upload)
        manifest = read_manifest(directory)
        if manifest is None:
            raise DatasetError(
                f"The copy {directory} of a dataset has lost its {MANIFEST}. Delete the directory."
            )
        check_sizes(directory, manifest)
        if directory not in self._verified:
            check_digests(directory, manifest)
            self._verified.add(directory)
        return directory

    def _download(self, kind: str, name: str, publication: Publication, directory: Path) -> None:
        with staging_directory(directory.parent, name) as staging:
            self._there.download(kind, name, publication, staging.path)
            (staging.path / MANIFEST).write_bytes(encoded(publication.manifest))
            try:
                check_sizes(staging.path, publication.manifest)
                check_digests(staging.path, publication.manifest)
            except DatasetError as error:
                raise self._there.damaged(
                    kind, name, "its files are not those that were published"
                ) from error
            with contextlib.suppress(FileExistsError, OSError):
                staging.path.rename(directory)
        if not directory.exists():
            raise DatasetError(f"The copy of {name} could not be put to {directory}. Check the directory.")

    def _forget_other_copies(self, kind: str, name: str, upload: str) -> None:
        """Copies of what the dataset was before: records may have been erased from it since."""
        for copy in (self._cache / kind / name).glob("[0-9a-f]*"):
            if copy.name != upload:
                shutil.rmtree(copy, ignore_errors=True)

    def _ref(self, kind: str, name: str, publication: Publication) -> DatasetRef:
        return DatasetRef(name=name, uri=f"{self._url}/{kind}/{name}", counts=publication.manifest.counts)


def dataset_store_at(url: str, home: Path, options: dict[str, Any] | None = None) -> FsspecDatasetStore:
    """The store at `url`, with its local copies below `home`. Raises ConfigError for a URL with a password."""
    parts = urlsplit(url)
    if parts.password or (parts.username and parts.scheme not in ("abfs", "abfss", "wasb")):
        raise ConfigError(
            "The URL of the dataset store holds a user or a password, and settings are stored with runs. "
            "Put credentials into the environment, or into a saved block."
        )
    return FsspecDatasetStore(url, home / "dataset-copies" / slug(url, 80), options)
