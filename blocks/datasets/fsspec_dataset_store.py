"""Datasets at any fsspec URL: object stores (s3://, gs://), shared directories (file://), memory:// in tests.

<url>/<kind>/<name>.json              the publication: written last, it makes the dataset exist
<url>/<kind>/<name>/<upload>/...      the files of the dataset, under the upload that the publication names
<url>/.uploads/<kind>/<name>/<upload> a mark that an upload is under way: what `sweep` looks at
<cache>/<kind>/<name>/<upload>/       a local copy with its manifest.json, which is what readers get
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from blocks.datasets import erasure_list
from blocks.datasets.dataset_manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Manifest,
    check_digests,
    check_sizes,
    dataset_name,
    read_manifest,
)
from blocks.datasets.dataset_staging import (
    NAME,
    ORPHANED,
    DirectoryStaging,
    encoded,
    one_at_a_time,
    staging_directory,
    sweep_directory,
    write_manifest,
)
from blocks.datasets.fsspec_faults import explaining
from blocks.datasets.fsspec_files import create_whole, make_folder
from blocks.ports import DatasetRef
from flywheel.errors import ConfigError, DatasetError
from flywheel.naming import slug
from flywheel.progress import Progress

_UPLOADS = ".uploads"


class Publication(msgspec.Struct, frozen=True):
    """`upload` is the folder with the files that `manifest` describes."""

    upload: str
    manifest: Manifest


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
        self._cache = Path(cache).absolute()
        self._options = options or {}
        self._verified: set[Path] = set()

    def find(self, kind: str, key: dict[str, Any]) -> DatasetRef | None:
        """The complete dataset of this kind and key, or None. Raises DatasetError for a damaged publication."""
        safe_kind = slug(kind)
        name = dataset_name(safe_kind, key)
        publication = self._publication(safe_kind, name)
        return self._ref(safe_kind, name, publication) if publication else None

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
        match = NAME.fullmatch(ref.name)
        if match is None:
            raise DatasetError(f"{ref.name!r} is not the name of a dataset.")
        kind = match[1]
        publication = self._publication(kind, ref.name)
        if publication is None:
            raise DatasetError(f"There is no dataset {ref.name} in {self._url}. Run again to make it.")
        directory = self._cache / kind / ref.name / publication.upload
        if not directory.exists():
            self._download(kind, ref.name, publication, directory)
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

    def scratch(self, name: str) -> Path:
        """A directory of this machine that stays until someone deletes it, the same for the same name."""
        directory = self._cache / "scratch" / slug(name, 80)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def erase(self, record_ids: Collection[str]) -> None:
        """See `blocks.datasets.erasure_list`."""
        with explaining(self._url):
            erasure_list.add(self._files(), self._path(), record_ids)

    def erased(self) -> frozenset[str]:
        """See `blocks.datasets.erasure_list`."""
        with explaining(self._url):
            return erasure_list.read(self._files(), self._path())

    def sweep(self, older_than: timedelta = ORPHANED) -> list[str]:
        """Remove uploads that were begun over `older_than` ago and never published; returns where they lay.

        What was left half-written in the local cache goes too.
        """
        gone = [str(path) for path in sweep_directory(self._cache, older_than)]
        with explaining(self._url):
            files = self._files()
            files.invalidate_cache()
            marks = files.find(self._path(_UPLOADS)) if files.exists(self._path(_UPLOADS)) else []
            for mark in marks:
                kind, name, upload = mark.split("/")[-3:]
                began = _time(files.cat_file(mark))
                if began is None or datetime.now(UTC) - began < older_than:
                    continue
                publication = self._publication(kind, name)
                if publication is None or publication.upload != upload:
                    self._discard(files, kind, name, upload)
                    gone.append(f"{self._url}/{kind}/{name}/{upload}")
                files.rm_file(mark)
        return gone

    @contextlib.contextmanager
    def _marked(self, kind: str, name: str, upload: str) -> Iterator[None]:
        """Mark an upload as under way. At the end the mark goes, and what was uploaded if it was not published."""
        try:
            self._mark(kind, name, upload)
            yield
        finally:
            with contextlib.suppress(Exception):  # what cannot be removed now, `sweep` finds by its mark
                self._withdraw(kind, name, upload)

    def _mark(self, kind: str, name: str, upload: str) -> None:
        with explaining(self._url):
            files = self._files()
            make_folder(files, self._path(_UPLOADS, kind, name))
            files.pipe_file(self._path(_UPLOADS, kind, name, upload), datetime.now(UTC).isoformat().encode())

    def _publish(self, source: Path, kind: str, name: str, ours: Publication) -> Publication:
        """Upload and publish; returns what is published in the end, which may be another maker's."""
        self._mark(kind, name, ours.upload)  # anew: the making may have taken long
        with explaining(self._url):
            files = self._files()
            for entry in ours.manifest.files:
                target = self._path(kind, name, ours.upload, entry.path)
                make_folder(files, target.rpartition("/")[0])
                files.put_file(str(source / entry.path), target)
            published = self._publication(kind, name)
            if published is None:
                with contextlib.suppress(FileExistsError):
                    create_whole(
                        files,
                        self._path(kind, f"{name}.json"),
                        encoded(ours),
                        written_first=self._path(kind, name, ours.upload, ".publication"),
                    )
                published = self._publication(kind, name)
        if published is None:
            raise DatasetError(f"The dataset {name} was published and is not in {self._url}. Run again.")
        return published

    def _withdraw(self, kind: str, name: str, upload: str) -> None:
        """Take the mark away, and the upload with it if it was not published."""
        published = self._publication(kind, name)
        with explaining(self._url):
            files = self._files()
            if published is None or published.upload != upload:
                self._discard(files, kind, name, upload)
            files.rm_file(self._path(_UPLOADS, kind, name, upload))

    def _discard(self, files: Any, kind: str, name: str, upload: str) -> None:
        folder = self._path(kind, name, upload)
        if files.exists(folder):
            files.rm(folder, recursive=True)

    def _download(self, kind: str, name: str, publication: Publication, directory: Path) -> None:
        with staging_directory(directory.parent, name) as staging:
            with explaining(self._url):
                files = self._files()
                for entry in publication.manifest.files:
                    target = staging.path / entry.path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source = self._path(kind, name, publication.upload, entry.path)
                    try:
                        files.get_file(source, str(target))
                    except FileNotFoundError as error:
                        raise self._damaged(kind, name, f"{entry.path} is missing") from error
            (staging.path / MANIFEST).write_bytes(encoded(publication.manifest))
            try:
                check_sizes(staging.path, publication.manifest)
                check_digests(staging.path, publication.manifest)
            except DatasetError as error:
                raise self._damaged(kind, name, "its files are not those that were published") from error
            with contextlib.suppress(FileExistsError, OSError):
                staging.path.rename(directory)
        if not directory.exists():
            raise DatasetError(f"The copy of {name} could not be put to {directory}. Check the directory.")

    def _publication(self, kind: str, name: str) -> Publication | None:
        with explaining(self._url):
            try:
                data = self._files().cat_file(self._path(kind, f"{name}.json"))
            except FileNotFoundError:
                return None
        try:
            publication = msgspec.json.decode(data, type=Publication)
        except msgspec.DecodeError as error:
            raise self._damaged(kind, name, f"{name}.json cannot be read ({error})") from error
        if publication.manifest.schema_version != SCHEMA_VERSION:
            raise DatasetError(
                f"The dataset {name} in {self._url} has schema version {publication.manifest.schema_version} and this "
                f"flywheel reads {SCHEMA_VERSION}. Use another place, or the flywheel that wrote it."
            )
        return publication

    def _damaged(self, kind: str, name: str, what: str) -> DatasetError:
        return DatasetError(
            f"The dataset {name} is damaged: {what}. Delete {self._url}/{kind}/{name}.json and run again."
        )

    def _ref(self, kind: str, name: str, publication: Publication) -> DatasetRef:
        return DatasetRef(name=name, uri=f"{self._url}/{kind}/{name}", counts=publication.manifest.counts)

    def _files(self) -> Any:
        """The file system; fsspec keeps one for each URL and options."""
        import fsspec

        with explaining(self._url):
            return fsspec.core.url_to_fs(self._url, **self._options)[0]

    def _path(self, *parts: str) -> str:
        import fsspec

        with explaining(self._url):
            root: str = fsspec.core.url_to_fs(self._url, **self._options)[1]
        return "/".join([root.rstrip("/"), *parts])


def dataset_store_at(url: str, home: Path, options: dict[str, Any] | None = None) -> FsspecDatasetStore:
    """The store at `url`, with its local copies below `home`. Raises ConfigError for a URL with a password."""
    parts = urlsplit(url)
    if parts.password or (parts.username and parts.scheme not in ("abfs", "abfss", "wasb")):
        raise ConfigError(
            "The URL of the dataset store holds a user or a password, and settings are stored with runs. "
            "Put credentials into the environment, or into a saved block."
        )
    return FsspecDatasetStore(url, home / "dataset-copies" / slug(url, 80), options)


def _time(text: bytes) -> datetime | None:
    """When an upload began; None while its mark is being written."""
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        return None
