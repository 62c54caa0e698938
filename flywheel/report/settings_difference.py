"""Settings that differ between runs: what a difference of their scores may come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.overrides import load_config
from flywheel.report.escaping import cell
from flywheel.report.numbers import UNKNOWN
from flywheel.report.tables import Row
from flywheel.results import RunResult


class Changed(NamedTuple):
    """One setting of a later run beside the baseline's; None where a run has no such setting, or no value for it."""

    run_id: str
    setting: str
    before: Any
    now: Any


def changed_settings(runs: Sequence[RunResult]) -> list[Changed]:
    """Every setting in which a later run differs from the first, by its path, in the order of the tree.

    Candidates, and whatever else has a name, meet by their names; of one that only one run has, each setting differs.
    A setting that a run does not know, because it is of a version before it, was as its default has it.
    """
    defaults = dict(_flat(load_config(last={"workload_id": "any", "client_id": "any"}).model_dump()))
    baseline = dict(_flat(runs[0].config))
    found = []
    for run in runs[1:]:
        now = dict(_flat(run.config))
        for path in dict.fromkeys([*now, *baseline]):
            before, after = (tree.get(path, defaults.get(path)) for tree in (baseline, now))
            if before != after:
                found.append(Changed(run.run_id, path, before, after))
    return found


def changed_rows(changed: Sequence[Changed]) -> list[Row]:
    """The same as a table."""
    return [
        {
            "run": cell(one.run_id, 16),
            "setting": cell(one.setting),
            "before": _text(one.before),
            "now": _text(one.now),
        }
        for one in changed
    ]


def _flat(tree: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a tree of settings by their path, as `--set` takes it; an empty mapping or list has none."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{at}.{key}" if at else str(key))
    elif isinstance(tree, list) and all(isinstance(entry, Mapping) for entry in tree):
        names = [entry.get("name") or place for place, entry in enumerate(tree)]
        if len(set(names)) < len(names):
            names = list(range(len(tree)))
        for name, entry in zip(names, tree, strict=True):
            yield from _flat(entry, f"{at}.{name}")
    else:
        yield at, tree


def _text(value: Any) -> str:
    return UNKNOWN if value is None else cell(value if isinstance(value, str) else json.dumps(value))
