"""Weights that could run code are refused before anything reads them."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

from blocks.local_platform.models.adapters import merged
from blocks.local_platform.models.model_files import resolve_model
from flywheel.errors import ConfigError
from flywheel.progress import silent
from tests.fakes.toy_model import write_toy_model

SOURCES = Path(__file__).parents[4] / "blocks"


class Trap:
    """What a hostile checkpoint is: unpickling it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "last.ckpt"])
def test_a_pickled_checkpoint_is_refused_with_the_reason_and_never_loaded(tmp_path: Path, name: str) -> None:
    folder = write_toy_model(tmp_path / "toy")
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "proof")))
    with pytest.raises(ConfigError, match=f"{name} is a pickle, and loading one runs whatever code"):
        resolve_model(str(folder), tmp_path, silent)
    assert not (tmp_path / "proof").exists()


def test_a_pickled_adapter_is_refused_and_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "proof")))
    with pytest.raises(ConfigError, match=r"no adapter_model\.safetensors"):
        merged(object(), tmp_path)
    assert not (tmp_path / "proof").exists()


def test_whatever_is_loaded_is_told_to_run_no_code() -> None:
    """Every call in the sources that could: weights only, no code of the model's, no pickles in arrays."""
    wanted = {
        "torch.load": ("weights_only", True),
        "AutoModelForCausalLM.from_pretrained": ("trust_remote_code", False),
        "np.load": ("allow_pickle", False),
    }
    seen = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in wanted:
                keyword, value = wanted[name]
                given = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg == keyword}
                assert given == {keyword: value}, f"{path}:{node.lineno}"
                seen.add(name)
            assert not (isinstance(node, ast.Import) and any(a.name == "pickle" for a in node.names)), path
    assert seen == set(wanted)
