"""NIM: which models answer, and chats with them."""

from __future__ import annotations

from typing import Literal

import msgspec

from tests.contracts.nemo_shapes.strict import Detail, Route, Strict


class ListedModel(Strict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ListedModels(Strict):
    object: Literal["list"]
    data: list[ListedModel]


class Anything(msgspec.Struct):
    """Chat bodies follow the OpenAI protocol, which other tests hold."""


ROUTES = [
    Route("nim", "GET", "/v1/models", None, {200: ListedModels}),
    Route("nim", "POST", "/v1/chat/completions", Anything, {200: Anything, 404: Detail, 502: Detail}),
]
