"""The Prefect block."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from blocks.elasticsearch.settings import DEFAULT_INDEX, ElasticsearchSettings, check_credentials
from blocks.elasticsearch.store import ElasticsearchLogStore
from blocks.strict_block import StrictBlock


class ElasticsearchLogs(StrictBlock):
    """Production logs in Elasticsearch 8 or 9.

    Example:
        Save it as `production` and set `connections.log_store` to `flywheel-elasticsearch-logs/production`.
    """

    _block_type_name: ClassVar[str] = "Flywheel Elasticsearch Logs"
    _block_type_slug: ClassVar[str] = "flywheel-elasticsearch-logs"
    _description: ClassVar[str] = "Prompt and response logs in Elasticsearch."

    hosts: list[str] = Field(
        default=["http://localhost:9200"],
        description="Addresses, https://host:9200. Leave empty with a cloud id.",
    )
    cloud_id: str | None = Field(default=None, description="Cloud id, in place of hosts.")
    api_key: SecretStr | None = Field(default=None, description="API key, in its encoded form.")
    username: str | None = Field(default=None, description="User name, where there is no API key.")
    password: SecretStr | None = Field(default=None, description="Password of the user.")
    ca_certs: str | None = Field(
        default=None, description="File with the certificate authority's certificate."
    )
    ca_fingerprint: str | None = Field(
        default=None, description="SHA-256 fingerprint of the certificate authority's certificate."
    )
    index: str = Field(
        default=DEFAULT_INDEX, min_length=1, description="Index, alias, data stream or pattern."
    )
    timeout_seconds: float = Field(default=30.0, gt=0, description="Longest wait for one answer, in seconds.")
    attempts: int = Field(
        default=8,
        ge=1,
        le=20,
        description="Requests made for one answer when the server is away or busy; pauses grow up to 30 seconds.",
    )
    compress: bool = Field(
        default=False, description="Let answers travel packed: for a network below some 50 MB/s."
    )
    slices: int = Field(
        default=2, ge=1, le=16, description="Parts of the log that are read at the same time."
    )
    page_megabytes: float = Field(
        default=8.0, gt=0, le=100, description="What one page of records weighs, in MB; it bounds memory."
    )
    max_record_bytes: int = Field(
        default=4_000_000, gt=0, description="Longest record that is read, in bytes."
    )

    def settings(self) -> ElasticsearchSettings:
        """The fields as settings. Raises ConfigError where credentials contradict each other."""
        settings = ElasticsearchSettings(
            hosts=() if self.cloud_id else tuple(self.hosts),
            cloud_id=self.cloud_id,
            api_key=self.api_key.get_secret_value() if self.api_key else None,
            username=self.username,
            password=self.password.get_secret_value() if self.password else None,
            ca_certs=self.ca_certs,
            ca_fingerprint=self.ca_fingerprint,
            index=self.index,
            timeout_seconds=self.timeout_seconds,
            attempts=self.attempts,
            compress=self.compress,
            slices=self.slices,
            page_bytes=int(self.page_megabytes * 1_000_000),
        )
        check_credentials(settings)
        return settings

    def connect(self) -> ElasticsearchLogStore:
        """Build the log store; nothing is asked yet."""
        return ElasticsearchLogStore(self.settings(), max_record_bytes=self.max_record_bytes)
