"""Settings of model endpoints that help, beside the models under test."""

from __future__ import annotations

from pydantic import Field, model_validator

from flywheel.config.base import Address, KeyVariable, Settings


class EmbedderConfig(Settings):
    """An endpoint that turns texts into vectors (`/v1/embeddings`)."""

    base_url: Address = Field(
        default="",
        description="Address of an embeddings endpoint, with /v1. Empty: texts are compared by their characters, "
        "without a model.",
    )
    model: str = Field(default="", max_length=400, description="Name of the embedding model.")
    api_key_env: KeyVariable = Field(
        default="", description="Environment variable that holds the endpoint's key. Empty: it wants none."
    )
    search: str = Field(
        default="exact",
        description="What finds the nearest vectors: 'exact' compares each with each in this process, 'elasticsearch' "
        "asks the one that the ELASTICSEARCH_* variables name; else a saved block of one. Needs base_url and model.",
    )
    batch_size: int = Field(default=64, ge=1, le=2048, description="Texts in one request.")
    most_characters: int = Field(
        default=8_000,
        ge=100,
        description="Characters of a text that are embedded, from its end, where the question stands.",
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Requests under way at once.")
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Most requests a minute; none is no bound."
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Most tokens a minute; none is no bound."
    )
    timeout_seconds: float = Field(default=60, gt=0, description="Longest wait for one answer, in seconds.")
    max_attempts: int = Field(
        default=4, ge=1, le=20, description="Tries for one request, first one included."
    )

    @model_validator(mode="after")
    def _address_and_model_go_together(self) -> EmbedderConfig:
        if bool(self.base_url) != bool(self.model):
            raise ValueError("an embedder needs both base_url and model; leave both empty for none")
        if self.search != "exact" and not self.base_url:
            raise ValueError(
                f"search is {self.search!r}, and there are no vectors without base_url and model"
            )
        return self
