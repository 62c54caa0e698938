"""Data Store: repositories of files behind the protocols of the Hugging Face Hub and of Git LFS."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from tests.contracts.nemo_shapes.strict import ONE, Detail, Route, Sha256, Strict, ZuluTime


class StoreNamespace(Strict):
    namespace: str
    created_at: ZuluTime
    updated_at: ZuluTime


class RepoName(Strict):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=96)]
    organization: str
    type: Literal["dataset", "model"] | UnsetType = UNSET
    private: bool | UnsetType = UNSET


class RepoUrl(Strict):
    url: str


class RepoExists(Strict):
    url: str
    detail: str


class PreuploadFile(Strict):
    path: str
    sample: str
    size: int


class Preupload(Strict):
    files: Annotated[list[PreuploadFile], Meta(min_length=1, max_length=256)]
    gitAttributes: str | UnsetType = UNSET  # noqa: N815


class UploadMode(Strict):
    path: str
    uploadMode: Literal["regular", "lfs"]  # noqa: N815
    shouldIgnore: bool  # noqa: N815
    oid: str | None


class UploadModes(Strict):
    files: list[UploadMode]


class LfsObject(Strict):
    oid: Sha256
    size: int


class LfsRef(Strict):
    name: str


class LfsBatch(Strict):
    operation: Literal["upload"]
    transfers: list[str]
    objects: list[LfsObject]
    hash_algo: Literal["sha256"]
    ref: LfsRef


class LfsAction(Strict):
    href: str
    header: dict[str, Any] | UnsetType = UNSET


class LfsActions(Strict):
    upload: LfsAction
    verify: LfsAction | UnsetType = UNSET


class LfsAnswer(Strict):
    oid: Sha256
    size: int
    authenticated: bool | UnsetType = UNSET
    actions: LfsActions | UnsetType = UNSET


class LfsAnswers(Strict):
    transfer: Literal["basic"]
    objects: list[LfsAnswer]


class CommitLine(Strict):
    key: Literal["header", "file", "lfsFile", "deletedFile"]
    value: dict[str, Any]


class Commit(Strict):
    commitOid: str  # noqa: N815
    commitUrl: Literal[""]  # noqa: N815  # the real store leaves it empty


class Sibling(Strict):
    rfilename: str


class RepoInfo(Strict):
    id: str
    sha: str
    private: bool
    siblings: list[Sibling]
    tags: list[str]
    downloads: int
    likes: int


class TreeEntry(Strict):
    type: Literal["file"]
    path: str
    size: int
    oid: str


HUB = "/v1/hf"
ROUTES = [
    Route("datastore", "POST", "/v1/datastore/namespaces", bytes, {201: StoreNamespace, 409: Detail}),
    Route(
        "datastore", "GET", f"/v1/datastore/namespaces/{ONE}", None, {201: StoreNamespace, 404: Detail}
    ),  # 201, not 200
    Route("datastore", "POST", f"{HUB}/api/repos/create", RepoName, {200: RepoUrl, 409: RepoExists}),
    Route("datastore", "DELETE", f"{HUB}/api/repos/delete", RepoName, {200: None, 204: None, 404: Detail}),
    Route(
        "datastore", "POST", f"{HUB}/api/datasets/{ONE}/{ONE}/preupload/{ONE}", Preupload, {200: UploadModes}
    ),
    Route(
        "datastore",
        "POST",
        f"{HUB}/datasets/{ONE}/{ONE}\\.git/info/lfs/objects/batch",
        LfsBatch,
        {200: LfsAnswers},
    ),
    Route("datastore", "PUT", f"/lfs/{ONE}", bytes, {200: None}),
    Route("datastore", "POST", f"/lfs/{ONE}/verify", LfsObject, {200: None}),
    Route("datastore", "POST", f"{HUB}/api/datasets/{ONE}/{ONE}/commit/{ONE}", bytes, {200: Commit}),
    Route("datastore", "GET", f"{HUB}/api/(datasets|models)/{ONE}/{ONE}", None, {200: RepoInfo, 404: Detail}),
    Route(
        "datastore",
        "GET",
        f"{HUB}/api/datasets/{ONE}/{ONE}/tree/{ONE}",
        None,
        {200: list[TreeEntry], 404: Detail},
    ),
]
