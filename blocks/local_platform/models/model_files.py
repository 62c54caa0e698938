"""From the name of a model to the folder on this machine that holds it.

A name is a path, `demo:smollm2-135m`, or a repository of the Hugging Face hub. Weights are safetensors and code that
comes with a model is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from blocks.local_platform.models.demo_model import DEMO_MODEL, ensure_demo_model
from flywheel.errors import ConfigError, TransientRemoteError
from flywheel.progress import Progress

HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja"]
NEEDED_PACKAGES = ("torch", "transformers", "peft", "safetensors", "gguf")
PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def require_local_extra() -> None:
    """Raise ConfigError where the packages of the extra `local` are missing."""
    missing = [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"The local platform needs {', '.join(missing)}. Install the extra: pip install 'flywheel[local]'"
        )


def resolve_model(model: str, home: Path, progress: Progress) -> Path:
    """The folder with config.json, tokenizer.json and safetensors. May download; blocks while it does.

    Raises: ConfigError (no such model, or of a kind that cannot be used), TransientRemoteError (network).
    """
    if model == DEMO_MODEL:
        return ensure_demo_model(home, progress)
    if model.startswith("demo:"):
        raise ConfigError(f"There is no demo model {model!r}; the one there is is {DEMO_MODEL!r}.")
    path = Path(model).expanduser()
    if path.is_dir():
        return _checked(path.absolute(), model)
    if model.startswith(("/", "./", "../", "~")) or not HUB_NAME.fullmatch(model):
        raise ConfigError(f"{model!r} is no folder with a model; check the path.")
    return _checked(_from_hub(model, progress), model)


def context_length(folder: Path) -> int:
    """Longest prompt and answer together, in tokens, by the model's own configuration."""
    config = _read(folder / "config.json")
    for part in (config, config.get("text_config") or {}):
        for key in CONTEXT_KEYS:
            if isinstance(part.get(key), int):
                return int(part[key])
    raise ConfigError(f"{folder}/config.json tells no context length; set the candidate's context_length.")


def weights_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of the weight files: which base an adapter belongs to."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def revision(folder: Path) -> str:
    """Changes with the model's files, by their names, sizes and times: hashing weights takes minutes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.is_file():
            seen = path.stat()
            digest.update(f"{path.name}:{seen.st_size}:{seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class TokenizerFileCounter:
    """Counts with the model's own tokenizer. The file is read at the first count."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tokenizer: Any = None
        self.name = f"tokenizer {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"

    @property
    def exact(self) -> bool:
        """Always: it is the model's own."""
        return True

    def count(self, text: str) -> int:
        """Tokens of `text` without any begin or end token."""
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(self._file))
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _checked(folder: Path, model: str) -> Path:
    for pattern, remedy in (
        ("config.json", "give the folder of a Hugging Face model"),
        ("tokenizer.json", "save its tokenizer with AutoTokenizer.from_pretrained(...).save_pretrained(...)"),
        ("*.safetensors", "convert its weights with save_pretrained, other formats are not read"),
    ):
        if not any(folder.glob(pattern)):
            pickled = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLED]
            if pattern == "*.safetensors" and pickled:
                remedy = (
                    f"{pickled[0]} is a pickle, and loading one runs whatever code is in it: convert the weights with "
                    "save_pretrained where you trust them"
                )
            raise ConfigError(f"The model {model!r} has no {pattern} in {folder}; {remedy}.")
    return folder


def _from_hub(model: str, progress: Progress) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:  # what is there already costs no question to the hub and needs no network
        return _checked(
            Path(snapshot_download(model, allow_patterns=HUB_FILES, local_files_only=True)), model
        )
    except (LocalEntryNotFoundError, ConfigError):
        progress("download model", 0, None, model)
    try:
        return Path(snapshot_download(model, allow_patterns=HUB_FILES))
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{model!r} is neither a folder nor a model of the Hugging Face hub that this machine may read. "
            "Check the name, or log in with `hf auth login`."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise TransientRemoteError(
            f"The model {model!r} could not be downloaded ({type(error).__name__}). Check the network, or give the "
            f"path of a folder that holds it."
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}); fetch the model again.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a JSON object; fetch the model again.")
    return content
