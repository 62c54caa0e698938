"""The Data Store: namespaces of its own, and repositories over the Hugging Face Hub's protocol."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from aiohttp import web

from tests.fakes.nemo.state import Clock, body_of, detail, ok

HUB = "/v1/hf"
LARGEST_REGULAR = 200


class Hub:
    """Files go through LFS when they are `.jsonl`, as the real store has it; `lfs` off makes all of them regular."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lfs = True
        self.url = ""
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.repos: dict[tuple[str, str], dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}

    def files(self, kind: str, name: str) -> dict[str, bytes]:
        """The files of a repository by path."""
        return self.repos[kind, name]

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/datastore/namespaces", self._create_namespace)
        router.add_get("/v1/datastore/namespaces/{ns}", self._namespace)
        router.add_post(f"{HUB}/api/repos/create", self._create)
        router.add_delete(f"{HUB}/api/repos/delete", self._delete)
        router.add_post(f"{HUB}/api/datasets/{{ns}}/{{repo}}/preupload/{{rev}}", self._preupload)
        router.add_post(f"{HUB}/datasets/{{ns}}/{{repo}}.git/info/lfs/objects/batch", self._batch)
        router.add_put("/lfs/{oid}", self._put)
        router.add_post("/lfs/{oid}/verify", self._verify)
        router.add_post(f"{HUB}/api/datasets/{{ns}}/{{repo}}/commit/{{rev}}", self._commit)
        router.add_get(f"{HUB}/api/{{kind}}/{{ns}}/{{repo}}", self._info)
        router.add_get(f"{HUB}/api/datasets/{{ns}}/{{repo}}/tree/{{rev}}", self._tree)

    async def _create_namespace(self, request: web.Request) -> web.Response:
        name = str((await request.post())["namespace"])
        if name in self.namespaces:
            return detail(409, f"namespace {name} already exists")
        now = self.clock.zulu()
        self.namespaces[name] = {"namespace": name, "created_at": now, "updated_at": now}
        return ok(self.namespaces[name], 201)

    async def _namespace(self, request: web.Request) -> web.Response:
        found = self.namespaces.get(request.match_info["ns"])
        return detail(404, "namespace not found") if found is None else ok(found, 201)

    async def _create(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        name = f"{body['organization']}/{body['name']}"
        if body["organization"] not in self.namespaces:
            return detail(404, "namespace not found")
        kind = body.get("type", "model")
        url = f"{self.url}/{kind}s/{name}"
        if (kind, name) in self.repos:
            return web.json_response({"url": url, "detail": "repository already exists"}, status=409)
        self.repos[kind, name] = {}
        return ok({"url": url})

    async def _delete(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        key = (body.get("type", "model"), f"{body['organization']}/{body['name']}")
        if self.repos.pop(key, None) is None:
            return detail(404, "repository not found")
        return web.Response(status=204)

    async def _preupload(self, request: web.Request) -> web.Response:
        if self._repo(request) is None:
            return detail(404, "repository not found")
        files = (await body_of(request))["files"]
        modes = []
        for file in files:
            base64.b64decode(file["sample"], validate=True)
            large = self.lfs and (file["path"].endswith(".jsonl") or file["size"] > LARGEST_REGULAR)
            mode = "lfs" if large else "regular"
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None})
        return ok({"files": modes})

    async def _batch(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/vnd.git-lfs+json"
        answers: list[dict[str, Any]] = []
        for entry in (await body_of(request))["objects"]:
            oid = entry["oid"]
            if oid in self.objects:  # stored already: no actions
                answers.append(dict(entry))
                continue
            place = f"{self.url}/lfs/{oid}"
            actions = {"upload": {"href": place, "header": {}}, "verify": {"href": f"{place}/verify"}}
            answers.append({**entry, "authenticated": True, "actions": actions})
        return ok({"transfer": "basic", "objects": answers})

    async def _put(self, request: web.Request) -> web.Response:
        content = await request.read()
        if "Authorization" in request.headers:
            return detail(400, "only one auth mechanism allowed")
        if "Content-Length" not in request.headers:
            return detail(411, "a length is needed")
        if hashlib.sha256(content).hexdigest() != request.match_info["oid"]:
            return detail(400, "content does not match its hash")
        self.objects[request.match_info["oid"]] = content
        return web.Response()

    async def _verify(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return detail(401, "no token")
        stored = self.objects.get(body["oid"])
        return (
            web.Response() if stored is not None and len(stored) == body["size"] else detail(404, "no object")
        )

    async def _commit(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-ndjson"
        repo = self._repo(request)
        if repo is None:
            return detail(404, "repository not found")
        for line in (await request.read()).splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                repo[value["path"]] = base64.b64decode(value["content"], validate=True)
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return detail(400, f"no object {value['oid']}")
                repo[value["path"]] = self.objects[value["oid"]]
        return ok({"commitOid": self.clock.new_id("sha"), "commitUrl": ""})

    async def _info(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"].removesuffix("s")
        name = f"{request.match_info['ns']}/{request.match_info['repo']}"
        repo = self.repos.get((kind, name))
        if repo is None:
            return detail(404, "repository not found")
        siblings = [{"rfilename": path} for path in sorted(repo)]
        return ok(
            {
                "id": name,
                "sha": "0" * 40,
                "private": False,
                "siblings": siblings,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
        )

    async def _tree(self, request: web.Request) -> web.Response:
        repo = self._repo(request)
        if repo is None:
            return detail(404, "repository not found")
        entries = [
            {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for path, content in sorted(repo.items())
        ]
        first = int(request.query.get("cursor", 0))  # a file a page, so that following pages is needed
        answer = ok(entries[first : first + 1])
        if first + 1 < len(entries):
            query = {**request.query, "cursor": str(first + 1)}
            answer.headers["Link"] = f'<{self.url}{request.rel_url.with_query(query)}>; rel="next"'
        return answer

    def _repo(self, request: web.Request) -> dict[str, bytes] | None:
        return self.repos.get(("dataset", f"{request.match_info['ns']}/{request.match_info['repo']}"))
