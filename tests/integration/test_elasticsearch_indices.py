"""Indices as one finds them: made by other tools, mended, absent; and how to reach them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from blocks.elasticsearch.block import ElasticsearchLogs
from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.discovery import discover
from blocks.elasticsearch.mapping import check_mapping
from blocks.elasticsearch.mend import mend
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.store import ElasticsearchLogStore
from blocks.elasticsearch.template import MAPPINGS, put_template
from flywheel.cli.main import main
from flywheel.errors import DataError
from flywheel.progress import silent
from tests.contracts.log_store import BEGIN, calling, ids, read, record, rows
from tests.fakes.elasticsearch_stub import elasticsearch_stub

Load = Callable[..., str]
IDS = {"workload_id": {"type": "keyword"}, "client_id": {"type": "keyword"}}


@pytest.fixture
def settings(elasticsearch_with_composite: str) -> ElasticsearchSettings:
    return ElasticsearchSettings(hosts=(elasticsearch_with_composite,))


@pytest.fixture
def client(settings: ElasticsearchSettings) -> Iterator[Elasticsearch]:
    with connect(settings) as client:
        yield client


@pytest.fixture
def load(client: Elasticsearch, elasticsearch_index: str) -> Load:
    """Puts records into an index whose name ends as said; None lets the server guess the mapping."""

    def into(end: str, records: Sequence[dict[str, Any]], mappings: dict[str, Any] | None = MAPPINGS) -> str:
        name = f"{elasticsearch_index}-{end}"
        if mappings is not None:
            client.indices.create(index=name, mappings=mappings)
        operations = [part for r in records for part in ({"index": {"_id": r.get("_id")}}, without_id(r))]
        assert not client.bulk(index=name, operations=operations, refresh=True)["errors"]
        return name

    return into


def without_id(logged: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in logged.items() if key != "_id"}


def store(settings: ElasticsearchSettings, index: str) -> ElasticsearchLogStore:
    return ElasticsearchLogStore(replace(settings, index=index))


def test_an_index_that_is_not_there_is_an_error_that_names_it(settings: ElasticsearchSettings) -> None:
    for index in ("nowhere-1", "nowhere-*"):
        for ask in (lambda s: read(s), lambda s: s.workloads(silent)):
            with pytest.raises(DataError, match=r"no index, alias or data stream nowhere-.*flywheel ingest"):
                ask(store(settings, index))


def test_an_index_made_by_another_tool_is_refused_with_the_command_that_mends_it(
    settings: ElasticsearchSettings, load: Load
) -> None:
    found = load("dynamic", [record(i, workload_id="router-2") for i in range(3)], None)
    with pytest.raises(DataError, match="maps workload_id as text") as raised:
        read(store(settings, found))
    assert f"`python -m blocks.elasticsearch.mend {found} log-store-{found}`" in str(raised.value)


def test_the_command_that_is_named_mends_the_index_and_may_be_repeated(
    settings: ElasticsearchSettings, load: Load, tmp_path: Path
) -> None:
    found = load("dynamic", [record(i) for i in range(3)] + [record(7, workload_id="router-2")], None)
    command = [sys.executable, "-m", "blocks.elasticsearch.mend", found, f"{found}-mended"]
    for _ in range(2):
        done = subprocess.run(
            command, env={"ELASTICSEARCH_URL": settings.hosts[0]}, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"4 documents of {found}" in done.stdout
    assert ids(read(store(settings, f"{found}-mended"))) == ["r0", "r1", "r2"]


def test_nothing_is_copied_into_an_index_that_is_not_fit_either(
    settings: ElasticsearchSettings, load: Load
) -> None:
    found, other = (load(name, [record(0)], None) for name in ("dynamic", "another"))
    with pytest.raises(DataError, match=f"{other} is there, and its mapping is not right either"):
        mend(settings, found, other)


@pytest.mark.parametrize(
    ("mappings", "said"),
    [
        ({"properties": {"client_id": {"type": "keyword"}}}, "has no field workload_id"),
        ({"properties": IDS}, "has no field timestamp"),
        ({"properties": {**IDS, "timestamp": {"type": "keyword"}}}, "maps timestamp as keyword"),
        (
            {"properties": {**IDS, "timestamp": {"type": "date"}}, "_source": {"enabled": False}},
            "does not keep its documents",
        ),
    ],
)
def test_a_mapping_that_cannot_be_read_from_says_what_is_wrong(
    settings: ElasticsearchSettings, client: Elasticsearch, elasticsearch_index: str, mappings: Any, said: str
) -> None:
    client.indices.create(index=f"{elasticsearch_index}-odd", mappings=mappings)
    with pytest.raises(DataError, match=said):
        check_mapping(client, replace(settings, index=f"{elasticsearch_index}-odd"))


def test_times_of_several_forms_in_one_index_are_ordered_by_what_they_mean(
    settings: ElasticsearchSettings, load: Load
) -> None:
    """The index, by its default format, takes seconds for a day in 1970; the newest of all is one of those."""
    forms = [BEGIN, (BEGIN + 1) * 1000, datetime.fromtimestamp(BEGIN + 2, UTC).isoformat(), BEGIN + 3]
    mappings = {"properties": {**IDS, "timestamp": {"type": "date"}}}
    index = load("mixed", [record(i, timestamp=form) for i, form in enumerate(forms)], mappings)
    assert ids(read(store(settings, index), limit=2)) == ["r2", "r3"]
    since = datetime.fromtimestamp(BEGIN + 1, UTC)
    assert ids(read(store(settings, index), since=since)) == ["r1", "r2", "r3"]


def test_times_that_are_plain_numbers_for_the_index_are_read(
    settings: ElasticsearchSettings, load: Load
) -> None:
    mappings = {"properties": {**IDS, "timestamp": {"type": "long"}}}
    index = load("numbers", [record(i) for i in range(10)], mappings)
    assert ids(read(store(settings, index))) == [f"r{i}" for i in range(10)]
    assert ids(read(store(settings, index), limit=3)) == ["r7", "r8", "r9"]


def test_a_clock_that_is_ahead_or_was_never_set_does_not_keep_the_others_out(
    settings: ElasticsearchSettings, load: Load
) -> None:
    ahead = record(90, timestamp=BEGIN + 86_400)
    unset = record(91, timestamp="1970-01-01T00:00:10Z")
    index = load("skew", [*(record(i) for i in range(8)), ahead, unset])
    assert ids(read(store(settings, index), limit=3)) == ["r6", "r7", "r90"]
    batches = read(store(settings, index))
    assert len(ids(batches)) == 10
    assert {row["id"]: row["timestamp"] for row in rows(batches)}["r91"] is None


def test_a_pattern_and_an_alias_read_all_their_indices_and_the_origin_tells_which(
    settings: ElasticsearchSettings, client: Elasticsearch, load: Load, elasticsearch_index: str
) -> None:
    """Two indices may hold the same `_id`: both records are there, also in a sample that is fetched by id."""
    one = load("a", [record(0, _id="same"), record(1, _id="x" * 512)])
    two = load("b", [record(2, _id="same")])
    client.indices.put_alias(index=one, name=f"{elasticsearch_index}-alias")
    both = store(settings, f"{elasticsearch_index}-a,{elasticsearch_index}-b")
    origins = {(row["id"], row["file"], row["line"]) for row in rows(read(both))}
    expected = {("r0", f"{one}/same", None), ("r1", f"{one}/{'x' * 512}", None), ("r2", f"{two}/same", None)}
    assert origins == expected
    assert len(ids(read(both, limit=2, sampling="uniform"))) == 2
    assert ids(read(store(settings, f"{elasticsearch_index}-*"))) == ["r0", "r1", "r2"]
    assert ids(read(store(settings, f"{elasticsearch_index}-alias"))) == ["r0", "r1"]


def test_a_record_that_is_too_long_is_refused_with_its_origin(
    settings: ElasticsearchSettings, load: Load
) -> None:
    index = load("long", [record(0), record(1, _id="big", request={"messages": ["x" * 5_000]})])
    small = ElasticsearchLogStore(replace(settings, index=index), max_record_bytes=2_000)
    batches = read(small)
    (refusal,) = [refusal for batch in batches for refusal in batch.refused]
    assert (refusal.reason, refusal.file) == ("too_large", f"{index}/big")
    assert ids(batches) == ["r0"]


def test_untagged_records_are_refused_up_to_the_limit_and_the_rest_counted(
    settings: ElasticsearchSettings, load: Load
) -> None:
    """A client that tags nothing must not fill the disk of a run that asked for a few records."""
    index = load("untagged", [record(i, workload_id=...) for i in range(30)] + [record(99)])
    batches = read(store(settings, index), limit=5)
    refused = [refusal for batch in batches for refusal in batch.refused]
    assert (len(refused), sum(batch.over_limit for batch in batches)) == (5, 25)
    assert ids(batches) == ["r99"]


def test_the_template_gives_new_indices_the_mapping_and_may_be_put_again(
    client: Elasticsearch, settings: ElasticsearchSettings, elasticsearch_index: str
) -> None:
    for _ in range(2):
        put_template(client, f"{elasticsearch_index}-*")
    name = f"{elasticsearch_index}-new"
    odd = record(0, timestamp="soon", latency_ms="fast", region={"deep": {"er": 1}}, description="x" * 40_000)
    client.index(index=name, document=odd, refresh=True)
    client.indices.delete_index_template(name=f"flywheel-log-store-{elasticsearch_index}")
    found = client.indices.get_mapping(index=name)[name]["mappings"]["properties"]
    assert found["workload_id"]["type"] == "keyword"
    assert found["request"] == {"type": "object", "enabled": False}
    assert "region" not in found
    (row,) = rows(read(store(settings, name)))
    assert json.loads(row["extra"]) == {
        "region": {"deep": {"er": 1}},
        "latency_ms": "fast",
        "timestamp": "soon",
    }


def test_workloads_come_in_pages_and_none_is_lost_between_them(
    client: Elasticsearch, settings: ElasticsearchSettings, load: Load
) -> None:
    names = [f"w{i}" for i in range(12)] + ["*", '" OR "1"="1', ...]
    index = load("many", [record(i, workload_id=name) for i, name in enumerate(names)])
    named = replace(settings, index=index)
    found = discover(client, named, check_mapping(client, named), silent, page=4)
    assert {w.workload_id for w in found} == {None if name is ... else name for name in names}
    assert found[0].share_without_workload_id == pytest.approx(1 / 15)


def test_ten_thousand_workloads_are_listed() -> None:
    with elasticsearch_stub(1) as stub:
        stub.workloads = 10_000
        found = ElasticsearchLogStore(ElasticsearchSettings(hosts=(stub.url,))).workloads(silent)
    assert len({w.workload_id for w in found}) == 10_000
    assert (found[0].workload_id, found[0].records) == ("w009999", 10_000)


def test_records_without_a_workload_id_are_grouped_by_the_looks_of_a_sample(
    settings: ElasticsearchSettings,
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def asked(number: int, system: str, workload: Any, client: Any = "acme") -> dict[str, Any]:
        said = [{"role": "system", "content": system}, {"role": "user", "content": f"Question {number}"}]
        return record(number, request={"messages": said}, workload_id=workload, client_id=client)

    logged = [asked(n, f"Today is {n} May. Route calls.", "router") for n in range(5)]
    logged += [asked(n, "Summarise.", "") for n in range(100, 399)]
    logged += [asked(n, "Today is 31 May. Route calls.", ...) for n in range(1_000, 1_004)]
    logged += [asked(30, "Today is 1 May. Route calls.", ..., client="shop")]
    index = load("untagged", logged)
    found = store(settings, index).with_groups(store(settings, index).workloads(silent), silent)
    groups = {
        s.client_id: [(g.records, g.system_prompt, g.workloads) for g in s.groups] for s in found if s.groups
    }
    prompt = "Today is 0 May. Route calls."
    assert groups == {
        "acme": [(296, "Summarise.", []), (4, prompt, ["router"])],
        "shop": [(1, prompt, [])],
    }
    host = settings.hosts[0].removeprefix("http://")
    monkeypatch.setenv("ELASTICSEARCH_URL", f"elasticsearch://{host}/{index}")
    assert main(["workloads", "--from", "elasticsearch"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Of client acme, the newest 300 of 303 records without a workload id were looked at." in shown
    assert "Of client shop, the newest" not in shown


def test_the_command_lists_and_curates_what_elasticsearch_holds(
    settings: ElasticsearchSettings,
    load: Load,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["apple", "river", "stone", "cloud", "green", "window", "paper", "candle", "garden", "silver"]
    logged = [
        record(
            i,
            latency_ms=100 + i,
            request={"messages": [{"role": "user", "content": " ".join([*words[i % 7 :], str(i) * 9])}]},
            response=calling("look_up" if i % 2 else "file"),
        )
        for i in range(80)
    ]
    index = load("command", logged)
    host = settings.hosts[0].removeprefix("http://")
    monkeypatch.setenv("ELASTICSEARCH_URL", f"elasticsearch://{host}/{index}")
    assert main(["workloads", "--from", "elasticsearch", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["workload_id"], found["records"], found["average_latency_ms"]) == ("router", 80, 139.5)
    out = tmp_path / "out"
    arguments = ["--workload", "router", "--client", "acme", "--out", str(out), "--json"]
    assert main(["curate", "--from", "elasticsearch", *arguments, "--min-total-records", "20"]) == 0
    assert json.loads(capsys.readouterr().out)["funnel"]["lines"] == 80


def test_a_saved_block_holds_what_is_needed_and_hides_its_secrets(
    settings: ElasticsearchSettings, load: Load
) -> None:
    index = load("block", [record(0)])
    block = ElasticsearchLogs(hosts=list(settings.hosts), index=index, page_megabytes=0.5)
    assert ids(read(block.connect())) == ["r0"]
    secret = ElasticsearchLogs(api_key="c2VjcmV0")
    assert "c2VjcmV0" not in repr(secret) + repr(secret.connect()) + str(secret.settings())
    assert secret.settings().api_key == "c2VjcmV0"
