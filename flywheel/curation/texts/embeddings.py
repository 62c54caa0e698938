"""A vector for each text of the validated table, for comparisons by meaning.

Texts are embedded in parts, each once, in the order of the table, and the vectors go to a file: memory holds one part,
and the embedder of a later step, which asks for the same parts, finds what it kept of this one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.curation.validated_table import read_batches, read_columns
from flywheel.datasets.embedding import Embedder
from flywheel.datasets.similarity import Floats
from flywheel.errors import ConfigError, RemoteRejected
from flywheel.progress import Progress

Indices = npt.NDArray[np.int64]

STAGE = "embed texts"
PART_TEXTS, PART_CHARACTERS = 4_096, 32_000_000


class Embeddings(NamedTuple):
    """Unit vectors, shape (texts, dimensions), a row of NaN for a text that has none; for each row of the validated
    table the number of its text, -1 where it is empty.
    """

    vectors: Floats
    text_of: Indices

    def known(self, rows: Indices) -> npt.NDArray[np.bool_]:
        """Whether there is a vector, for rows of the validated table."""
        numbers = self.text_of[rows]
        known: npt.NDArray[np.bool_] = numbers >= 0
        known[known] = ~np.isnan(self.vectors[numbers[known], 0])
        return known

    def of(self, rows: Indices) -> Floats:
        """The vectors of rows of the validated table, in memory; each must be known."""
        return np.asarray(self.vectors[self.text_of[rows]])


def embeddings_if(
    wanted: bool,
    validated: Path,
    folder: Path,
    embedder: Embedder | None,
    progress: Progress,
    fixed: FixedText = NO_FIXED_TEXT,
) -> AbstractContextManager[Embeddings | None]:
    """See `embedded`; None where vectors are not wanted. Raises: ConfigError where there is nobody to make them."""
    if not wanted:
        return nullcontext()
    if embedder is None:
        raise ConfigError(
            "dedup_config.semantic and leakage_config.semantic need vectors: set icl_config.embedder.base_url and "
            "icl_config.embedder.model, or their mode to 'off'."
        )
    return embedded(validated, folder, embedder, progress, fixed)


@contextmanager
def embedded(
    validated: Path,
    folder: Path,
    embedder: Embedder,
    progress: Progress,
    fixed: FixedText = NO_FIXED_TEXT,
    part_texts: int = PART_TEXTS,
) -> Iterator[Embeddings]:
    """Embed every text of a validated table without its fixed text; the vectors are there until the block ends.

    Args:
        folder: Where there is room for them.
        part_texts: How many to ask the embedder for at once.
    Raises:
        RemoteError: The embedder failed, or its vectors are of several lengths.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        text_of, count, dimensions = _write(validated, embedder, fixed, file, progress, part_texts)
        file.flush()
        vectors: Floats = (
            np.memmap(file, dtype=np.float32, mode="r", shape=(count, dimensions))
            if count
            else np.zeros((0, 1), dtype=np.float32)
        )
        yield Embeddings(vectors, text_of)


def _write(
    validated: Path,
    embedder: Embedder,
    fixed: FixedText,
    file: BinaryIO,
    progress: Progress,
    part_texts: int,
) -> tuple[Indices, int, int]:
    """Append the vectors to the file; the numbers of the rows' texts, and the shape of what was written."""
    rows = read_columns(validated, ["choice"]).num_rows
    text_of = np.full(rows, -1, dtype=np.int64)
    known: dict[bytes, int] = {}
    waiting: list[str] = []
    dimensions: set[int] = set()

    def embed(until: int) -> None:
        def tell(stage: str, done: int, total: int | None, detail: str = "") -> None:
            progress(STAGE, until + done - (total or 0), rows)

        if waiting:
            vectors = embedder.embed(waiting, "passage", tell)
            dimensions.add(vectors.shape[1])
            if len(dimensions) > 1:
                raise RemoteRejected(f"The embedder gave vectors of different lengths: {sorted(dimensions)}")
            file.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
            waiting.clear()
        progress(STAGE, until, rows)

    characters = 0
    for first, batch in read_batches(validated, ["text"], rows=1_024):
        own, _ = fixed.own(batch["text"])
        for row, text in enumerate(own.to_pylist(), start=first):
            if not (text or "").strip():
                continue
            digest = blake2b(text.encode(), digest_size=16).digest()
            if digest not in known:
                known[digest] = len(known)
                waiting.append(text)
                characters += len(text)
                if len(waiting) == part_texts or characters >= PART_CHARACTERS:
                    embed(row + 1)
                    characters = 0
            text_of[row] = known[digest]
    embed(rows)
    return text_of, len(known), max(dimensions, default=1)
