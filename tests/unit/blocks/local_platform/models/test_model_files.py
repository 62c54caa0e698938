"""From names to folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.local_platform.models.model_files import (
    TokenizerFileCounter,
    context_length,
    resolve_model,
    weights_hash,
)
from flywheel.errors import ConfigError
from flywheel.progress import silent
from tests.fakes.toy_model import write_toy_model


def test_a_path_is_used_as_it_is(tmp_path: Path) -> None:
    folder = write_toy_model(tmp_path / "toy", context=333)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert resolve_model(str(folder), tmp_path, silent) == folder
    assert context_length(folder) == 333
    assert len(weights_hash(folder)) == 64


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_something_says_what(tmp_path: Path, missing: str) -> None:
    folder = write_toy_model(tmp_path / "toy")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / missing).unlink()
    with pytest.raises(ConfigError, match=missing.replace("model.", r"\*\.")):
        resolve_model(str(folder), tmp_path, silent)


@pytest.mark.parametrize(
    "model", ["/no/such/folder", "./nowhere", "demo:gpt-9", "a/b/c", "", "../../etc/passwd x"]
)
def test_a_name_that_is_no_model_is_refused_without_asking_the_network(tmp_path: Path, model: str) -> None:
    with pytest.raises(ConfigError):
        resolve_model(model, tmp_path, silent)


def test_tokens_are_counted_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    counter = TokenizerFileCounter(write_toy_model(tmp_path / "toy") / "tokenizer.json")
    assert counter.exact
    assert counter.count("") == 0
    assert counter.count("héllo") == 6
    # Chinese or JSON text is not a word or two: it costs what it costs.
    assert counter.count("你好" * 100) == 600
