"""From the names in `ConnectionsConfig` to the things themselves.

Connections are built late, inside the task that needs them: a config holds names, a block knows how to reach a
service, and neither holds a connection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flywheel.config import ConnectionsConfig, FlywheelConfig, LogsConfig
from flywheel.errors import ConfigError
from flywheel.traces.calls import NO_LABELS, Labels

if TYPE_CHECKING:
    from blocks.ports import DatasetStore, LogStore, Platform, RunStore

_NAMES = {
    "log_store": "'files', 'elasticsearch', 'langfuse'",
    "dataset_store": "'embedded', a URL such as 's3://bucket/folder',",
    "run_store": "'embedded', 'mongodb'",
    "platform": "'local', 'nemo', 'openai', 'vllm'",
}
"""What may stand in a setting beside a saved block, where that is more than the embedded implementation."""


BLOCK_SECONDS = 60.0
"""For how long a run uses a saved block as it was loaded; a key that is replaced takes that long to arrive."""


def home_directory(connections: ConnectionsConfig) -> Path:
    """Where the embedded stores and local models live: the setting, else $FLYWHEEL_HOME, else ~/.flywheel."""
    return (
        Path(connections.home or os.environ.get("FLYWHEEL_HOME") or Path.home() / ".flywheel")
        .expanduser()
        .absolute()
    )


async def open_log_store(config: FlywheelConfig) -> LogStore:
    """The log store that `config.connections.log_store` names."""
    return await log_store_named(
        config.connections.log_store,
        config.logs.path,
        config.validation_config.max_record_bytes,
        labels_of(config.logs),
    )


def labels_of(logs: LogsConfig) -> Labels:
    """What tells workload and client of traced calls, by the settings."""
    return Labels(tuple(logs.workload_from), tuple(logs.client_from))


async def log_store_named(
    name: str, path: str = "", max_record_bytes: int = 4_000_000, labels: Labels = NO_LABELS
) -> LogStore:
    """The log store of that name: 'files' (at `path`), 'elasticsearch' or 'langfuse' (by environment), or a block's.

    'langfuse://host' is the Langfuse there, with the keys of the environment.
    """
    if name == "files":
        from blocks.logs.file_log_store import FileLogStore

        if not path:
            raise ConfigError("No log to read: set logs.path (or --logs) to a file or directory of logs.")
        return FileLogStore(Path(path).expanduser(), max_record_bytes, labels=labels)
    if name == "elasticsearch":
        from blocks.elasticsearch.settings import settings_from_environment
        from blocks.elasticsearch.store import ElasticsearchLogStore

        return ElasticsearchLogStore(settings_from_environment(os.environ), max_record_bytes)
    if name == "langfuse" or name.startswith("langfuse://"):
        from blocks.langfuse.settings import settings_from_environment as langfuse_of_environment
        from blocks.langfuse.store import LangfuseLogStore

        host = "" if name == "langfuse" else name
        return LangfuseLogStore(langfuse_of_environment(os.environ, host), max_record_bytes, labels)
    return cast("LogStore", await _from_block(name, "log_store", embedded="files"))


async def open_dataset_store(connections: ConnectionsConfig) -> DatasetStore:
    """The dataset store that `connections.dataset_store` names."""
    if connections.dataset_store == "embedded":
        from blocks.datasets.directory_dataset_store import DirectoryDatasetStore

        return DirectoryDatasetStore(home_directory(connections) / "datasets")
    if "://" in connections.dataset_store:
        from blocks.datasets.fsspec_dataset_store import dataset_store_at

        return dataset_store_at(connections.dataset_store, home_directory(connections))
    return cast(
        "DatasetStore", await _from_block(connections.dataset_store, "dataset_store", embedded="embedded")
    )


async def open_run_store(connections: ConnectionsConfig) -> RunStore:
    """The run store that `connections.run_store` names."""
    if connections.run_store == "embedded":
        from blocks.history.sqlite_run_store import SqliteRunStore

        return SqliteRunStore(home_directory(connections) / "runs.sqlite")
    if connections.run_store == "mongodb":
        from blocks.mongo.connection import connection_from_environment
        from blocks.mongo.run_store import MongoRunStore

        return MongoRunStore(connection_from_environment())
    return cast("RunStore", await _from_block(connections.run_store, "run_store", embedded="embedded"))


async def open_platform(connections: ConnectionsConfig) -> Platform:
    """The platform that `connections.platform` names."""
    if connections.platform == "local":
        from blocks.local_platform.platform import LocalPlatform

        return LocalPlatform(home_directory(connections))
    if connections.platform == "nemo":
        from blocks.nemo.connection import from_environment
        from blocks.nemo.platform import NemoPlatform

        return NemoPlatform(from_environment())
    if connections.platform == "openai":
        from blocks.openai_platform.connection import OPENAI, service_of_environment
        from blocks.openai_platform.platform import OpenAIPlatform

        return OpenAIPlatform(service_of_environment("OPENAI", OPENAI, needs_key=True))
    if connections.platform == "vllm":
        from blocks.openai_platform.connection import VLLM, service_of_environment
        from blocks.openai_platform.vllm import VllmPlatform

        return VllmPlatform(service_of_environment("VLLM", VLLM), home_directory(connections))
    return cast("Platform", await _from_block(connections.platform, "platform", embedded="local"))


async def chat_key(connections: ConnectionsConfig) -> str | None:
    """The API key that a saved block holds for the models of its platform, None where there is none.

    Endpoints travel as parameters and are stored with runs, so the key is fetched where it is needed.
    """
    if "/" not in connections.platform:
        return None  # it stands in the environment variable that the endpoint names
    key: str | None = getattr(await open_platform(connections), "api_key", None)
    return key


async def _from_block(name: str, setting: str, *, embedded: str) -> Any:
    if "/" not in name:
        raise ConfigError(
            f"connections.{setting} is {name!r}; use {_NAMES.get(setting, repr(embedded))} or "
            "'<block type>/<block name>' of a saved block."
        )
    return await saved_connection(name, f"connections.{setting}")


async def saved_connection(name: str, setting: str) -> Any:
    """What the saved block '<block type>/<block name>' connects to. Raises: ConfigError that names the setting."""
    if "/" not in name:
        raise ConfigError(f"{setting} is {name!r}; use '<block type>/<block name>' of a saved block.")
    try:
        block = await _block(name)
    except ValueError as error:
        raise ConfigError(
            f"{setting} names the block {name!r}, which the Prefect server does not have. "
            "List what is there with `prefect block ls`."
        ) from error
    if not hasattr(block, "connect"):
        raise ConfigError(f"The block {name!r} cannot be used as {setting}: it has no connect().")
    return block.connect()


_REMEMBERED: ContextVar[dict[str, tuple[float, Any]] | None] = ContextVar("remembered_blocks", default=None)


@contextmanager
def remembering_blocks() -> Iterator[None]:
    """Ask the Prefect server for a saved block once in `BLOCK_SECONDS`, and not in each task anew."""
    token = _REMEMBERED.set({})
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


async def _block(name: str) -> Any:
    from prefect.blocks.core import Block

    import blocks.prefect_blocks  # noqa: F401  # Prefect finds only classes of blocks that were imported

    remembered = _REMEMBERED.get()
    if remembered is None:
        return await Block.aload(name)
    loaded, block = remembered.get(name, (-BLOCK_SECONDS, None))
    if time.monotonic() - loaded >= BLOCK_SECONDS:
        block = await Block.aload(name)
        remembered[name] = (time.monotonic(), block)
    return block
