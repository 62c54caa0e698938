"""The whole way of a new user in production, as typed: a log into Elasticsearch, a run from there, history in MongoDB.

The commands are those of the README. Servers are reached by the environment, models at an OpenAI-compatible endpoint.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.cli.main import main
from tests.fakes.composite_search import with_composite
from tests.fakes.elasticsearch_server import elasticsearch_server
from tests.fakes.mongo_server import mongo_server
from tests.fakes.openai_provider import OpenAIProvider

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(600),  # a whole run, after a server that may be the first of its folder
]
IN_MONGODB = "--set connections.run_store=mongodb"
Flywheel = Callable[[str], Any]


@pytest.fixture
def production(
    oracle: dict[str, dict[str, Any]], prefect_api: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """All servers up, and named in the environment; the working directory is the user's."""
    for name in ("elasticsearch", "mongodb", "user"):
        (tmp_path / name).mkdir()
    with (
        elasticsearch_server(tmp_path / "elasticsearch") as bare,
        with_composite(bare) as elasticsearch,
        mongo_server(tmp_path / "mongodb") as mongo,
        OpenAIProvider(oracle, key="sk-walk") as provider,
    ):
        for name, value in {
            "ELASTICSEARCH_URL": elasticsearch,
            "MONGODB_URL": f"{mongo.uri.rstrip('/')}/flywheel",
            "OPENAI_BASE_URL": provider.url,
            "OPENAI_API_KEY": "sk-walk",
            "FLYWHEEL_HOME": str(tmp_path / "home"),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command sets these two: set here, they go
            "PREFECT_LOGGING_LEVEL": "INFO",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path / "user")
        yield


@pytest.fixture
def flywheel(production: None, capsys: pytest.CaptureFixture[str]) -> Flywheel:
    """Runs a command line; what it prints as JSON."""

    def command(line: str) -> Any:
        capsys.readouterr()
        code = main(shlex.split(f"{line} --json"))
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out)

    return command


def test_a_log_goes_from_files_to_elasticsearch_to_a_run_whose_history_is_in_mongodb_and_can_move(
    flywheel: Flywheel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flywheel("demo --write-log logs")["workload"] == "support-router"
    assert main(["demo", "--write-log", "logs"]) == 2, "what is there is never written over"
    total = flywheel("ingest logs/ --to elasticsearch")["total"]
    again = flywheel("ingest logs/ --to elasticsearch")["total"]
    assert (again["created"], again["existing"]) == (0, total["created"] + total["existing"])
    assert total["created"] + total["existing"] + sum(total["refused"].values()) == total["lines"]
    listed = {
        (each["workload_id"], each["client_id"]): each for each in flywheel("workloads --from elasticsearch")
    }
    assert sum(each["records"] for each in listed.values()) == total["created"]
    assert "track_order" in listed["support-router", "acme-web"]["tools"]

    datasets = f"--set connections.dataset_store=file://{tmp_path}/shared"
    (candidate,) = flywheel(
        "run --from elasticsearch --workload support-router --client acme-web "
        f"{IN_MONGODB} {datasets} --set connections.platform=openai --set data_split_config.limit=300 "
        "--set 'candidates=[{name: small, model: small-a, context_length: 32768}]'"
    )
    found = {e["eval_type"]: e["scores"][e["primary"]] for e in candidate["evaluations"]}
    assert list(found) == ["base-eval", "icl-eval", "customized-eval"]
    assert found["base-eval"] < found["customized-eval"]
    assert not (tmp_path / "home" / "runs.sqlite").exists()

    (run,) = flywheel(f"runs {IN_MONGODB} --workload support-router")
    assert run["status"] == "completed"
    name = run["run_id"][:6]
    assert flywheel(f"results {name} {IN_MONGODB}")[0]["evaluations"] == candidate["evaluations"]
    again = flywheel(f"score --run {name} {IN_MONGODB} {datasets}")
    assert (again["differing"], again["missing"]) == (0, [])
    assert len(again["conclusions"]["verdicts"]["again"]) == 3
    assert main(shlex.split(f"report {name} {IN_MONGODB} {datasets} --out report.html")) == 0
    assert run["run_id"] in Path("report.html").read_text()
    assert main(shlex.split(f"results {name} {IN_MONGODB} {datasets}")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"flywheel divergent {run['run_id']} {IN_MONGODB} {datasets}" in shown

    assert flywheel("runs") == []
    assert flywheel(f"runs {IN_MONGODB} export history.jsonl")["run"] == 1
    assert flywheel("runs import history.jsonl")["added"] == 1
    assert flywheel(f"results {name}") == flywheel(f"results {name} {IN_MONGODB}")
    assert flywheel(f"runs {IN_MONGODB} import history.jsonl")["added"] == 0
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in stored if b"sk-walk" in path.read_bytes()]
