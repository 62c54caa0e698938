"""From settings to run stores and dataset stores, and what their import costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from blocks.connections import open_dataset_store, open_run_store
from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from blocks.datasets.fsspec_dataset_store import FsspecDatasetStore
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.mongo.block import MongoRuns
from blocks.mongo.run_store import MongoRunStore
from flywheel.config import ConnectionsConfig
from flywheel.errors import ConfigError


async def test_each_name_opens_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URL", "mongodb://localhost:1/x")
    home = str(tmp_path)
    assert isinstance(await open_run_store(ConnectionsConfig(home=home)), SqliteRunStore)
    mongo = await open_run_store(ConnectionsConfig(home=home, run_store="mongodb"))
    assert isinstance(mongo, MongoRunStore)
    mongo.close()
    assert isinstance(await open_dataset_store(ConnectionsConfig(home=home)), DirectoryDatasetStore)
    for url in ("memory://x", f"file://{tmp_path}/shared"):
        store = await open_dataset_store(ConnectionsConfig(home=home, dataset_store=url))
        assert isinstance(store, FsspecDatasetStore)
        assert store.scratch("a").is_relative_to(tmp_path)


async def test_a_name_that_is_none_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="'embedded', 'mongodb' or"):
        await open_run_store(ConnectionsConfig(run_store="mongo"))
    with pytest.raises(ConfigError, match="s3://"):
        await open_dataset_store(ConnectionsConfig(dataset_store="s3"))


def test_the_block_hides_its_secrets_and_refuses_what_is_misspelt() -> None:
    block = MongoRuns(url=SecretStr("mongodb://u:geheim@h/x"), password=SecretStr("streng"))
    assert "geheim" not in repr(block)
    assert "streng" not in repr(block)
    block.connect().close()
    with pytest.raises(ValidationError, match="extra"):
        MongoRuns(url=SecretStr("mongodb://h"), databse="x")
    with pytest.raises(ValidationError):
        MongoRuns(url=SecretStr("mongodb://h"), patience_seconds=0)


def test_whoever_keeps_history_in_a_file_does_not_wait_for_the_driver_of_a_database() -> None:
    code = (
        "import sys, asyncio\n"
        "from blocks.connections import open_run_store, open_dataset_store\n"
        "from flywheel.config import ConnectionsConfig\n"
        "asyncio.run(open_run_store(ConnectionsConfig()))\n"
        "asyncio.run(open_dataset_store(ConnectionsConfig()))\n"
        "import flywheel.cli.curate, flywheel.cli.runs\n"
        "print(sorted({'pymongo', 'bson', 'fsspec', 'prefect'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == "[]"
