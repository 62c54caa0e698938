"""Names made from text that users or logs wrote, safe as file names, URL parts and artifact keys."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HASH_LENGTH = 8


def slug(text: str, most: int = 40) -> str:
    """The text as lower-case ASCII letters, digits and single dashes, at most `most` characters.

    A text that is of this form already stays as it is. Of any other, what can be kept is kept, and a hash of
    the whole text is added, so that different texts keep different names: `a/b c:ü` becomes `a-b-c-u-` and
    8 hex digits.

    Args:
        text: Any text, also empty.
        most: Longest result, at least 16.
    """
    if most < 2 * _HASH_LENGTH:
        raise ValueError(f"a slug needs {2 * _HASH_LENGTH} characters or more, not {most}")
    if len(text) <= most and _PLAIN.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    kept = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[: most - _HASH_LENGTH - 1].rstrip("-")
    return f"{kept}-{digest}" if kept else digest


def slug_of(*texts: str, most: int = 60) -> str:
    """One name of several texts, such as a workload and its client, with a hash of all of them at its end.

    Other texts give another name, also where they read the same one behind the other: (`a-b`, `c`) and (`a`, `b-c`).
    """
    return slug(json.dumps(texts, ensure_ascii=False), most)
