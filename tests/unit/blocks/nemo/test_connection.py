from __future__ import annotations

import pytest
from pydantic import ValidationError

from blocks.connections import open_platform
from blocks.nemo.block import NemoMicroservices
from blocks.nemo.connection import from_environment
from blocks.nemo.platform import NemoPlatform
from flywheel.config import CandidateConfig, ConnectionsConfig
from flywheel.errors import ConfigError

ADDRESSES = {
    "NEMO_BASE_URL": "http://nemo.test/",
    "NIM_BASE_URL": "https://nim.test",
    "DATASTORE_BASE_URL": "http://data-store.test",
}


async def test_the_command_line_finds_the_platform_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**ADDRESSES, "NEMO_API_KEY": "secret-of-ours"}.items():
        monkeypatch.setenv(name, value)
    platform = await open_platform(ConnectionsConfig(platform="nemo"))

    assert isinstance(platform, NemoPlatform)
    assert platform.api_key == "secret-of-ours"
    assert await platform.context_length(CandidateConfig(model="m", context_length=4096)) == 4096
    assert await platform.context_length(CandidateConfig(model="m")) == 8192


@pytest.mark.parametrize("missing", sorted(ADDRESSES))
def test_a_missing_address_is_named(missing: str) -> None:
    there = {name: value for name, value in ADDRESSES.items() if name != missing}
    with pytest.raises(ConfigError, match=f"{missing} is not set"):
        from_environment(there)


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"NIM_BASE_URL is 'nim\.test'"):
        from_environment({**ADDRESSES, "NIM_BASE_URL": "nim.test"})


@pytest.mark.parametrize("poll", ["soon", "0", "-1", "nan", "9999"])
def test_a_pause_that_is_none_is_named(poll: str) -> None:
    with pytest.raises(ConfigError, match="NEMO_POLL_SECONDS"):
        from_environment({**ADDRESSES, "NEMO_POLL_SECONDS": poll})


def test_addresses_lose_the_slash_at_their_end() -> None:
    assert from_environment(ADDRESSES).nemo == "http://nemo.test"


def test_the_block_hides_its_key_and_refuses_what_it_does_not_know() -> None:
    fields = {"nemo_base_url": "http://a", "nim_base_url": "http://b", "datastore_base_url": "http://c"}
    block = NemoMicroservices(**fields, api_key="secret-of-ours")
    assert "secret-of-ours" not in repr(block)
    assert block.connect().api_key == "secret-of-ours"
    with pytest.raises(ValidationError):
        NemoMicroservices(**fields, polling=3)
    with pytest.raises(ValidationError):
        NemoMicroservices(**fields, namespace="Not Allowed")
