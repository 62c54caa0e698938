"""Naming the attributes of traces that tell workload and client, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flywheel.cli.main import main
from tests.unit.traces.spans import document, span

SAID = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": "[]", "app.route": "refunds"}


def test_workloads_by_the_attributes_that_are_named_and_the_command_that_goes_on_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(document([span(SAID)], {"service.name": "shop"})))
    named = ["workloads", "--logs", str(path), "--workload-from", "app.node", "--workload-from", "app.route"]
    assert main([*named, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["workload_id"], found["client_id"], found["records"]) == ("refunds", "shop", 1)
    assert main(named) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--set 'logs.workload_from=[app.node, app.route]'" in shown
