"""What the page for application engineers shows is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flywheel.cli.main import build_parser

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "docs" / "application-logs.md", ROOT / "exporter" / "README.md"]


def blocks(page: Path, kind: str) -> list[str]:
    fenced = page.read_text(encoding="utf-8").split("```")[1::2]
    return [block.removeprefix(kind) for block in fenced if block.partition("\n")[0] == kind]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_runs_in_the_order_of_the_page(page: Path, tmp_path: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    environment = {"OPENAI_API_KEY": "none", "PATH": ""}
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("line", re.findall(r"^flywheel .*$", "\n".join(blocks(PAGES[0], "")), flags=re.M))
def test_every_command_line_parses(line: str) -> None:
    build_parser().parse_args(shlex.split(line)[1:])
