"""Deployment Management: NIMs."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from tests.contracts.nemo_shapes.strict import (
    ONE,
    Deleted,
    Detail,
    DnsName,
    JobState,
    NaiveTime,
    Page,
    Reference,
    Route,
    Strict,
)


class NimDeployment(Strict):
    image_name: Annotated[str, Meta(min_length=1)]
    image_tag: Annotated[str, Meta(min_length=1)]
    gpu: Annotated[int, Meta(ge=1)]
    pvc_size: Annotated[str, Meta(pattern=r"^\d+(Mi|Gi|Ti)$")] | UnsetType = UNSET
    additional_envs: dict[str, str] | UnsetType = UNSET
    disable_lora_support: bool | UnsetType = UNSET
    namespace: str | UnsetType = UNSET


class DeploymentSettings(Strict):
    model: str
    nim_deployment: NimDeployment


class DeploymentCreate(Strict):
    name: DnsName
    namespace: DnsName
    config: Reference | DeploymentSettings
    description: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    models: list[str] | UnsetType = UNSET
    async_enabled: bool | UnsetType = UNSET
    hf_token: str | UnsetType = UNSET


class DeploymentStatus(Strict):
    status: JobState
    description: str | UnsetType = UNSET


class Deployment(Strict):
    name: str
    namespace: str
    description: str | None
    project: str | None
    models: list[str]
    config: DeploymentSettings
    url: str
    deployed: bool
    status_details: DeploymentStatus
    created_at: NaiveTime
    updated_at: NaiveTime


DEPLOYMENTS = "/v1/deployment/model-deployments"
ROUTES = [
    Route("nemo", "POST", DEPLOYMENTS, DeploymentCreate, {200: Deployment, 500: Detail, 409: Detail}),
    Route("nemo", "GET", DEPLOYMENTS, None, {200: Page}),
    Route("nemo", "GET", f"{DEPLOYMENTS}/{ONE}/{ONE}", None, {200: Deployment, 404: Detail}),
    Route("nemo", "DELETE", f"{DEPLOYMENTS}/{ONE}/{ONE}", None, {200: Deleted, 404: Detail}),
]
