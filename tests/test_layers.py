"""The house rules that a test can hold: who imports whom, how long a file may be, what shadows what."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "flywheel": set(),
    "blocks": {"flywheel"},
    "tasks": {"flywheel", "blocks"},
    "flows": {"flywheel", "blocks", "tasks"},
}
FORBIDDEN_IN_DOMAIN = {
    "prefect",
    "httpx",
    "aiohttp",
    "requests",
    "socket",
    "sqlite3",
    "elasticsearch",
    "pymongo",
}
EXPORTER = ROOT / "exporter" / "flywheel_exporter"
SOURCES = sorted(
    path for folder in (*(ROOT / layer for layer in LAYERS), EXPORTER) for path in folder.rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_LINES = 320


def imports_of(path: Path) -> set[str]:
    """Top-level names of every import in a file, wherever in the file it stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def is_command_line(path: Path) -> bool:
    return path.is_relative_to(ROOT / "flywheel" / "cli")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_to_lower_layers_only(path: Path) -> None:
    if is_command_line(path):  # it starts flows, so it stands on top of everything
        return
    layer = path.relative_to(ROOT).parts[0]
    upward = (imports_of(path) & set(LAYERS)) - LAYERS.get(layer, set()) - {layer}
    assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.is_relative_to(ROOT / "flywheel")], ids=lambda p: p.name
)
def test_the_domain_knows_no_network_no_database_and_no_prefect(path: Path) -> None:
    if not is_command_line(path):
        assert not imports_of(path) & FORBIDDEN_IN_DOMAIN


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_hold_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", sorted(EXPORTER.rglob("*.py")), ids=lambda path: path.name)
def test_the_exporter_leans_on_nothing_but_httpx(path: Path) -> None:
    """It is installed into applications, next to whatever they use."""
    others = imports_of(path) - set(sys.stdlib_module_names) - {"flywheel_exporter"}
    assert others <= {"httpx"}


def test_no_file_in_flows_hides_a_package() -> None:
    taken = {*LAYERS, "deployments", "tests", "datasets", "evaluate", "pandas", "httpx"}
    assert not taken & {path.stem for path in (ROOT / "flows").glob("*.py")}


def test_no_file_is_named_utils() -> None:
    assert not [path for path in SOURCES if path.stem in {"utils", "util", "helpers", "common", "misc"}]
