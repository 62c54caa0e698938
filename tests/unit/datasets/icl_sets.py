"""Evaluation sets with examples, made from questions of which no two are near copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.config import DataSplitConfig, IclConfig
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.datasets.icl import EVAL_FILE, NOT_RUN_FILE, build_icl
from flywheel.progress import silent
from flywheel.token_counters import UpperBoundCounter
from tests.unit.datasets.tables import Call, read_lines, write_tables

COUNTER = UpperBoundCounter()
THINGS = ("kettle", "trousers", "headphones", "bicycle pump", "garden chair", "wrist watch", "lamp", "dish")
PLACES = ("Bern", "Lagos", "Osaka", "Quito", "Tallinn", "Perth", "Cardiff", "Bergen")
WISHES = {
    "track_order": "where is the {} that you sent to {} last Monday?",
    "cancel_order": "I changed my mind, stop the {} going to {} before it leaves",
    "refund": "money back please, the {} delivered in {} came broken",
    "change_address": "send the {} to my new flat in {} instead of the old one",
    "talk_to_human": "a person, not a robot, about the {} and your shop in {}",
    "": "does your {} come in green, and is the store in {} open today?",
}


def calls_of(train_each: int = 5, evaluation_each: int = 1) -> list[Call]:
    calls = []
    for kind, (name, wish) in enumerate(WISHES.items()):
        for n in range(train_each + evaluation_each):
            question = wish.format(THINGS[(n + kind) % 8], PLACES[(3 * n + kind) % 8])
            split = "train" if n < train_each else "evaluation"
            calls.append(Call(f"{kind}-{n}", question, name, split))
    return calls


def icl(
    folder: Path,
    calls: list[Call],
    context: int = 32_768,
    seed: int = 0,
    fixed: FixedText = NO_FIXED_TEXT,
    **settings: Any,
) -> tuple[list[Any], list[Any], dict[str, Any]]:
    validated, assignment = write_tables(folder, calls)
    split = DataSplitConfig(random_seed=seed)
    out, config = folder / "icl", IclConfig(**settings)
    stats = build_icl(validated, assignment, out, config, split, COUNTER, context, silent, fixed=fixed)
    return read_lines(folder / "icl" / EVAL_FILE), read_lines(folder / "icl" / NOT_RUN_FILE), stats


def questions_of(row: Any) -> list[str]:
    """The examples' questions, without the item's own."""
    return [m["content"] for m in row["request"]["messages"] if m["role"] == "user"][:-1]


def tools_shown(row: Any) -> list[str]:
    """The tool of each example, "" for a plain answer."""
    answers = [m for m in row["request"]["messages"] if m["role"] == "assistant"]
    return [m["tool_calls"][0]["function"]["name"] if m.get("tool_calls") else "" for m in answers]
