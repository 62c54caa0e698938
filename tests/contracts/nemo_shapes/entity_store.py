"""Entity Store: namespaces, datasets and models by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.contracts.nemo_shapes.strict import (
    ONE,
    DatasetUrl,
    Deleted,
    Detail,
    DnsName,
    NaiveTime,
    Name,
    Problems,
    Route,
    Strict,
)


class NamespaceCreate(Strict):
    id: DnsName
    description: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    custom_fields: dict[str, Any] | UnsetType = UNSET


class Namespace(Strict):
    id: str
    created_at: NaiveTime
    updated_at: NaiveTime
    description: str | None
    project: str | None
    custom_fields: dict[str, Any]
    ownership: Any


class DatasetUpdate(Strict):
    files_url: DatasetUrl
    description: str | UnsetType = UNSET
    project: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    split: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    hf_endpoint: str | UnsetType = UNSET
    custom_fields: dict[str, str] | UnsetType = UNSET


class DatasetCreate(DatasetUpdate, kw_only=True):
    name: Name
    namespace: DnsName


class Dataset(Strict):
    id: Annotated[str, Meta(pattern="^dataset-")]
    name: Name
    namespace: str
    files_url: DatasetUrl
    description: str | None
    project: str | None
    format: str | None
    split: str | None
    limit: int | None
    hf_endpoint: str | None
    custom_fields: dict[str, Any]
    created_at: NaiveTime
    updated_at: NaiveTime


class Artifact(Strict):
    files_url: str
    status: Literal["created", "upload_failed", "upload_completed"]


class ModelSpec(Strict):
    num_parameters: int
    context_size: int
    num_virtual_tokens: int
    is_chat: bool


class ModelEntity(Strict):
    name: str
    namespace: str
    description: str | None
    base_model: str
    project: str | None
    custom_fields: dict[str, Any]
    artifact: Artifact
    peft: dict[str, Any]
    spec: ModelSpec | None
    created_at: NaiveTime
    updated_at: NaiveTime


ROUTES = [
    Route("nemo", "POST", "/v1/namespaces", NamespaceCreate, {200: Namespace, 409: Detail, 422: Problems}),
    Route("nemo", "GET", f"/v1/namespaces/{ONE}", None, {200: Namespace, 404: Detail}),
    Route("nemo", "POST", "/v1/datasets", DatasetCreate, {200: Dataset, 409: Detail}),
    Route("nemo", "GET", f"/v1/datasets/{ONE}/{ONE}", None, {200: Dataset, 404: Detail}),
    Route("nemo", "PATCH", f"/v1/datasets/{ONE}/{ONE}", DatasetUpdate, {200: Dataset}),
    Route("nemo", "DELETE", f"/v1/datasets/{ONE}/{ONE}", None, {200: Deleted, 404: Detail}),
    Route("nemo", "GET", f"/v1/models/{ONE}/{ONE}", None, {200: ModelEntity, 404: Detail}),
    Route("nemo", "DELETE", f"/v1/models/{ONE}/{ONE}", None, {200: Deleted, 404: Detail}),
]
