"""The Prefect block for history in MongoDB."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from blocks.mongo.connection import (
    DEFAULT_DATABASE,
    LONGEST_PATIENCE_SECONDS,
    PATIENCE_SECONDS,
    MongoConnection,
)
from blocks.mongo.run_store import MongoRunStore
from blocks.strict_block import StrictBlock


class MongoRuns(StrictBlock):
    """History of runs in a MongoDB database."""

    _block_type_name: ClassVar[str] = "Flywheel MongoDB Runs"
    _block_type_slug: ClassVar[str] = "flywheel-mongodb-runs"
    _description: ClassVar[str] = "Runs, evaluations and the ledger of resources in a MongoDB database."

    url: SecretStr = Field(
        description="Connection string, mongodb:// or mongodb+srv://, with hosts, replica set, TLS and "
        "authentication options as MongoDB has them."
    )
    database: str = Field(default=DEFAULT_DATABASE, min_length=1, description="Database of the collections.")
    username: str = Field(default="", description="User, where the connection string has none.")
    password: SecretStr = Field(
        default=SecretStr(""), description="Password, as it is, without percent signs."
    )
    tls_ca_file: str = Field(
        default="", description="File with the certificate authority of the servers; turns TLS on."
    )
    patience_seconds: float = Field(
        default=PATIENCE_SECONDS,
        gt=0,
        le=LONGEST_PATIENCE_SECONDS,
        description="How long one call waits for a server that is away, in seconds, its retries included.",
    )

    def connect(self) -> MongoRunStore:
        """Build the run store; nothing is sent before its first use."""
        return MongoRunStore(
            MongoConnection(
                url=self.url.get_secret_value(),
                database=self.database,
                username=self.username,
                password=self.password.get_secret_value(),
                tls_ca_file=self.tls_ca_file,
                patience_seconds=self.patience_seconds,
            )
        )
