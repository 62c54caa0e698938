"""Files of training rows: in the form and within the rules of the provider."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blocks.openai_platform.training_file import ProviderRules
from flywheel.errors import RemoteRejected, TooFewRecordsError
from flywheel.progress import silent
from tests.fakes.openai_provider import OpenAIProvider
from tests.integration.openai_platform.asking import TOOLS, platform, request, row


async def test_rows_are_uploaded_in_the_apis_own_form_and_do_not_stay_there(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    plain = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    await platform(provider).fine_tune(
        request(tmp_path / "t", [row(n) for n in range(10)] + [plain | {"tools": []}]), silent
    )
    lines = [json.loads(line) for line in provider.contents["file-1"].splitlines()]
    assert lines[3]["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"id":3}'
    assert lines[3]["tools"] == TOOLS
    assert lines[-1] == plain
    assert provider.files == {}


async def test_rows_that_break_a_rule_are_left_out_and_counted(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    long = row(1, messages=[{"role": "user", "content": "word " * 3000}, *row(1)["messages"][1:]])
    bad_name = row(2, tools=[{"type": "function", "function": {"name": "no spaces"}}])
    many = row(3, tools=[{"type": "function", "function": {"name": f"t{n}"}} for n in range(129)])
    empty = row(4, messages=[{"role": "user", "content": "?"}, {"role": "assistant", "content": ""}])
    rows = [row(n) for n in range(10)] + [long, bad_name, many, empty]
    told: list[str] = []
    done = await platform(provider).fine_tune(
        request(tmp_path / "t", rows), lambda *state: told.append(state[3])
    )
    assert (done.train_rows, done.skipped_rows) == (10, 4)
    assert sum(done.skipped.values()) == 4
    assert done.skipped["longer than 2,048 tokens"] == 1
    assert "1 rows left out: longer than 2,048 tokens" in told[0]


async def test_too_few_rows_are_refused_before_anything_is_uploaded(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    with pytest.raises(TooFewRecordsError, match=r"10 rows or more, and 3 are usable"):
        await platform(provider).fine_tune(request(tmp_path / "t", [row(n) for n in range(3)]), silent)
    small = platform(provider, rules=ProviderRules(most_bytes=1_500))
    with pytest.raises(TooFewRecordsError, match="largest file"):
        await small.fine_tune(request(tmp_path / "t", [row(n) for n in range(20)]), silent)
    assert provider.contents == {}


async def test_a_file_that_the_provider_refuses_is_an_error_with_its_words(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.refuses_files = True
    with pytest.raises(RemoteRejected, match="Invalid file format"):
        await platform(provider).fine_tune(request(tmp_path / "t"), silent)
