"""Prefect blocks of OpenAI-compatible services and of vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from blocks.openai_platform.connection import OPENAI, UNSTATED_CONTEXT, VLLM, Connection
from blocks.openai_platform.job_watch import Patience
from blocks.openai_platform.platform import OpenAIPlatform
from blocks.openai_platform.training_file import ProviderRules
from blocks.openai_platform.vllm import VllmPlatform
from blocks.strict_block import StrictBlock


class OpenAICompatible(StrictBlock):
    """A service that speaks the OpenAI API: chat, and fine-tuning where it offers that."""

    _block_type_name: ClassVar[str] = "Flywheel OpenAI-Compatible"
    _block_type_slug: ClassVar[str] = "flywheel-openai-compatible"
    _description: ClassVar[str] = "Chat and fine-tuning at a provider that speaks the OpenAI API."

    base_url: str = Field(default=OPENAI, description="Address with the version, such as https://host/v1.")
    api_key: SecretStr | None = Field(
        default=None, title="API key", description="Empty where none is wanted."
    )
    context_length: int = Field(
        default=UNSTATED_CONTEXT,
        ge=128,
        description="Context length, in tokens, assumed where neither candidate nor service states one.",
    )
    startup_seconds: float = Field(
        default=600, gt=0, description="Longest wait, in seconds, for a model's first answer."
    )
    timeout_seconds: float = Field(default=60, gt=0, description="Longest wait for one call, in seconds.")
    poll_seconds: float = Field(default=10, gt=0, description="Seconds between two looks at a fine-tune.")
    queue_seconds: float = Field(
        default=24 * 3600,
        gt=0,
        description="Longest time of a fine-tune in the provider's queue, in seconds.",
    )
    stall_seconds: float = Field(
        default=3600, gt=0, description="Longest time of a running fine-tune without progress, in seconds."
    )
    fewest_rows: int = Field(default=10, ge=1, description="Fewest rows that the provider trains on.")
    most_row_tokens: int = Field(
        default=65_536, ge=16, description="Longest row, in tokens, that the provider trains on."
    )
    most_file_bytes: int = Field(
        default=512_000_000, ge=1, description="Largest training file that the provider takes, in bytes."
    )

    def connect(self) -> OpenAIPlatform:
        """Build the platform."""
        return OpenAIPlatform(
            Connection(
                self.base_url,
                self.api_key.get_secret_value() if self.api_key else None,
                context_length=self.context_length,
                startup_seconds=self.startup_seconds,
                timeout_seconds=self.timeout_seconds,
                patience=Patience(self.queue_seconds, self.stall_seconds, poll=self.poll_seconds),
                rules=ProviderRules(self.fewest_rows, self.most_file_bytes, self.most_row_tokens),
            )
        )


class VllmServer(StrictBlock):
    """A vLLM server that loads the adapters which the local platform trains."""

    _block_type_name: ClassVar[str] = "Flywheel vLLM"
    _block_type_slug: ClassVar[str] = "flywheel-vllm"
    _description: ClassVar[str] = "Serving by vLLM, fine-tuning on the machine that runs the flow."

    base_url: str = Field(default=VLLM, description="Address of the server, with /v1.")
    api_key: SecretStr | None = Field(
        default=None, title="API key", description="Empty where none is wanted."
    )
    home: str = Field(description="Directory for models and adapters of the training on this machine.")
    home_seen_by_server: str = Field(
        default="", description="The same directory as the server sees it; empty where the path is the same."
    )
    startup_seconds: float = Field(
        default=600, gt=0, description="Longest wait, in seconds, for a model's first answer."
    )

    def connect(self) -> VllmPlatform:
        """Build the platform."""
        key = self.api_key.get_secret_value() if self.api_key else None
        connection = Connection(self.base_url, key, startup_seconds=self.startup_seconds)
        return VllmPlatform(connection, Path(self.home).expanduser(), self.home_seen_by_server)
