"""The directory that `curate` leaves: there whole or not at all, and never in place of something else.

OUT/base/eval_data.jsonl       the evaluation set
OUT/icl/eval_data.jsonl        the same with in-context examples; OUT/icl/not_run.jsonl names what has none
OUT/train/training.jsonl       the training set
OUT/train/validation.jsonl     rows for the validation loss
OUT/train/index.jsonl          record, cluster and split of each row of the two
OUT/rejected.jsonl             what was left out, each with its reason and origin
OUT/certificate.json           that evaluation and training share nothing
OUT/manifest.json              settings, counts, reports, a SHA-256 of each file
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flywheel.errors import ConfigError

MANIFEST_FILE = "manifest.json"
CERTIFICATE_FILE = "certificate.json"
KIND = "flywheel-curation"
SCHEMA_VERSION = 1


@contextmanager
def replacing(out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield `(result, work)`: a directory that becomes `out` when the block ends well, and one that goes
    away.

    Both lie beside `out`, on the same disk, so that the end is a rename. After an exception, a keyboard
    interrupt included, nothing of them is left and an earlier `out` is as it was.

    Raises:
        ConfigError: `out` is a file, or a directory with something in it that is not an earlier result.
    """
    refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    around = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        result, work = around / "result", around / "work"
        result.mkdir()
        work.mkdir()
        yield result, work
        refuse_foreign(out)
        if out.exists():
            os.rename(out, around / "replaced")
        os.rename(result, out)
    finally:
        shutil.rmtree(around, ignore_errors=True)


def refuse_foreign(out: Path) -> None:
    """Raises: ConfigError when `out` holds anything but an earlier result of `curate`, or cannot be a directory."""
    if file := next((parent for parent in out.parents if parent.is_file()), None):
        raise ConfigError(
            f"{file} is a file, so {out} cannot be a directory; name another one for the datasets."
        )
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is a file; name a directory for the datasets.")
    if any(out.iterdir()) and not _is_ours(out):
        raise ConfigError(
            f"{out} is not empty and holds no earlier result of `flywheel curate`; name another directory, or empty it."
        )


def _is_ours(out: Path) -> bool:
    try:
        manifest = json.loads((out / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == KIND


def write_manifest(result: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest: kind, schema version, `content`, and size and SHA-256 of every file that lies in
    `result`.
    """
    paths = sorted(path for path in result.rglob("*") if path.is_file())
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter lock
        digests = list(pool.map(_sha256, paths))
    files = {
        path.relative_to(result).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }
    manifest = {"kind": KIND, "schema_version": SCHEMA_VERSION, **content, "files": files}
    text = json.dumps(manifest, ensure_ascii=False, indent=2, allow_nan=False)
    (result / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_lines(source: Path, target: Path) -> int:
    """Append a file of lines to another; returns how many lines came."""
    if not source.exists():
        return 0
    lines = 0
    with source.open("rb") as reader, target.open("ab") as writer:
        while chunk := reader.read(1 << 20):
            lines += chunk.count(b"\n")
            writer.write(chunk)
    return lines
