"""The run forms of the deployments refuse a parameter that their flow does not have.

Prefect checks the values of a form against the flow's schema before it makes a run, but leaves that schema open: a
parameter with a typing error makes a run, on a worker, that fails. `prefect deploy` opens it again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.responses import DeploymentResponse

FLOWS = ["flywheel", "sweep", "ingest", "cleanup", "candidate"]
PAGE = 100


async def close_run_forms(client: PrefectClient) -> list[str]:
    """Close the schema of every deployment of our flows; returns a line for each that was open."""
    lines = []
    async for deployment in _ours(client):
        schema = deployment.parameter_openapi_schema or {}
        if schema.get("additionalProperties") is False:
            continue
        closed = {**schema, "additionalProperties": False}
        await client.request(
            "PATCH",
            "/deployments/{id}",
            path_params={"id": deployment.id},
            json={"parameter_openapi_schema": closed},
        )
        lines.append(f"run form of {deployment.name}: refuses parameters that its flow does not have")
    return lines


async def _ours(client: PrefectClient) -> AsyncIterator[DeploymentResponse]:
    offset = 0
    while True:
        page = await client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=FLOWS)), limit=PAGE, offset=offset
        )
        for deployment in page:
            yield deployment
        if len(page) < PAGE:
            return
        offset += PAGE
