"""Keeping an import out that a library does on its own account.

pyarrow imports pandas, if it can, when the first array is made of Python values. We never hand it a data
frame, and the import takes up to a second of a command that is done in five.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out of this process", name=fullname)
        return None


def be_lean() -> None:
    """From now on `import pandas` fails in this process, and pyarrow, here and in workers, gives memory back.

    Call it before pyarrow is imported, and only in a process that runs one command and ends.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())
