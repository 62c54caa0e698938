"""Functions of the user's own, by the name that stands in the settings."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.errors import ConfigError


def load_function(name: str) -> Callable[..., Any]:
    """The function that 'module:function' or 'path/to/file.py:function' names. Importing the module runs it.

    Raises: ConfigError where there is no such module, file or function, or its import fails.
    """
    place, colon, function_name = name.rpartition(":")
    if not colon or not place or not function_name:
        raise ConfigError(
            f"{name!r} names no function; write 'module:function' or 'path/to/file.py:function'."
        )
    try:
        module = _from_file(place) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # the user's code runs on import and may raise anything
        raise ConfigError(
            f"{place!r} cannot be imported for {name!r} ({type(error).__name__}: {error}); is it installed where the "
            "flow runs?"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{place!r} has no function {function_name!r}; correct {name!r}.")
    found: Callable[..., Any] = function
    return found


def _from_file(place: str) -> Any:
    path = Path(place).expanduser()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {place}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
