"""What a dataset is made from, as a key: the datasets before it, the settings, and the code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import flywheel.curation
import flywheel.datasets
import flywheel.records
from blocks.datasets.dataset_manifest import content_of as content_in
from blocks.datasets.dataset_manifest import read_manifest
from flywheel.config import FlywheelConfig
from flywheel.errors import DatasetError


def key_of(parents: list[Path], settings: dict[str, Any]) -> dict[str, Any]:
    """The key of a step of curation."""
    return {
        "parents": [content_of(parent) for parent in parents],
        "settings": settings,
        "code": source_hash(flywheel.curation, flywheel.records, flywheel.datasets),
    }


def embedder_key(config: FlywheelConfig, wanted: bool) -> dict[str, Any]:
    """What vectors depend on beside the texts, for the settings of what is made with them."""
    settings = config.icl_config.embedder
    return {"embedder": [settings.base_url, settings.model, settings.most_characters]} if wanted else {}


def content_of(dataset: Path, below: str = "") -> str:
    """SHA-256 over the names and checksums of a published dataset's files, of those under `below` if given."""
    manifest = read_manifest(dataset)
    if manifest is None:
        raise DatasetError(f"There is no dataset in {dataset}. Run again to make it.")
    return content_in(manifest, below)


def source_hash(*packages: ModuleType) -> str:
    """SHA-256 over the source files of packages."""
    digest = hashlib.sha256()
    for package in packages:
        for folder in sorted(package.__path__):
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
