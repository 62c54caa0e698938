"""Verdicts that judges gave, by what they were asked: the same question is never paid for twice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

CACHE_FILE = "verdicts.sqlite"
_BUSY_SECONDS = 30.0


class CachedVerdict(msgspec.Struct, frozen=True):
    """A rating that was read from a judge's answer, and the reason it gave."""

    rating: int
    reason: str = ""


class JudgeCache:
    """One SQLite file in a folder that survives the run; several processes may use it at once.

    What could not be read is not kept: it is asked again another time.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / CACHE_FILE
        self._decoder = msgspec.json.Decoder(CachedVerdict)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS verdicts (question TEXT PRIMARY KEY, verdict BLOB NOT NULL)"
            )

    def find(self, question: str) -> CachedVerdict | None:
        """The verdict on the question with this hash, None where there is none yet."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT verdict FROM verdicts WHERE question = ?", (question,)
            ).fetchone()
        try:
            return self._decoder.decode(row[0]) if row else None
        except msgspec.DecodeError:
            return None

    def keep(self, question: str, verdict: CachedVerdict) -> None:
        """Remember a verdict."""
        with self._connection() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (question, msgspec.json.encode(verdict))
            )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            with connection:
                yield connection
        finally:
            connection.close()
