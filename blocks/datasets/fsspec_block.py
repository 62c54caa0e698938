"""The Prefect block for datasets at a URL, with credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import msgspec
from pydantic import Field, SecretStr

from blocks.datasets.fsspec_dataset_store import FsspecDatasetStore, dataset_store_at
from blocks.strict_block import StrictBlock
from flywheel.errors import ConfigError


class FsspecDatasets(StrictBlock):
    """Datasets at any URL that fsspec reaches: s3://, gs://, abfs://, file://."""

    _block_type_name: ClassVar[str] = "Flywheel Datasets at a URL"
    _block_type_slug: ClassVar[str] = "flywheel-url-datasets"
    _description: ClassVar[str] = "Content-addressed datasets in an object store or a shared directory."

    url: str = Field(
        description="Where the datasets are, for example s3://bucket/flywheel. No credentials in it."
    )
    copies: str = Field(
        default="",
        description="Local directory for copies and partial work. Empty: below $FLYWHEEL_HOME, else ~/.flywheel.",
    )
    options: SecretStr = Field(
        default=SecretStr("{}"),
        description="Options of the file system as a JSON object, credentials among them: for s3 "
        '{"key": "...", "secret": "...", "client_kwargs": {"endpoint_url": "..."}}.',
    )

    def connect(self) -> FsspecDatasetStore:
        """Build the dataset store; nothing is sent before its first use."""
        try:
            options = msgspec.json.decode(self.options.get_secret_value().encode(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"The options of the block for {self.url} are no JSON object: {error}."
            ) from None
        return dataset_store_at(self.url, _home(self.copies), options)


def _home(copies: str) -> Path:
    from blocks.connections import home_directory
    from flywheel.config import ConnectionsConfig

    return home_directory(ConnectionsConfig(home=copies))
