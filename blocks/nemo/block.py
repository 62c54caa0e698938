"""The Prefect block that holds how to reach NeMo Microservices."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr

from blocks.nemo.connection import DEFAULT_NAMESPACE, NemoConnection, Waits, checked_url
from blocks.nemo.platform import NemoPlatform
from blocks.strict_block import StrictBlock


class NemoMicroservices(StrictBlock):
    """Deployments, fine-tunes and evaluations on NVIDIA NeMo Microservices (25.x)."""

    _block_type_name: ClassVar[str] = "Flywheel NeMo Microservices"
    _block_type_slug: ClassVar[str] = "flywheel-nemo-microservices"
    _description: ClassVar[str] = "Addresses and key of NeMo Microservices, and how long to wait for them."

    nemo_base_url: str = Field(
        description="Address of Entity Store, Deployment Management, Customizer and Evaluator."
    )
    nim_base_url: str = Field(description="Address of the inference proxy, without /v1.")
    datastore_base_url: str = Field(description="Address of the Data Store.")
    namespace: str = Field(
        default=DEFAULT_NAMESPACE,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Namespace in which everything of the flywheel lives; it is made when it is missing.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="Bearer token of the three services, where a gateway asks for one.",
    )
    poll_seconds: float = Field(default=10, gt=0, le=600, description="Pause between two looks, in seconds.")
    request_seconds: float = Field(
        default=60, gt=0, le=3600, description="Longest wait for one answer, in seconds."
    )
    first_retry_seconds: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="Pause before a failed request is sent again, in seconds; it doubles.",
    )
    queue_seconds: float = Field(
        default=86_400, gt=0, description="Longest wait for GPUs, in seconds; it does not count as a stall."
    )
    start_seconds: float = Field(
        default=3_600,
        gt=0,
        description="Longest time without news before a deployment is ready or a training makes a step, in seconds.",
    )
    stall_seconds: float = Field(
        default=3_600, gt=0, description="Longest time without progress of a running job, in seconds."
    )
    sync_seconds: float = Field(
        default=3_600, gt=0, description="Longest wait until the NIM answers as a new model, in seconds."
    )
    release_seconds: float = Field(
        default=300, gt=0, description="Longest wait until what was cancelled or deleted is gone, in seconds."
    )

    def connect(self) -> NemoPlatform:
        """Build the platform."""
        key = self.api_key.get_secret_value() if self.api_key else None
        return NemoPlatform(
            NemoConnection(
                nemo=checked_url("nemo_base_url", self.nemo_base_url),
                nim=checked_url("nim_base_url", self.nim_base_url),
                datastore=checked_url("datastore_base_url", self.datastore_base_url),
                namespace=self.namespace,
                key=key,
                waits=Waits(
                    request=self.request_seconds,
                    poll=self.poll_seconds,
                    first_retry=self.first_retry_seconds,
                    queue=self.queue_seconds,
                    start=self.start_seconds,
                    stall=self.stall_seconds,
                    sync=self.sync_seconds,
                    release=self.release_seconds,
                ),
            )
        )
