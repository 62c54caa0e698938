"""The command lines that the page on results shows are ones that the command takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from flywheel.cli.main import build_parser
from flywheel.decisions import CHECKLIST

PAGE = (Path(__file__).parents[3] / "docs" / "results-and-decisions.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^(flywheel .*)$", PAGE, re.M) + re.findall(r"`(flywheel [^`\n]+)`", PAGE)


@pytest.mark.parametrize(
    "line", [line for line in SHOWN if "..." not in line and " " in line.removeprefix("flywheel ")]
)
def test_every_command_line_on_the_page_parses(line: str) -> None:
    build_parser().parse_args(shlex.split(line)[1:])


def test_the_page_names_every_point_of_the_checklist() -> None:
    assert all(f"| `{point}` |" in PAGE for point in CHECKLIST)
