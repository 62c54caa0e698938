"""What every page says of commands and settings is so, and no setting is advertised that nothing reads."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

from flywheel.cli.main import COMMANDS, build_parser
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.overrides import load_config
from flywheel.settings_reference import LISTS, settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "exporter" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SOURCES = ("flywheel", "blocks", "tasks", "flows")
NOBODY = {"workload_id": "w", "client_id": "c"}


def text_of(page: Path) -> str:
    """The page with continued lines of commands joined."""
    return page.read_text(encoding="utf-8").replace("\\\n", " ")


def blocks_of(page: Path) -> list[str]:
    """The page's blocks of code."""
    return re.findall(r"```\w*\n(.*?)```", text_of(page), flags=re.S)


def spans_of(page: Path) -> list[str]:
    """Code within the page's sentences."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text_of(page), flags=re.S))


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def options_of(command: str) -> set[str]:
    """What the command takes."""
    (commands,) = (a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return set(commands[command]._option_string_actions)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_line_of_a_page_parses(page: Path) -> None:
    lines = re.findall(r"^(?:\S*/)?flywheel +(.*)$", "\n".join(blocks_of(page)), flags=re.M)
    for line in lines:
        build_parser().parse_args(shlex.split(re.sub(r"\s#.*| \.\.\.", "", line)))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_a_sentence_names_has_its_options(page: Path) -> None:
    for span in spans_of(page):
        words = span.split()
        if words[0] == "flywheel" and len(words) > 1 and words[1].islower():
            assert words[1] in COMMANDS, span
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= options_of(words[1]), span


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_setting_that_a_page_sets_is_one(page: Path) -> None:
    pattern = r"--set (?:'([^']+)'|([^\s'`]+=[^\s'`]*))"
    for code in [*(line for block in blocks_of(page) for line in block.split("\n")), *spans_of(page)]:
        sets = [quoted or plain for quoted, plain in re.findall(pattern, code)]
        if sets and not re.search(r"path=value|=\.\.\.|NAME|KEY", code):
            load_config(sets=sets, last=NOBODY)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_setting_that_a_page_names_is_one(page: Path) -> None:
    sections = {path.partition(".")[0] for path, _, _ in settings(FlywheelConfig) if "." in path}
    known = {path for path, _, _ in settings(FlywheelConfig)}
    known |= {path.rpartition(".")[0] for path in known}
    known |= {f"{at}.{path}" for at, model in LISTS.items() for path, _, _ in settings(model)}
    found = re.findall(rf"`((?:{'|'.join(sorted(sections))})\.[a-z_.]+)`", text_of(page))
    assert sorted(set(found) - known) == []


def test_every_setting_is_read_by_some_code() -> None:
    read: set[str] = set()
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    models = [FlywheelConfig, CandidateConfig, *LISTS.values()]
    paths = [path for model in models for path, _, _ in settings(model)]
    assert [path for path in paths if path.rpartition(".")[2] not in read] == []


def test_a_setting_that_is_none_would_be_found() -> None:
    with pytest.raises(ConfigError, match="customizer_config"):
        load_config(sets=["customizer_config.adapter_alpha=1"], last=NOBODY)
