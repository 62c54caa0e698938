"""What counts as personal data, and what only looks like it."""

from __future__ import annotations

import pytest

from flywheel.config.redaction import ALL_KINDS
from flywheel.errors import ConfigError
from flywheel.redaction.detectors import Detector, passes_luhn

DETECTOR = Detector(ALL_KINDS)


def found(text: str) -> list[tuple[str, str]]:
    return [(find.kind, text[find.start : find.end]) for find in DETECTOR.find(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to anna.b+shop@ex-ample.co.uk, please", "email", "anna.b+shop@ex-ample.co.uk"),
        ("żaneta@przykład.pl", "email", "żaneta@przykład.pl"),
        ("card 4111 1111 1111 1111.", "card", "4111 1111 1111 1111"),
        ("card 5500-0000-0000-0004", "card", "5500-0000-0000-0004"),
        ("378282246310005 is Amex", "card", "378282246310005"),
        ("from 10.20.30.40, twice", "ip", "10.20.30.40"),
        ("from fe80::1ff:fe23:4567:890a.", "ip", "fe80::1ff:fe23:4567:890a"),
        ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "ip", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
        ("call +48 601 234 567!", "phone", "+48 601 234 567"),
        ("call +14155552671", "phone", "+14155552671"),
        ("call (555) 234-5678", "phone", "(555) 234-5678"),
        ("call 030 1234567", "phone", "030 1234567"),
        ("tel. 5551234567", "phone", "5551234567"),
        ("my phone number is 5551234", "phone", "5551234"),
        ("use sk-abcdefghijklmnopqrstuvwx", "key", "sk-abcdefghijklmnopqrstuvwx"),
        ("AKIAIOSFODNN7EXAMPLE", "key", "AKIAIOSFODNN7EXAMPLE"),
        ("Authorization: Bearer abcdefghijklmnopqrstu1", "key", "abcdefghijklmnopqrstu1"),
        ("password: hunter22", "key", "hunter22"),
        ("the password is hunter22", "key", "hunter22"),
    ],
)
def test_personal_data_is_found_and_no_more_than_it(text: str, kind: str, value: str) -> None:
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112",  # its check digit is wrong
        "order 5551234567 of 1700000000",
        "on 01.02.2024 10:20, that is 2024-02-01T10:20:30Z",
        "version 1.2.3, pi is 3.14159265358979",
        "300.400.500.600",
        "std::vector<a::b>",
        "a @ b, user@localhost",
        "the password is required",
        "a task-force of risk-takers",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert found(text) == []


def test_only_the_kinds_that_are_asked_for_are_found() -> None:
    assert [find.kind for find in Detector(["ip"]).find("a@b.cd from 10.0.0.1")] == ["ip"]


def test_overlapping_finds_become_one_so_that_no_rest_of_a_name_stays() -> None:
    text = "Anna Bell <anna@bell.com>"
    detector = Detector(ALL_KINDS, lambda t: [(0, 4), (t.index("anna"), t.index("anna") + 9)])
    assert [(find.kind, text[find.start : find.end]) for find in detector.find(text)] == [
        ("name", "Anna"),
        ("email", "anna@bell.com"),
    ]


def test_a_function_for_names_that_fails_or_points_nowhere_stops_the_run() -> None:
    with pytest.raises(ConfigError, match="failed on a text"):
        Detector([], lambda text: 1 / 0).find("Anna was here")  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match="outside its text"):
        Detector([], lambda text: [(3, 900)]).find("Anna was here")


def test_long_texts_take_time_in_proportion_to_their_length() -> None:
    hostile = [
        "a" * 400_000,
        "1 " * 200_000,
        "a@" * 200_000,
        "1." * 200_000,
        "::1" * 130_000,
        "eyJ" * 130_000,
    ]
    for text in hostile:
        DETECTOR.find(text)  # the time limit of tests is the assertion: quadratic work would take hours


def test_the_check_digit_of_cards_is_luhns() -> None:
    assert passes_luhn("79927398713")
    assert not any(passes_luhn(f"7992739871{digit}") for digit in "012456789")
