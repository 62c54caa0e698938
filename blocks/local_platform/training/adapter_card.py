"""The card of an adapter: what it was made from, and how."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import msgspec

from blocks.local_platform.models.model_files import weights_hash
from blocks.local_platform.training.job_files import CARD_FILE, JobSpec, JobStatus

WEIGHTS_FILE = "adapter_model.safetensors"
PACKAGES = ("torch", "transformers", "peft")


def adapter_revision(folder: Path) -> str:
    """SHA-256 over the weights of an adapter and the hash of its base's: what is merged and answers."""
    digest = hashlib.sha256()
    for name in (WEIGHTS_FILE, CARD_FILE):
        path = folder / name
        content = path.read_bytes() if path.is_file() else b""
        if name == CARD_FILE and content:
            content = msgspec.json.decode(content, type=_Base).base_weights_sha256.encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


class _Base(msgspec.Struct):
    base_weights_sha256: str = ""


def write_card(path: Path, spec: JobSpec, status: JobStatus, rows: int) -> None:
    """Write card.json for the adapter of a job as its status stands; `rows` were trained on."""
    card = {
        "job": spec.name,
        "base_model": spec.model,
        "base_weights_sha256": weights_hash(Path(spec.folder)),
        "data_sha256": spec.data,
        "training_config": spec.training,
        "lora_config": spec.lora,
        "rows": rows,
        "skipped_rows": status.skipped,
        "epoch": status.kept_epoch,
        "train_loss": status.loss,
        "val_loss": status.val_loss,
        "epoch_scores": status.scores,
        "cut": status.cut,
        "tokens": status.tokens,
        "seconds": status.seconds,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1))
