"""The Prefect block."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from blocks.langfuse.settings import CLOUD, LangfuseSettings, checked_host
from blocks.langfuse.store import LangfuseLogStore
from blocks.strict_block import StrictBlock
from flywheel.traces.calls import Labels


class LangfuseLogs(StrictBlock):
    """The generations of a Langfuse project.

    Example:
        Save it as `production` and set `connections.log_store` to `flywheel-langfuse-logs/production`.
    """

    _block_type_name: ClassVar[str] = "Flywheel Langfuse Logs"
    _block_type_slug: ClassVar[str] = "flywheel-langfuse-logs"
    _description: ClassVar[str] = "Generations that Langfuse observed."

    host: str = Field(default=CLOUD, description="Address of Langfuse, https://host.")
    public_key: str = Field(description="Public key of the project, pk-lf-….")
    secret_key: SecretStr = Field(description="Secret key of the project, sk-lf-….")
    workload_from: list[str] = Field(
        default=[],
        description="Metadata keys, tag:X or trace.name that name the workload; the first that is there counts.",
    )
    client_from: list[str] = Field(default=[], description="The same for the client.")
    timeout_seconds: float = Field(default=60.0, gt=0, description="Longest wait for one answer, in seconds.")
    attempts: int = Field(
        default=8,
        ge=1,
        le=20,
        description="Requests made for one answer when the server is away or busy; pauses grow up to 30 seconds.",
    )
    page_size: int = Field(default=100, ge=1, le=100, description="Observations in one answer.")
    max_record_bytes: int = Field(
        default=4_000_000, gt=0, description="Longest observation that is read, in bytes."
    )

    def settings(self) -> LangfuseSettings:
        """The fields as settings. Raises ConfigError for an address that is none."""
        return LangfuseSettings(
            self.public_key,
            self.secret_key.get_secret_value(),
            checked_host(self.host),
            self.timeout_seconds,
            self.attempts,
            page_size=self.page_size,
        )

    def connect(self) -> LangfuseLogStore:
        """Build the log store; nothing is asked yet."""
        labels = Labels(tuple(self.workload_from), tuple(self.client_from))
        return LangfuseLogStore(self.settings(), self.max_record_bytes, labels)
