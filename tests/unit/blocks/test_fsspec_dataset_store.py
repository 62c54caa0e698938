"""Datasets at URLs: the contract over memory:// and file://, and what is this store's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from blocks.fsspec_dataset_store import FsspecDatasetStore
from tests.contracts.dataset_store import DatasetStoreContract


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
