"""Settings of one candidate that only a platform with GPUs of its own reads; other platforms pass over them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flywheel.config.base import Settings


class DeploymentConfig(Settings):
    """How the platform deploys a candidate: its image, GPUs and storage."""

    image_name: str = Field(
        default="",
        max_length=400,
        description="Container image that serves the model. Empty: 'nvcr.io/nim/<model>'.",
    )
    image_tag: str = Field(
        default="latest",
        min_length=1,
        max_length=128,
        description="Tag of the image; pin it to compare runs.",
    )
    gpus: int = Field(default=1, ge=1, le=64, description="GPUs of the deployment.")
    storage: str = Field(
        default="25Gi",
        pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$",
        description="Size of the volume for the model's files, as Kubernetes writes it: 25Gi.",
    )
    environment: dict[str, str] = Field(
        default={},
        description="Environment variables of the container; no secrets, they are stored with the run.",
    )


class CustomizerConfig(Settings):
    """What the platform fine-tunes a candidate from, and on which hardware."""

    target: str = Field(
        default="",
        max_length=400,
        pattern=r"^([^/@?#%\s]+/[^/?#%\s]+)?$",
        description="Base checkpoint as '<namespace>/<name>@<version>'. Empty: the newest that is ready for the model.",
    )
    gpus: int = Field(default=1, ge=1, le=64, description="GPUs on each node of a training.")
    nodes: int = Field(default=1, ge=1, le=64, description="Nodes of a training.")
    micro_batch_size: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Rows that one GPU computes at once; batch_size is a multiple of it.",
    )
    tensor_parallel_size: int = Field(
        default=1, ge=1, le=64, description="GPUs that share the layers of one copy of the model."
    )
    precision: Literal["bf16-mixed", "bf16", "fp16", "fp32"] = Field(
        default="bf16-mixed", description="Number format of the training."
    )
