"""The Data Store: repositories of files, over the calls that the Hugging Face Hub's clients make.

Spoken with httpx directly: releases 1.0 and later of `huggingface_hub` fail after the commit has landed, because this
store answers it with an empty `commitUrl`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

from blocks.nemo.connection import Waits
from blocks.nemo.http import Service
from blocks.nemo.waiting import until_gone
from flywheel.errors import RemoteError, RemoteRejected, TransientRemoteError

RepoType = Literal["dataset", "model"]
BRANCH = "main"
HUB = "/v1/hf"
SAMPLE_BYTES = 512
FILES_PER_CALL = 256
LFS_JSON = {"Accept": "application/vnd.git-lfs+json", "Content-Type": "application/vnd.git-lfs+json"}


class _Stored(msgspec.Struct, frozen=True):
    """A file to upload: its path in the repository and where it lies here."""

    path: str
    local: Path
    size: int


class DataStore:
    """Repositories of one namespace."""

    def __init__(self, service: Service, namespace: str, waits: Waits) -> None:
        self._service = service
        self._namespace = namespace
        self._waits = waits

    async def ensure_namespace(self) -> None:
        """Make the namespace, which this store keeps apart from the Entity Store's, or find it."""
        place = f"/v1/datastore/namespaces/{self._namespace}"
        if (await self._service.call("GET", place, also=(404,))).status != 404:  # 201 where it is there
            return
        form = {"namespace": self._namespace}
        reply = await self._service.call(
            "POST", "/v1/datastore/namespaces", form=form, also=(409, 422), repeatable=True, any_body=True
        )
        if reply.status in (409, 422) and (await self._service.call("GET", place, also=(404,))).status == 404:
            raise RemoteRejected(f"The Data Store refuses the namespace {self._namespace!r}: {reply.said}")

    async def upload(self, repo: str, files: Mapping[str, Path]) -> None:
        """Put files into a dataset repository, which is made if it is missing, and see them listed there.

        Args:
            files: Local files by their path in the repository. Uploading again replaces them.

        Raises: RemoteError where the store lists another size than was sent.
        """
        create = {"name": repo, "organization": self._namespace, "type": "dataset"}
        await self._service.call("POST", f"{HUB}/api/repos/create", json=create, also=(409,), repeatable=True)
        stored = [_Stored(path, local, local.stat().st_size) for path, local in files.items()]
        modes = await self._modes(repo, stored)
        lines: list[dict[str, Any]] = []
        large = [file for file in stored if modes[file.path] == "lfs" and file.size]
        oids = {file.path: await asyncio.to_thread(_sha256, file.local) for file in large}
        if large:
            await self._send(repo, large, oids)
        for file in stored:
            if file.path in oids:
                value = {"path": file.path, "algo": "sha256", "oid": oids[file.path], "size": file.size}
                lines.append({"key": "lfsFile", "value": value})
            else:
                content = base64.b64encode(file.local.read_bytes()).decode()
                value = {"path": file.path, "content": content, "encoding": "base64"}
                lines.append({"key": "file", "value": value})
        await self._commit(repo, lines)
        listed = await self.list_files(repo)
        wrong = [file.path for file in stored if (listed or {}).get(file.path) != file.size]
        if wrong:
            raise TransientRemoteError(
                f"The Data Store does not list {', '.join(wrong)} of {self._namespace}/{repo} as uploaded; try again."
            )

    async def list_files(self, repo: str) -> dict[str, int] | None:
        """Sizes in bytes by path; None where there is no such repository."""
        path = f"{HUB}/api/datasets/{self._namespace}/{repo}/tree/{BRANCH}?recursive=true&expand=false"
        found: dict[str, int] = {}
        while path:
            reply = await self._service.call("GET", path, also=(404,))
            if reply.status == 404:
                return None
            for entry in reply.body if isinstance(reply.body, list) else []:
                if entry.get("type") == "file":
                    found[entry["path"]] = entry["size"]
            # A page of the store's own is asked for like the first, with our token.
            path = _next_page(reply.headers).removeprefix(self._service.base_url)
        return found

    async def delete_repo(self, repo: str, kind: RepoType = "dataset") -> None:
        """Delete a repository and see it gone; one that is not there is no error."""
        body = {"name": repo, "organization": self._namespace} | (
            {"type": "dataset"} if kind == "dataset" else {}
        )
        await self._service.call("DELETE", f"{HUB}/api/repos/delete", json=body, also=(404,), any_body=True)

        async def gone() -> bool:
            place = f"{HUB}/api/{kind}s/{self._namespace}/{repo}"
            return (await self._service.call("GET", place, also=(404,))).status == 404

        if not await until_gone(gone, self._waits.release, self._waits.poll):
            raise TransientRemoteError(
                f"The Data Store still has {self._namespace}/{repo} {self._waits.release:.0f} s after it was deleted."
            )

    async def _modes(self, repo: str, files: list[_Stored]) -> dict[str, str]:
        modes: dict[str, str] = {}
        place = f"{HUB}/api/datasets/{self._namespace}/{repo}/preupload/{BRANCH}"
        for portion in _portions(files):
            asked = [{"path": f.path, "sample": _sample(f.local), "size": f.size} for f in portion]
            reply = await self._service.call("POST", place, json={"files": asked}, repeatable=True)
            modes |= {entry["path"]: entry["uploadMode"] for entry in reply.document.get("files") or []}
        missing = [file.path for file in files if file.path not in modes]
        if missing:
            raise RemoteError(f"The Data Store does not say how to upload {missing[0]!r} to {repo!r}.")
        return modes

    async def _send(self, repo: str, files: list[_Stored], oids: Mapping[str, str]) -> None:
        """Large files go to where the store points; what it has already it points nowhere for."""
        locals_by_oid = {oids[file.path]: file for file in files}
        body = {
            "operation": "upload",
            "transfers": ["basic"],
            "objects": [{"oid": oid, "size": file.size} for oid, file in locals_by_oid.items()],
            "hash_algo": "sha256",
            "ref": {"name": BRANCH},
        }
        place = f"{HUB}/datasets/{self._namespace}/{repo}.git/info/lfs/objects/batch"
        reply = await self._service.call("POST", place, json=body, headers=LFS_JSON, repeatable=True)
        for entry in reply.document.get("objects") or []:
            if failure := entry.get("error"):
                raise RemoteRejected(
                    f"The Data Store refuses a file of {repo!r}: {failure.get('message', failure)}"
                )
            actions = entry.get("actions") or {}
            file = locals_by_oid[entry["oid"]]
            if upload := actions.get("upload"):
                header = upload.get("header") or {}
                if "chunk_size" in header:
                    raise RemoteRejected(
                        f"The Data Store asks for {file.path!r} in parts, though only whole files were offered."
                    )
                await self._service.call(
                    "PUT", upload["href"], content=file.local, headers=header, repeatable=True, any_body=True
                )
            if verify := actions.get("verify"):
                await self._verify(verify, entry["oid"], file.size)

    async def _verify(self, verify: Mapping[str, Any], oid: str, size: int) -> None:
        headers = {**self._service.authorization(), **LFS_JSON, **(verify.get("header") or {})}
        body = {"oid": oid, "size": size}
        await self._service.call(
            "POST", verify["href"], json=body, headers=headers, repeatable=True, any_body=True
        )

    async def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        """Committing the same content again after a lost answer does no harm."""
        header = {"key": "header", "value": {"summary": "Upload by Flywheel", "description": ""}}
        body = b"\n".join(msgspec.json.encode(line) for line in [header, *lines]) + b"\n"
        place = f"{HUB}/api/datasets/{self._namespace}/{repo}/commit/{BRANCH}"
        headers = {"Content-Type": "application/x-ndjson"}
        await self._service.call("POST", place, content=body, headers=headers, repeatable=True)


def _portions(files: list[_Stored]) -> Iterator[list[_Stored]]:
    for first in range(0, len(files), FILES_PER_CALL):
        yield files[first : first + FILES_PER_CALL]


def _sample(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(file.read(SAMPLE_BYTES)).decode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _next_page(headers: httpx.Headers) -> str:
    """The address of the next page of a listing, empty at its end."""
    link = httpx.Response(200, headers=headers).links.get("next")
    return link["url"] if link else ""
