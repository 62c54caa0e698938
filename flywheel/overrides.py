"""Merges YAML files and `key.path=value` settings over a tree of settings.

A partial override changes what it names and leaves the rest as it was in effect, not as a class default has
it. In a list of models an item is addressed by its position or its name (`candidates.0.gpus=2`,
`candidates.small.gpus=2`); a list given as a whole replaces the list.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from flywheel.config import FlywheelConfig
from flywheel.config.base import SECRET, Settings
from flywheel.errors import ConfigError

Tree = dict[str, Any]


def load_config(
    file: Path | None = None,
    sets: Sequence[str] = (),
    base: FlywheelConfig | Mapping[str, Any] | None = None,
    last: Mapping[str, Any] | None = None,
) -> FlywheelConfig:
    """The effective settings: `base`, over it the file, over that `sets` in order, over that `last`.

    Args:
        file: A YAML (or JSON) file with a mapping of settings, any part of the tree.
        sets: "key.path=value"; the value is read as YAML, and "none" means no value where that is allowed.
        base: Settings in effect so far, whole or in part; what it lacks has the defaults.
        last: Settings that win over all others, as a tree.

    Raises:
        ConfigError: An unknown key (the nearest one is named), or a value that is not allowed, a sentence
        each.
    """
    tree = _defaults(FlywheelConfig)
    if isinstance(base, FlywheelConfig):
        tree = base.model_dump()
    elif base:
        tree = merge(tree, base)
    if file is not None:
        tree = merge(tree, read_settings_file(file))
    for setting in sets:
        tree = merge(tree, parse_setting(setting))
    if last:
        tree = merge(tree, last)
    return validated(_with_own_settings_of_candidates(tree))


def with_overrides(config: FlywheelConfig, overrides: Mapping[str, Any]) -> FlywheelConfig:
    """`config` with single settings replaced, e.g. {"data_split_config.eval_size": 50}. Raises: ConfigError."""
    tree: Tree = config.model_dump()
    for path, value in overrides.items():
        override = value
        for key in reversed(path.split(".")):
            override = {key: override}
        tree = merge(tree, override)
    return validated(_with_own_settings_of_candidates(tree))


def merge(tree: Mapping[str, Any], override: Mapping[str, Any]) -> Tree:
    """`tree` with `override` over it; neither is changed. Raises: ConfigError for an unknown key."""
    return _merge_model(FlywheelConfig, tree, override, "")


def validated(tree: Mapping[str, Any]) -> FlywheelConfig:
    """The tree as settings. Raises: ConfigError with a sentence for each field that is not allowed."""
    try:
        return FlywheelConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(problem) for problem in error.errors())) from error


class _Loader(yaml.SafeLoader):
    """YAML in which no key stands twice: of two values one would be lost without a word, and which is chance."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in written:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands twice", problem_mark=key.start_mark)
            written.add(key.value)
        return super().construct_mapping(node, deep)


def read_settings_file(path: Path) -> Tree:
    """The mapping in a YAML file, an empty one in an empty file. Raises: ConfigError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The settings file {path} is not UTF-8 text; save it as UTF-8.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"The settings file {path}{line} is not YAML: {_problem(error)}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"The settings file {path} must hold a mapping such as 'data_split_config: ...'.")
    return content


def _problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or "unreadable"


def parse_setting(setting: str) -> Tree:
    """ "a.b=1" as {"a": {"b": 1}}. Raises: ConfigError."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(
            f"--set {setting!r} is not key.path=value; write e.g. data_split_config.eval_size=50."
        )
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"The value in --set {setting!r} is not YAML ({_problem(error)}); put it in quotes."
        ) from error
    if _expects_text(FlywheelConfig, keys) and not isinstance(value, str):
        value = text  # workload_id=007 names a workload, not a number
    for key in reversed(keys):
        value = {key: value}
    tree: Tree = value
    return tree


# --- merging along the models
# ----------------------------------------------------------------------------------


def _merge_model(
    model: type[BaseModel], tree: Mapping[str, Any], override: Mapping[str, Any], at: str
) -> Tree:
    merged = dict(tree)
    for key, value in override.items():
        if key not in model.model_fields:
            raise ConfigError(_unknown(str(key), list(model.model_fields), at))
        annotation = model.model_fields[key].annotation
        merged[key] = _merge_value(annotation, tree.get(key), value, f"{at}{key}")
    return merged | model.displaced(override) if issubclass(model, Settings) else merged


def _merge_value(annotation: Any, old: Any, new: Any, at: str) -> Any:
    if isinstance(new, str) and new.lower() == "none" and _allows_none(annotation):
        return None
    model = _model_in(annotation)
    if model is not None and isinstance(new, Mapping):
        return _merge_model(model, old if isinstance(old, Mapping) else {}, new, f"{at}.")
    item = _list_item_in(annotation)
    if item is None:
        return new
    if isinstance(new, Mapping):
        return _merge_items(item, old if isinstance(old, list) else [], new, at)
    if isinstance(new, list):
        return [
            _merge_model(item, {}, entry, f"{at}.{position}.") if isinstance(entry, Mapping) else entry
            for position, entry in enumerate(new)
        ]
    return new


def _merge_items(item: type[BaseModel], old: list[Any], new: Mapping[str, Any], at: str) -> list[Any]:
    merged = list(old)
    names = [entry.get("name") or entry.get("model") for entry in old]
    for key, value in new.items():
        position = int(key) if str(key).isdecimal() else names.index(key) if key in names else None
        if position is None or position > len(merged):
            known = [*map(str, range(len(old))), *filter(None, names)]
            raise ConfigError(_unknown(str(key), known, f"{at}."))
        if position == len(merged):  # one past the end adds an item
            merged.append({})
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"Set one field of {at}.{key}, such as {at}.{key}.{next(iter(item.model_fields))}."
            )
        merged[position] = _merge_model(item, merged[position], value, f"{at}.{key}.")
    return merged


def _with_own_settings_of_candidates(tree: Tree) -> Tree:
    """A candidate's own training or adapter settings, if partial, stand over the run's, which are in effect."""
    candidates = tree.get("candidates")
    if not isinstance(candidates, list):
        return tree
    whole = []
    for candidate in candidates:
        own = dict(candidate) if isinstance(candidate, Mapping) else candidate
        for part in ("training_config", "lora_config"):
            if isinstance(own, dict) and isinstance(own.get(part), Mapping):
                own[part] = {**tree[part], **own[part]}
        whole.append(own)
    return {**tree, "candidates": whole}


# --- what the models say
# ---------------------------------------------------------------------------------------


def _defaults(model: type[BaseModel]) -> Tree:
    """The tree of defaults; required fields are absent from it."""
    return {
        name: _dumped(field.get_default(call_default_factory=True))
        for name, field in model.model_fields.items()
        if not field.is_required()
    }


def _dumped(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_dumped(entry) for entry in value] if isinstance(value, list) else value


def _choices(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _allows_none(annotation: Any) -> bool:
    return type(None) in _choices(annotation)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next((choice for choice in _choices(annotation) if _is_model(choice)), None)


def _list_item_in(annotation: Any) -> type[BaseModel] | None:
    for choice in _choices(annotation):
        if typing.get_origin(choice) is list:
            item: Any = typing.get_args(choice)[0]
            return item if _is_model(item) else None
    return None


def _expects_text(model: type[BaseModel], keys: Sequence[str]) -> bool:
    field = model.model_fields.get(keys[0])
    if field is None:
        return False
    if len(keys) == 1:
        return field.annotation is str
    inner, rest = _model_in(field.annotation), keys[1:]
    if inner is None:
        inner, rest = _list_item_in(field.annotation), keys[2:]
    return bool(inner is not None and rest and _expects_text(inner, rest))


# --- sentences
# -------------------------------------------------------------------------------------------------


def _unknown(key: str, known: Sequence[str], at: str) -> str:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    advice = f"did you mean {at}{nearest[0]}?" if nearest else f"known here: {', '.join(known)}."
    return f"There is no setting {at}{key}; {advice}"


def _sentence(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    if problem["type"] == "missing":
        return f"{place} is missing; name it in the settings file or with --set {place}=..."
    if not place:
        return f"The settings do not agree: {message}."
    given = problem.get("input")
    if problem["type"] == "string_pattern_mismatch" and (description := _description(problem["loc"])):
        return f"{place} is {given!r}, which is not written as it has to be. {description}"
    hidden = isinstance(given, Mapping | list) or problem["type"] == SECRET
    shown = "" if hidden else f" (it is {given!r})"
    return f"{place}: {message[:1].lower()}{message[1:]}{shown}."


def _description(place: Sequence[str | int]) -> str:
    """What the setting at that place is for, and how it is written; nothing where the place is none of ours."""
    model: type[BaseModel] | None = FlywheelConfig
    field = None
    for key in place:
        if isinstance(key, int):
            continue  # in a list, whose items have one model
        field = model.model_fields.get(key) if model is not None else None
        annotation = field.annotation if field is not None else None
        model = _model_in(annotation) or _list_item_in(annotation)
    return (field.description or "") if field is not None else ""
