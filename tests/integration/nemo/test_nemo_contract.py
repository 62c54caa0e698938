"""Client and fake against the API: by the documented shapes after every test, and by NVIDIA's own types here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from blocks.nemo.platform import NemoPlatform
from blocks.ports import FineTuneRequest
from flywheel.config import CandidateConfig, DeploymentConfig
from flywheel.progress import silent
from tests.contracts.nemo_shapes import require_contract
from tests.fakes.nemo.exchanges import Exchange
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.test_nemo_evaluations import asked, text_item, tool_item

DEPLOYMENTS = "/v1/deployment/model-deployments"


async def test_nvidias_own_types_know_everything_that_is_sent_and_answered(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    settings = DeploymentConfig(environment={"A": "b"})
    candidate = CandidateConfig(name="small", model="meta/llama-3.2-1b-instruct", deployment_config=settings)
    await platform.deploy("fw-run-small", candidate, silent)
    done = await platform.fine_tune(request_for, silent)
    await platform.serve_customization("fw-run-small", done)
    items = [tool_item("t"), text_item("x")]
    await platform.evaluate(asked(items, nemo_judge_model="meta/judge"), silent)
    await platform.delete_fine_tune(request_for.name)
    await platform.shut_down("fw-run-small")

    seen = set()
    for exchange in nemo.exchanges:
        for witness in witnesses():
            method, path, request, reply = witness
            if exchange.method == method and re.fullmatch(path, exchange.path):
                seen.add((method, path))
                require_known(exchange, request, reply)
    assert seen == {(method, path) for method, path, *_ in witnesses()}


def witnesses() -> list[tuple[str, str, Any, Any]]:
    """Calls with the SDK's type of the request and of the answer; what it has no types for is left out."""
    from nemo_microservices.types import (
        Dataset,
        DatasetCreateParams,
        EvaluationResult,
        Namespace,
        NamespaceCreateParams,
    )
    from nemo_microservices.types.customization import (
        ConfigCreateParams,
        CustomizationJob,
        CustomizationStatusDetails,
        JobCreateParams,
    )
    from nemo_microservices.types.customization_config import CustomizationConfig
    from nemo_microservices.types.customization_target import CustomizationTarget
    from nemo_microservices.types.deployment import ModelDeployment, ModelDeploymentCreateParams
    from nemo_microservices.types.evaluation import EvaluationJob
    from nemo_microservices.types.evaluation import JobCreateParams as EvaluationCreateParams
    from nemo_microservices.types.model import Model
    from nemo_microservices.types.shared import DeleteResponse

    one = "[^/]+"
    return [
        ("POST", "/v1/namespaces", NamespaceCreateParams, Namespace),
        ("POST", "/v1/datasets", DatasetCreateParams, Dataset),
        ("DELETE", f"/v1/datasets/{one}/{one}", None, DeleteResponse),
        ("GET", f"/v1/models/{one}/{one}", None, Model),
        ("POST", DEPLOYMENTS, ModelDeploymentCreateParams, ModelDeployment),
        ("GET", f"{DEPLOYMENTS}/{one}/{one}", None, ModelDeployment),
        ("GET", f"/v1/customization/targets/{one}/{one}", None, CustomizationTarget),
        ("POST", "/v1/customization/configs", ConfigCreateParams, CustomizationConfig),
        ("POST", "/v1/customization/jobs", JobCreateParams, CustomizationJob),
        ("GET", f"/v1/customization/jobs/{one}/status", None, CustomizationStatusDetails),
        ("POST", "/v1/evaluation/jobs", EvaluationCreateParams, EvaluationJob),
        ("GET", f"/v1/evaluation/jobs/{one}", None, EvaluationJob),
        ("GET", f"/v1/evaluation/jobs/{one}/results", None, EvaluationResult),
    ]


def require_known(exchange: Exchange, request: Any, reply: Any) -> None:
    if request is not None:
        body = json.loads(exchange.request)
        assert not set(body) - set(request.__annotations__), exchange.path
        TypeAdapter(request).validate_python(body)
    if exchange.status < 400:
        document = json.loads(exchange.reply)
        if exchange.path.startswith("/v1/customization/jobs") and "status_details" in document:
            # Seen on real services without the status that the type wants.
            document["status_details"].setdefault("status", document["status"])
        found = TypeAdapter(reply).validate_python(document)
        assert isinstance(found, BaseModel)
        assert unknown(found) == [], exchange.path


def unknown(model: BaseModel) -> list[str]:
    """Names of fields that the model, or a model within it, does not have."""
    names = list(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for part in (
            value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
        ):
            names += unknown(part) if isinstance(part, BaseModel) else []
    return names


@pytest.mark.parametrize(
    ("method", "path", "request_body", "words"),
    [
        ("POST", "/v1/customizations/cust-1/cancel", b"", "the API has no"),
        ("POST", "/v1/namespaces", b'{"id": "a", "nmae": "b"}', "nmae"),
        ("POST", "/v1/datasets", b'{"name": "a", "namespace": "b", "files_url": "s3://x"}', "files_url"),
        ("GET", "/v1/namespaces/a", b"{}", "has a body"),
    ],
)
def test_the_check_sees_what_is_not_of_the_api(
    method: str, path: str, request_body: bytes, words: str
) -> None:
    exchange = Exchange("nemo", method, path, {}, {}, request_body, 200, b"{}", broken=True)
    with pytest.raises(AssertionError, match=words):
        require_contract([exchange])


def test_the_check_sees_an_answer_of_another_shape() -> None:
    exchange = Exchange("nim", "GET", "/v1/models", {}, {}, b"", 200, b'{"data": []}', broken=False)
    with pytest.raises(AssertionError, match="object"):
        require_contract([exchange])
