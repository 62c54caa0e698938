"""Where personal data and secrets stand in a text.

Every pattern starts at the edge of a word and has bounded repeats, so that a text takes time in proportion to its
length, whatever it holds. Where something can be checked (a card's check digit, an address's parts), it is; bare runs
of digits are left alone otherwise, since order numbers and times look the same.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from flywheel.errors import ConfigError

NAME = "name"
PRIORITY = ("key", "email", "card", "ip", "phone", NAME)
"""Where two finds overlap the earlier of these gives the whole stretch its kind."""

NARROW = " .()/\u00a0\u2011-"
"""Characters that may stand between the digits of a telephone number."""

_EMAIL = re.compile(r"(?<![\w.%+'-])[\w.%+'-]{1,64}@(?:\w[\w-]{0,62}\.){1,8}\w[\w-]{1,62}(?!\w)")
_CARD = re.compile(r"(?<![0-9.])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])")
_IP4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IP6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{6,39}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![\w:])"
)
_DIGIT = re.compile(r"[0-9]")
_GAP = f"[{NARROW}]"
_SEVEN_DIGITS = re.compile(rf"[0-9](?:{_GAP}{{0,2}}[0-9]){{6}}")
_PHONES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\w+])\+{_GAP}?[1-9](?:{_GAP}{{0,2}}[0-9]){{6,14}}(?![0-9])",
        rf"(?<![\w.-])00[1-9][0-9]{{0,2}}(?:{_GAP}{{1,2}}[0-9]{{1,6}}){{2,5}}(?![\w])",
        r"(?<![\w.-])(?:1[ .\u2011-])?(?:\([2-9][0-9]{2}\)[ \u00a0]?|[2-9][0-9]{2}[ .\u00a0\u2011-])"
        r"[0-9]{3}[ .\u00a0\u2011-][0-9]{4}(?![\w-])",
        rf"(?<![\w.-])(?![0-9]{{1,2}}[./-][0-9]{{1,2}}[./-])\(?0[1-9][0-9]{{1,4}}\)?{_GAP}{{1,2}}[0-9]{{2,8}}"
        rf"(?:{_GAP}[0-9]{{2,8}}){{0,4}}(?![\w])",
    )
)
_SIGNS_OF_PHONES = ("+", "00", "", "0")
"""What stands in any match of each: looking for it is far cheaper."""
_WORDS_OF_PHONES = ("tel", "phone", "mobile", "cell", "fax", "whatsapp")
_SPOKEN_OF = re.compile(
    r"(?i)(?<!\w)(?:tel(?:ephone|efon)?|phone|mobile|cell|fax|whatsapp)(?: ?(?:number|no|nr))?[ .:#is]{0,5}"
    rf"(\(?[0-9](?:{_GAP}{{0,2}}[0-9]){{6,14}})(?![0-9])"
)
_KEYS = tuple(
    (signs, re.compile(pattern))
    for signs, pattern in (
        (
            ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_"),
            r"(?<![A-Za-z0-9])[spr]k[-_][A-Za-z0-9_-]{16,256}",
        ),
        (("AKIA", "ASIA"), r"(?<![A-Za-z0-9])A[KS]IA[0-9A-Z]{16}(?![0-9A-Za-z])"),
        (
            (
                "ghp_",
                "gho_",
                "ghu_",
                "ghs_",
                "ghr_",
                "github_pat_",
                "glpat-",
                "hf_",
                "nvapi-",
                "npm_",
                "pypi-",
            ),
            r"(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|hf_|nvapi-|npm_|pypi-)[A-Za-z0-9_-]{20,256}",
        ),
        (("xox",), r"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9-]{10,256}"),
        (("AIza",), r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}"),
        (
            ("eyJ",),
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{0,1024}",
        ),
        (
            ("PRIVATE KEY",),
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{1,8192}?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
        ),
        (("earer ", "EARER "), r"(?i)(?<=\bbearer )[A-Za-z0-9._~+/=-]{16,4096}"),
    )
)
"""Shapes of keys, and letters of which one has to be there: looking for those is far cheaper."""
_SIGNS_OF_ASSIGNMENT = ("key", "token", "secret", "passw")
_ASSIGNED_KEY = re.compile(
    r"(?i)(?:api[_ -]?key|access[_ -]?token|auth[_ -]?token|client[_ -]?secret|secret[_ -]?key|passw(?:or)?d)"
    r"(?:[\"' ]{0,2}[:=] {0,2}[\"']?([^\s\"',;]{6,256})| is (?=[^\s\"',;]{0,64}[0-9])([^\s\"',;]{6,256}))"
)

SECRET_FIELD = re.compile(
    r"(?i)(?:^|_|-)(?:api_?key|token|secret|passw(?:or)?d|authorization|private_?key)$|^apikey$|accesstoken$"
)
PHONE_FIELD = re.compile(r"(?i)phone|mobile|(?:^|_)(?:tel|cell|fax|whatsapp)(?:$|_)")
CARD_FIELD_DIGITS = range(13, 20)


_SHORTEST = 6  # characters of an e-mail address: a@b.cd
_WORTH_REMEMBERING = 100  # characters; system prompts come again and again
_MOST_REMEMBERED = 256


class Find(NamedTuple):
    """A stretch of a text, in characters, and what it is."""

    start: int
    end: int
    kind: str


class Detector:
    """Finds what the settings ask for.

    Args:
        kinds: Of `RedactionConfig.kinds`.
        names: Finds names of people in a text, as (start, end) pairs; None where nobody does.
    """

    def __init__(self, kinds: Iterable[str], names: Callable[[str], Iterable[Any]] | None = None) -> None:
        asked = set(kinds)
        self._finders: list[tuple[str, Callable[[str], Iterator[tuple[int, int]]]]] = [
            (kind, _FINDERS[kind]) for kind in PRIORITY if kind in asked
        ]
        self.kinds = frozenset(asked)
        self.names = names
        self._seen: dict[str, list[Find]] = {}

    def find(self, text: str) -> list[Find]:
        """What stands in the text, from its start to its end, without overlaps.

        Raises: ConfigError where the function that finds names fails or returns something else than places.
        """
        if len(text) < _SHORTEST and self.names is None:
            return []
        if len(text) < _WORTH_REMEMBERING:
            return self._find(text)
        found = self._seen.get(text)
        if found is None:
            if len(self._seen) >= _MOST_REMEMBERED:
                self._seen.clear()
            found = self._seen[text] = self._find(text)
        return found

    def _find(self, text: str) -> list[Find]:
        found = [Find(start, end, kind) for kind, finder in self._finders for start, end in finder(text)]
        if self.names is not None:
            found += [Find(start, end, NAME) for start, end in _names(self.names, text)]
        if len(found) < 2:
            return found
        return _joined(found)


def _joined(found: list[Find]) -> list[Find]:
    joined: list[Find] = []
    for find in sorted(found):
        if joined and find.start < joined[-1].end:
            last = joined[-1]
            kind = min(last.kind, find.kind, key=PRIORITY.index)
            joined[-1] = Find(last.start, max(last.end, find.end), kind)
        else:
            joined.append(find)
    return joined


def _names(function: Callable[[str], Iterable[Any]], text: str) -> list[tuple[int, int]]:
    try:
        places = [(int(start), int(end)) for start, end in function(text)]
    except Exception as error:  # the user's code may raise anything; going on would leave names in
        raise ConfigError(
            f"redaction_config.names failed on a text of {len(text)} characters ({type(error).__name__}). It takes a "
            "text and returns (start, end) pairs."
        ) from error
    if any(not 0 <= start < end <= len(text) for start, end in places):
        raise ConfigError(
            "redaction_config.names returned a place outside its text; it has to return (start, end) pairs with "
            "0 <= start < end <= len(text)."
        )
    return places


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


def _cards(text: str) -> Iterator[tuple[int, int]]:
    if not _SEVEN_DIGITS.search(text):
        return
    for match in _CARD.finditer(text):
        if passes_luhn(match[0]):
            yield match.span()


def passes_luhn(text: str) -> bool:
    """Whether the digits of a text end in the check digit that payment cards have."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    if "." in text and _DIGIT.search(text):
        for match in _IP4.finditer(text):
            if all(int(part) < 256 for part in match[0].split(".")):
                yield match.span()
    if "::" in text or text.count(":") > 5:
        for match in _IP6.finditer(text):
            address = (
                match[0].rstrip(":") if match[0].endswith(":") and not match[0].endswith("::") else match[0]
            )
            if any(character.isdigit() for character in address) and _is_address(address):
                yield match.start(), match.start() + len(address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _phones(text: str) -> Iterator[tuple[int, int]]:
    if not _SEVEN_DIGITS.search(text):
        return
    for sign, pattern in zip(_SIGNS_OF_PHONES, _PHONES, strict=True):
        if sign in text:
            for match in pattern.finditer(text):
                if 7 <= sum(character.isdigit() for character in match[0]) <= 15:
                    yield match.span()
    lower = text.lower()
    if any(word in lower for word in _WORDS_OF_PHONES):
        for match in _SPOKEN_OF.finditer(text):
            yield match.span(1)


def _keys(text: str) -> Iterator[tuple[int, int]]:
    for signs, pattern in _KEYS:
        if any(sign in text for sign in signs):
            yield from (match.span() for match in pattern.finditer(text))
    lower = text.lower()
    if not any(sign in lower for sign in _SIGNS_OF_ASSIGNMENT):
        return
    for match in _ASSIGNED_KEY.finditer(text):
        yield match.span(match.lastindex or 0)


_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "key": _keys,
    "email": _emails,
    "card": _cards,
    "ip": _addresses,
    "phone": _phones,
}
