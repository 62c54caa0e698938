"""The notebook on results runs from its first cell to its last, on the stores of a home."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[3] / "docs" / "results.ipynb"


async def test_every_cell_runs_and_the_last_table_has_the_divergent_answers(home: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        code = compile("".join(cell["source"]), NOTEBOOK.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)
        if inspect.isawaitable(waiting):
            await waiting
        assert cell["outputs"] == []  # nobody's data is kept with it
    assert names["run"].run_id == "second"
    assert list(names["divergent"]["kind"]) == ["wrong arguments"] * 2
