"""What the documents say is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from flywheel.cli.main import COMMANDS, build_parser
from flywheel.settings_reference import settings_markdown

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines(name: str) -> list[str]:
    """Lines of the README's code blocks that call a command, continuation lines joined."""
    blocks = re.findall(r"```(?:\w*)\n(.*?)```", README, flags=re.S)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [
        line.split("  #")[0].strip()
        for line in text.splitlines()
        if re.match(rf"(\.venv/bin/)?{name} ", line)
    ]


def test_the_settings_reference_is_what_the_settings_are() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_markdown()


@pytest.mark.parametrize("line", command_lines("flywheel"))
def test_every_command_line_in_the_readme_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in COMMANDS
    build_parser().parse_args(words)


def test_the_readme_shows_every_command() -> None:
    shown = {shlex.split(line)[1] for line in command_lines("flywheel")}
    assert set(COMMANDS) - shown <= {"demo"}  # `make demo` shows that one


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, flags=re.M))))
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, flags=re.M)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(
        re.findall(
            r"`((?:flywheel|blocks|tasks|flows|tests|benchmarks|deployments|docs)/[\w/.]+\.\w+)`", text
        )
    )
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [name for name in named if not (ROOT / name).exists() and not (document.parent / name).exists()]
    assert not missing


def test_every_command_shows_an_example_that_parses() -> None:
    import importlib

    for name in COMMANDS:
        module = importlib.import_module(f"flywheel.cli.{name}")
        words = shlex.split(module.EXAMPLE)
        assert words[:2] == ["flywheel", name]
        build_parser().parse_args(words[1:])
