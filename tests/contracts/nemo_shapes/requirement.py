"""Every exchange with the platform is of the API's shapes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tests.contracts.nemo_shapes import (
    customizer,
    data_store,
    deployments,
    entity_store,
    evaluator,
    inference,
)
from tests.contracts.nemo_shapes.customizer import CustomizationJob, Target
from tests.contracts.nemo_shapes.data_store import CommitLine
from tests.contracts.nemo_shapes.evaluator import EvaluationJob
from tests.contracts.nemo_shapes.strict import Detail, Route
from tests.fakes.nemo.exchanges import Exchange

ROUTES = [
    *customizer.ROUTES,
    *data_store.ROUTES,
    *deployments.ROUTES,
    *entity_store.ROUTES,
    *evaluator.ROUTES,
    *inference.ROUTES,
]

ENTRIES = {
    "/v1/customization/targets": Target,
    "/v1/customization/jobs": CustomizationJob,
    "/v1/evaluation/jobs": EvaluationJob,
    deployments.DEPLOYMENTS: deployments.Deployment,
}
"""What the pages of a listing hold."""


def require_contract(exchanges: list[Exchange]) -> None:
    """Every request and every answer is of the API's shape; answers that a test broke on purpose aside."""
    for exchange in exchanges:
        where = f"{exchange.service} {exchange.method} {exchange.path}"
        route = _route(exchange)
        assert route is not None, f"the API has no {where}"
        _require(route.request, exchange.request, f"request of {where}")
        if exchange.path.endswith("/commit/main"):
            _require_commit(exchange.request)
        if exchange.broken:
            continue
        if exchange.status == 401:
            _require(Detail, exchange.reply, f"refusal of {where}")
            continue
        assert exchange.status in route.replies, f"{where} does not answer {exchange.status}"
        _require(route.replies[exchange.status], exchange.reply, f"answer {exchange.status} of {where}")
        if exchange.method == "GET" and exchange.path in ENTRIES:
            for entry in msgspec.json.decode(exchange.reply)["data"]:
                msgspec.convert(entry, ENTRIES[exchange.path])


def _route(exchange: Exchange) -> Route | None:
    for route in ROUTES:
        if (route.service, route.method) == (exchange.service, exchange.method) and re.fullmatch(
            route.path, exchange.path
        ):
            return route
    return None


def _require(shape: Any, body: bytes, where: str) -> None:
    if shape is bytes:
        return
    if shape is None:
        assert body == b"", f"{where} has a body"
        return
    try:
        msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise AssertionError(f"{where}: {error}\n{body[:2000].decode(errors='replace')}") from error


def _require_commit(body: bytes) -> None:
    lines = [msgspec.json.decode(line, type=CommitLine) for line in body.splitlines()]
    assert [line.key for line in lines][:1] == ["header"]
    fields = {
        "header": {"summary", "description"},
        "file": {"path", "content", "encoding"},
        "lfsFile": {"path", "algo", "oid", "size"},
        "deletedFile": {"path"},
    }
    for line in lines:
        assert set(line.value) == fields[line.key]
