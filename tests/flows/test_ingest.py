"""The `ingest` flow, against a Prefect server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.ingest import ingest
from flywheel.config import ConnectionsConfig
from tests.fakes.bulk_server import bulk_server
from tests.unit.curation.calls import record

pytestmark = pytest.mark.slow


async def test_the_flow_loads_shows_a_table_and_keeps_what_was_refused(
    prefect_api: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    log = tmp_path / "log[red].jsonl"
    log.write_text("".join(json.dumps(record(i)) + "\n" for i in range(10)) + "oops\n")
    connections = ConnectionsConfig(home=str(tmp_path / "home"))
    with bulk_server() as server:
        monkeypatch.setenv("ELASTICSEARCH_URL", server.url)
        first = await ingest([str(log)], connections=connections)
        again = await ingest([str(log)], connections=connections)
        assert len(server.documents) == 10
    assert (first.lines, first.created, first.existing, first.refused) == (11, 10, 0, 1)
    assert (again.created, again.existing) == (0, 10)
    [rejected] = Path(first.rejected.removeprefix("file://"), "rejected.jsonl").read_text().splitlines()
    assert json.loads(rejected)["reason"] == "not_json"
    async with get_client() as client:
        ours = ArtifactFilter(key=ArtifactFilterKey(any_=["ingest-log-store-ingested"]))
        artifacts = await client.read_artifacts(artifact_filter=ours)
    tables = [json.loads(str(artifact.data)) for artifact in artifacts]
    assert sorted(table[0]["new"] for table in tables) == [0, 10]
    assert tables[0][0]["file"] == str(log)
    assert tables[0][0]["reasons"] == "not_json 1"
