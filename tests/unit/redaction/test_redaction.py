"""Records with placeholders, and batches of which only the suspicious ones are decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.logs.file_log_store import FileLogStore
from blocks.ports import LogQuery
from flywheel.config import FlywheelConfig
from flywheel.config.redaction import ALL_KINDS, RedactionConfig
from flywheel.curation.batches import BatchBuilder
from flywheel.curation.extraction import extract
from flywheel.curation.funnel import funnel_of
from flywheel.curation.intake import Intake
from flywheel.curation.pipeline import curate
from flywheel.errors import ConfigError
from flywheel.progress import silent
from flywheel.records.log_line import LogLine
from flywheel.redaction.batches import Redaction
from flywheel.redaction.detectors import Detector
from flywheel.redaction.record_redactor import RecordRedactor
from flywheel.token_counters import counter_for
from tests.unit.curation.calls import call, record, request, response

SECRETS = [
    "anna@example.com",
    "+48 601 234 567",
    "4111 1111 1111 1111",
    "10.20.30.40",
    "sk-abcdefghijklmnopqrst",
]


def redacted(value: Any) -> Any:
    redactor = RecordRedactor(Detector(ALL_KINDS))
    redactor.begin()
    return json.loads(redactor.payload(json.dumps(value).encode()) or b"null")


def test_the_same_text_has_the_same_placeholder_all_over_a_record_and_another_one_another() -> None:
    redactor = RecordRedactor(Detector(ALL_KINDS))
    redactor.begin()
    asked = redactor.text("a@example.com or b@example.com or A@Example.com")
    answered = redactor.text("I wrote to b@example.com")
    redactor.begin()
    assert (asked, answered) == ("[EMAIL_1] or [EMAIL_2] or [EMAIL_1]", "I wrote to [EMAIL_2]")
    assert redactor.text("b@example.com") == "[EMAIL_1]"


def test_arguments_of_tools_stay_json_and_their_names_tell_what_digits_are() -> None:
    arguments = {
        "phone_number": 5551234567,
        "order": 5551234567,
        "to": "a@example.com",
        "api_key": "abc",
        "card": 4111111111111111,
    }
    message = redacted({"tool_calls": [call(arguments=json.dumps(arguments))]})
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {
        "phone_number": "[PHONE_1]",
        "order": 5551234567,
        "to": "[EMAIL_1]",
        "api_key": "[KEY_1]",
        "card": "[CARD_1]",
    }
    assert redacted({"function_call": {"name": "f", "arguments": {"to": "a@example.com"}}}) == {
        "function_call": {"name": "f", "arguments": {"to": "[EMAIL_1]"}}
    }


def test_structure_stays_and_content_in_every_shape_goes() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "e.g. a@example.com"}}]
    value = request(
        {"role": "user", "content": [{"type": "text", "text": "a@example.com"}]},
        {"role": "tool", "tool_call_id": "c-10.20.30.40", "content": '{"ip": "10.20.30.40"}'},
        user="a@example.com",
        tools=tools,
    )
    out = redacted(value)
    assert out["tools"] == tools
    assert out["user"] == "[EMAIL_1]"
    assert out["messages"][0]["content"][0]["text"] == "[EMAIL_1]"
    assert out["messages"][1] == {
        "role": "tool",
        "tool_call_id": "c-10.20.30.40",
        "content": '{"ip": "[IP_1]"}',
    }


def test_token_probabilities_that_spell_the_answer_out_go_with_it() -> None:
    value = response(content="it is a@example.com")
    value["choices"][0]["logprobs"] = {"content": [{"token": "a@"}, {"token": "example.com"}]}
    assert redacted(value)["choices"][0]["logprobs"] is None


words = st.sampled_from(
    [
        *SECRETS,
        "tel 5551234567",
        "(555) 234-5678",
        "030 1234567",
        "0048 601 234 567",
        "fe80::1ff:fe23:4567:890a",
        "AKIAIOSFODNN7EXAMPLE",
        "password: hunter22",
        "token is",
        "api_key = abcdef1",
        "a\xa0b",
        "+1\xa0415\xa0555\xa02671",
        "eyJhbGciOiJI.eyJzdWIiOiIx.abc",
        "\n",
        "\t",
        '"',
        "\\",
        "hello",
        "12",
        "é",
        "Bearer abcdefghijklmnopqrst",
    ]
)


@settings(deadline=None)  # a busy machine is no error
@given(
    st.lists(words, max_size=6).map(" ".join) | st.lists(words, max_size=6).map("\n".join),
    st.booleans(),
    st.booleans(),
)
def test_no_record_with_something_to_find_is_taken_for_a_clean_one(
    text: str, ascii_only: bool, nested: bool
) -> None:
    """The quick look at the raw JSON passes over nothing that the detectors would find in the text."""
    if nested:
        message: dict[str, Any] = {
            "tool_calls": [call(arguments=json.dumps({"x": text}, ensure_ascii=ascii_only))]
        }
    else:
        message = {"role": "user", "content": text}
    raw = json.dumps({"messages": [message]}, ensure_ascii=ascii_only).encode()
    careful = RecordRedactor(Detector(ALL_KINDS))
    careful.begin()
    expected = careful.payload(raw)
    builder = BatchBuilder()
    builder.add(LogLine(None, None, "w", "c", None, None, None, None, None, raw, None), "f", 1)
    rows = Redaction(RedactionConfig(enabled=True)).batch(builder.take()).records
    assert rows.column("request")[0].as_py() == expected


def log_of(tmp_path: Path) -> Path:
    secret = ", ".join(SECRETS)
    lines = [
        json.dumps(
            record(
                n,
                request=request({"role": "user", "content": f"question {n} of {secret} {n * 'x'}"}),
                description=secret,
                note=secret,
            )
        )
        for n in range(12)
    ]
    lines += [
        json.dumps(record(n, request=request({"role": "user", "content": f"plain question {n} {n * 'yz'}"})))
        for n in range(12, 40)
    ]
    lines.append(json.dumps(record(90, response={"error": secret})))
    lines.append(json.dumps(record(91, request={"messages": [{"role": secret}]})))
    lines.append('{"broken": "' + secret)
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def config(**redaction: Any) -> FlywheelConfig:
    return FlywheelConfig.model_validate(
        {
            "workload_id": "w",
            "client_id": "c",
            "redaction_config": redaction,
            "data_split_config": {"eval_size": 5, "min_total_records": 5},
        }
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_nothing_that_is_written_holds_what_was_redacted_and_the_funnel_counts_it(tmp_path: Path) -> None:
    log = FileLogStore(log_of(tmp_path))
    manifest = curate(
        log.read(LogQuery("w", "c"), silent), tmp_path / "out", config(enabled=True), counter_for(), silent
    )
    written = files_of(tmp_path / "out")
    assert {"rejected.jsonl", "base/eval_data.jsonl", "train/training.jsonl"} <= written.keys()
    for name, content in written.items():
        for secret in SECRETS:
            assert secret.encode() not in content, f"{secret} in {name}"
    assert b"[EMAIL_1]" in written["rejected.jsonl"]
    assert manifest["funnel"]["redacted"] == 15
    assert manifest["funnel"]["redacted_email"] >= 15


def test_what_extraction_leaves_holds_nothing_either(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    log = FileLogStore(log_of(tmp_path))
    counts = extract(
        log.read(LogQuery("w", "c"), silent), tmp_path / "out", silent, intake=Intake(config(enabled=True))
    )
    rows = "".join(str(pq.read_table(path).to_pylist()) for path in (tmp_path / "out").glob("*.parquet"))
    rows += (tmp_path / "out" / "rejected.jsonl").read_text()
    assert not [secret for secret in SECRETS if secret in rows]
    assert counts["redacted"] == 15


def test_without_redaction_every_byte_stays_and_the_funnel_says_nothing_of_it(tmp_path: Path) -> None:
    log = FileLogStore(log_of(tmp_path))
    plain = extract(log.read(LogQuery("w", "c"), silent), tmp_path / "plain", silent)
    off = extract(log.read(LogQuery("w", "c"), silent), tmp_path / "off", silent, intake=Intake(config()))
    assert plain == off
    assert files_of(tmp_path / "plain") == files_of(tmp_path / "off")
    assert "redacted" not in funnel_of({**off, "valid": 0, "train": off["read"] - off["invalid"]})


def test_records_without_personal_data_keep_their_very_bytes(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"workload_id":"w","client_id":"c","request":{ "messages" : [] },"response":{"choices" :[]}}\n'
    )
    batches = list(FileLogStore(log).read(LogQuery("w", "c"), silent))
    after = list(Redaction(RedactionConfig(enabled=True)).of(batches))
    assert after[0].records.equals(batches[0].records)


def test_names_are_found_by_a_function_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "people.py").write_text(
        "import re\ndef people(text):\n    return [m.span() for m in re.finditer('Anna|Bob', text)]\n"
    )
    log = tmp_path / "log.jsonl"
    log.write_text(
        json.dumps(record(1, request=request({"role": "user", "content": "Anna met Bob, anna left"}))) + "\n"
    )
    redaction = Redaction(RedactionConfig(enabled=True, names=f"{tmp_path / 'people.py'}:people"))
    rows = next(redaction.of(FileLogStore(log).read(LogQuery("w", "c"), silent))).records
    assert (
        json.loads(rows.column("request")[0].as_py())["messages"][0]["content"]
        == "[NAME_1] met [NAME_2], anna left"
    )
    assert redaction.counts() == {"records": 1, "name": 2}


def test_a_function_for_names_that_is_not_there_is_told_before_the_log_is_read() -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        Intake(config(enabled=True, names="no_such_module:people"))


def test_records_that_an_earlier_run_kept_are_redacted_and_erased_like_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [record(n, request=request({"role": "user", "content": SECRETS[0]})) for n in range(3)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (batch,) = FileLogStore(log).read(LogQuery("w", "c"), silent)
    kept = Intake(config(enabled=True), {"r1"}).table(pa.Table.from_batches([batch.records]))
    assert kept["id"].to_pylist() == ["r0", "r2"]
    assert SECRETS[0].encode() not in b"".join(kept["request"].to_pylist())
    assert Intake(config(enabled=True), {"r1"}).table(kept).equals(kept)
