"""Nothing from a log can steer a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cli.terminal import console, plain, progress_bars
from flywheel.progress import listener, listening


@given(st.text())
def test_plain_text_holds_no_escape_sequence(text: str) -> None:
    shown = plain(text)
    assert "\x1b" not in shown
    assert not any(0x80 <= ord(char) < 0xA0 for char in shown)


def test_plain_text_still_says_what_was_there() -> None:
    assert plain("a\x1b[31mb\n\tü 漢") == "a\\x1b[31mb\n\tü 漢"


def test_rich_markup_in_a_message_is_shown_not_obeyed() -> None:
    screen = console()
    with screen.capture() as capture:
        screen.print("[bold]x[/bold] :smile:")
    assert "[bold]x[/bold] :smile:" in capture.get()


def test_progress_without_a_terminal_is_a_line_at_each_quarter(capsys) -> None:  # type: ignore[no-untyped-def]
    with progress_bars() as progress:
        for done in range(101):
            progress("work", done, 100, "x\x1b[0m")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("work: 100/100")
    assert "\x1b" not in "".join(lines)


def test_who_listens_hears_and_stops_hearing() -> None:
    heard = []
    with listening(lambda *report: heard.append(report)):
        listener()("a", 1, 2)
    listener()("b", 1, 2)
    assert heard == [("a", 1, 2)]


def test_half_a_surrogate_pair_reaches_the_terminal_and_a_program_as_an_escape(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import json

    from flywheel.cli.terminal import emit_json

    assert plain("a\ud800b") == "a\\ud800b"
    emit_json({"text": "a\ud800b é"})
    out = capsys.readouterr().out
    assert "é" in out
    assert json.loads(out) == {"text": "a\ud800b é"}
