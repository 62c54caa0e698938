"""Publications of datasets at an fsspec URL: which there are, the files that each names, and what is under way.

<url>/<kind>/<name>.json              the publication: written last, it makes the dataset exist
<url>/<kind>/<name>/<upload>/...      the files of the dataset, under the upload that the publication names
<url>/.uploads/<kind>/<name>/<upload> a mark: this upload begins, or ends; what is not published of it may go
<url>/.used/<kind>/<name>             when the dataset was last found, in ISO 8601
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from blocks.datasets.dataset_manifest import NAME, SCHEMA_VERSION, Manifest
from blocks.datasets.dataset_staging import encoded
from blocks.datasets.fsspec_faults import explaining
from blocks.datasets.fsspec_files import create_whole, make_folder, replace_whole
from flywheel.errors import DatasetError

_UPLOADS, _USED = ".uploads", ".used"
_NOTED_EVERY = timedelta(hours=1)
_AT_A_TIME = 16


class Publication(msgspec.Struct, frozen=True):
    """`upload` is the folder with the files that `manifest` describes."""

    upload: str
    manifest: Manifest


class Publications:
    """What lies at `url`. `options` are those of the file system; see `blocks.datasets.fsspec_dataset_store`."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url
        self._options = options
        self._noted: dict[str, datetime] = {}

    def files(self) -> Any:
        """The file system; fsspec keeps one for each URL and options."""
        import fsspec

        with explaining(self.url):
            return fsspec.core.url_to_fs(self.url, **self._options)[0]

    def path(self, *parts: str) -> str:
        """A path of this place in the file system."""
        import fsspec

        with explaining(self.url):
            root: str = fsspec.core.url_to_fs(self.url, **self._options)[1]
        return "/".join([root.rstrip("/"), *parts])

    def get(self, kind: str, name: str) -> Publication | None:
        """The publication of a dataset, None where there is none. Raises DatasetError for a damaged one."""
        with explaining(self.url):
            try:
                data = self.files().cat_file(self.path(kind, f"{name}.json"))
            except FileNotFoundError:
                return None
        return self._decoded(kind, name, data)

    def all(self) -> list[tuple[str, Publication, datetime]]:
        """Name, publication and last use of every dataset. Raises DatasetError for a damaged publication."""
        with explaining(self.url):
            files = self.files()
            files.invalidate_cache()
            found = [
                path
                for kind in self._below(files)
                for path in self._below(files, kind)
                if _is_publication(kind, path.removesuffix(".json"), path)
            ]
            documents = self._contents(files, [self.path(_kind_of(name), name) for name in found])
            used = self._contents(
                files, [self.path(_USED, _kind_of(n), n.removesuffix(".json")) for n in found]
            )
        published = []
        for file, document, mark in zip(found, documents, used, strict=True):
            if document is not None:
                name = file.removesuffix(".json")
                publication = self._decoded(_kind_of(name), name, document)
                published.append((name, publication, last_use(publication, mark)))
        return published

    def create(self, kind: str, name: str, ours: Publication) -> None:
        """Publish, where nobody was faster and the file system can tell."""
        with explaining(self.url), contextlib.suppress(FileExistsError):
            create_whole(
                self.files(),
                self.path(kind, f"{name}.json"),
                encoded(ours),
                written_first=self.path(kind, name, ours.upload, ".publication"),
            )

    def replace(self, kind: str, name: str, ours: Publication) -> None:
        """Publish in place of what is published."""
        with explaining(self.url):
            replace_whole(
                self.files(),
                self.path(kind, f"{name}.json"),
                encoded(ours),
                written_first=self.path(kind, name, ours.upload, ".publication"),
            )

    def upload(self, source: Path, kind: str, name: str, ours: Publication) -> None:
        """Send the files that the manifest names."""
        with explaining(self.url):
            files = self.files()
            for entry in ours.manifest.files:
                target = self.path(kind, name, ours.upload, entry.path)
                make_folder(files, target.rpartition("/")[0])
                files.put_file(str(source / entry.path), target)

    def download(self, kind: str, name: str, publication: Publication, target: Path) -> None:
        """Fetch the files that the manifest names. Raises DatasetError where one is missing."""
        with explaining(self.url):
            files = self.files()
            for entry in publication.manifest.files:
                place = target / entry.path
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    files.get_file(self.path(kind, name, publication.upload, entry.path), str(place))
                except FileNotFoundError as error:
                    raise self.damaged(kind, name, f"{entry.path} is missing") from error

    def mark(self, kind: str, name: str, upload: str) -> None:
        """Say that an upload begins or ends, so that `sweep` looks at it."""
        with explaining(self.url):
            files = self.files()
            make_folder(files, self.path(_UPLOADS, kind, name))
            files.pipe_file(self.path(_UPLOADS, kind, name, upload), _now())

    def withdraw(self, kind: str, name: str, upload: str) -> None:
        """Take the mark away, and the upload with it if it is not published."""
        published = self.get(kind, name)
        with explaining(self.url):
            files = self.files()
            if published is None or published.upload != upload:
                folder = self.path(kind, name, upload)
                if files.exists(folder):
                    files.rm(folder, recursive=True)
            files.rm_file(self.path(_UPLOADS, kind, name, upload))

    def remove(self, kind: str, name: str, publication: Publication) -> None:
        """Take a dataset away: from its publication on it is gone, and a removal that breaks off is swept."""
        self.mark(kind, name, publication.upload)
        with explaining(self.url):
            self.files().rm_file(self.path(kind, f"{name}.json"))
        self.withdraw(kind, name, publication.upload)
        with explaining(self.url), contextlib.suppress(FileNotFoundError):
            self.files().rm_file(self.path(_USED, kind, name))

    def left_behind(self, older_than: timedelta) -> Iterator[tuple[str, str, str]]:
        """Kind, name and upload of marks that were made longer ago."""
        with explaining(self.url):
            files = self.files()
            files.invalidate_cache()
            marks = files.find(self.path(_UPLOADS)) if files.exists(self.path(_UPLOADS)) else []
            for mark in marks:
                began = _time(files.cat_file(mark))
                if began is not None and datetime.now(UTC) - began >= older_than:
                    kind, name, upload = mark.split("/")[-3:]
                    yield kind, name, upload

    def note_use(self, kind: str, name: str) -> None:
        """Write down that a dataset is used, once an hour at most."""
        now = datetime.now(UTC)
        if name in self._noted and now - self._noted[name] < _NOTED_EVERY:
            return
        with explaining(self.url):
            files = self.files()
            make_folder(files, self.path(_USED, kind))
            files.pipe_file(self.path(_USED, kind, name), _now())
        self._noted[name] = now

    def used(self, kind: str, name: str, publication: Publication) -> datetime:
        """When a dataset was last made or found."""
        with explaining(self.url):
            [mark] = self._contents(self.files(), [self.path(_USED, kind, name)])
        return last_use(publication, mark)

    def damaged(self, kind: str, name: str, what: str) -> DatasetError:
        """The error for a dataset that cannot be trusted."""
        return DatasetError(
            f"The dataset {name} is damaged: {what}. Delete {self.url}/{kind}/{name}.json and run again."
        )

    def _decoded(self, kind: str, name: str, data: bytes) -> Publication:
        try:
            publication = msgspec.json.decode(data, type=Publication)
        except msgspec.DecodeError as error:
            raise self.damaged(kind, name, f"{name}.json cannot be read ({error})") from error
        if publication.manifest.schema_version != SCHEMA_VERSION:
            raise DatasetError(
                f"The dataset {name} in {self.url} has schema version {publication.manifest.schema_version} and this "
                f"flywheel reads {SCHEMA_VERSION}. Use another place, or the flywheel that wrote it."
            )
        return publication

    def _below(self, files: Any, *parts: str) -> list[str]:
        """Names of what lies in a folder; none where there is no such folder, or it is a file."""
        folder = self.path(*parts)
        try:
            paths = files.ls(folder, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def _contents(self, files: Any, paths: Sequence[str]) -> list[bytes | None]:
        """Of each file, None where there is none; several at a time, since each is a question to a far place."""

        def content(path: str) -> bytes | None:
            try:
                found: bytes = files.cat_file(path)
            except FileNotFoundError:
                return None
            return found

        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            return list(threads.map(content, paths))


def last_use(publication: Publication, mark: bytes | None) -> datetime:
    """The later of a dataset's making and what the mark says."""
    made = datetime.fromisoformat(publication.manifest.created_at)
    noted = _time(mark) if mark else None
    return max(made, noted) if noted else made


def _is_publication(kind: str, name: str, file: str) -> bool:
    match = NAME.fullmatch(name)
    return file.endswith(".json") and match is not None and match[1] == kind


def _kind_of(name: str) -> str:
    return name.removesuffix(".json").rpartition("-")[0]


def _now() -> bytes:
    return datetime.now(UTC).isoformat().encode()


def _time(text: bytes) -> datetime | None:
    """The time that a mark holds; None while it is being written."""
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        return None
