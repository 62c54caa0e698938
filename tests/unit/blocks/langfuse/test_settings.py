"""How a Langfuse is named: by the environment, by a store's name, by a block."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from blocks.connections import log_store_named
from blocks.langfuse.block import LangfuseLogs
from blocks.langfuse.settings import checked_host, settings_from_environment
from blocks.langfuse.store import LangfuseLogStore
from deployments.environment_blocks import described
from flywheel.errors import ConfigError
from flywheel.traces.calls import Labels

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-secret"}


def test_the_variables_of_langfuses_own_sdks_are_read() -> None:
    settings = settings_from_environment(KEYS | {"LANGFUSE_HOST": "http://localhost:3000/"})
    assert (settings.public_key, settings.secret_key, settings.host) == (
        "pk-1",
        "sk-secret",
        "http://localhost:3000",
    )
    assert settings_from_environment(KEYS).host == "https://cloud.langfuse.com"
    assert "sk-secret" not in repr(settings)


def test_a_missing_key_says_which_two_there_are() -> None:
    with pytest.raises(ConfigError, match="LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"):
        settings_from_environment({"LANGFUSE_PUBLIC_KEY": "pk-1"})


@pytest.mark.parametrize(
    "address", ["ftp://host", "host", "https://", "https://host:port", "https://host?x=1"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is no URL"):
        checked_host(address)


def test_keys_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="holds keys") as raised:
        checked_host("https://pk:sk-secret@host")
    assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "host"),
    [("langfuse", "https://lf.example"), ("langfuse://lf.example.org/base/", "https://lf.example.org/base")],
)
def test_a_store_is_named_by_its_kind_or_its_address(
    name: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (KEYS | {"LANGFUSE_HOST": "https://lf.example"}).items():
        monkeypatch.setenv(key, value)
    labels = Labels(("tag:route",))
    store = asyncio.run(log_store_named(name, labels=labels))
    assert isinstance(store, LangfuseLogStore)
    assert (store.settings.host, store.labels) == (host, labels)


def test_the_environment_describes_a_block_that_connects_to_the_same() -> None:
    ((name, block),) = described(KEYS | {"LANGFUSE_HOST": "http://localhost:3000"})
    assert isinstance(block, LangfuseLogs)
    assert (name, block.settings()) == (
        "main",
        settings_from_environment(KEYS | {"LANGFUSE_HOST": "http://localhost:3000"}),
    )
    named = LangfuseLogs(public_key="pk-1", secret_key=SecretStr("sk-1"), workload_from=["tag:route"])
    assert named.connect().labels == Labels(("tag:route",))
