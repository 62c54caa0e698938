"""What `prefect block register -m blocks.prefect_blocks` puts into the UI is what the pages send people to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prefect.blocks.core import Block

from blocks import prefect_blocks

ROOT = Path(__file__).resolve().parents[3]
PAGES = {
    page.name: page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
REGISTERED = [
    found for found in vars(prefect_blocks).values() if isinstance(found, type) and issubclass(found, Block)
]
TYPES = {found._block_type_name: found._block_type_slug for found in REGISTERED if found._block_type_slug}


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "flywheel-" in text])
def test_every_block_that_a_page_names_is_registered_under_that_name(page: str) -> None:
    text = " ".join(PAGES[page].split())
    assert set(re.findall(r"\*(Flywheel [A-Z][^*]*)\*", text)) <= set(TYPES)
    assert set(re.findall(r"\b(flywheel-[a-z-]+)/[<a-z]", text)) <= set(TYPES.values())


def test_every_port_has_blocks_and_none_is_named_twice() -> None:
    assert (
        len(TYPES)
        == len(set(TYPES.values()))
        == len({found for found in REGISTERED if found._block_type_slug})
    )
    assert {"flywheel-elasticsearch-logs", "flywheel-mongodb-runs", "flywheel-url-datasets"} <= set(
        TYPES.values()
    )
    assert {"flywheel-nemo-microservices", "flywheel-openai-compatible", "flywheel-vllm"} <= set(
        TYPES.values()
    )
