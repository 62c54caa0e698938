"""The in-context-learning evaluation set: each item of the base set with examples from training before it.

    OUT/eval_data.jsonl    rows as in the base set, with examples in the request
    OUT/examples.jsonl     {"id", "examples": [ids of the records shown]} of each row, in order
    OUT/not_run.jsonl      {"id", "reason", "detail"} of each item that got fewer than `min_examples`

An item without its examples would be the base item under another name, so it is left out and listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.config import DataSplitConfig, IclConfig
from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.curation.validated_table import numbers
from flywheel.datasets.embedding import Embedder
from flywheel.datasets.evaluation_rows import encode_line, evaluation_row
from flywheel.datasets.example_pool import COLUMNS, ExamplePool, choose
from flywheel.datasets.example_selection import Item, select
from flywheel.datasets.examples import Message, append_text, example_text, insert_turns
from flywheel.datasets.neighbours import VectorSearch
from flywheel.datasets.validated_rows import read_assignment, take_rows
from flywheel.errors import DataError
from flywheel.progress import Progress
from flywheel.records.messages import SYSTEM_ROLES
from flywheel.token_counters import TOKENS_PER_CHAT, message_tokens, tools_tokens
from flywheel.tokens import TokenCounter

STAGE = "in-context examples"
EVAL_FILE = "eval_data.jsonl"
EXAMPLES_FILE = "examples.jsonl"
NOT_RUN_FILE = "not_run.jsonl"
TOO_LONG = "item_too_long"
TOO_FEW = "too_few_examples"
NOT_EMBEDDED = "not_embedded"
MOST_REMEMBERED = 1_000  # prices of system messages and tool lists


def build_icl(
    validated: Path,
    assignment: Path,
    out: Path,
    config: IclConfig,
    split: DataSplitConfig,
    counter: TokenCounter,
    context_length: int,
    progress: Progress,
    embedder: Embedder | None = None,
    search: VectorSearch | None = None,
    fixed: FixedText = NO_FIXED_TEXT,
) -> dict[str, Any]:
    """Write the files above into `out`.

    Args:
        validated, assignment: Directories with the validated table and with the assignment.
        split: The seed and the form of arguments come from here.
        counter: Counts the candidate's tokens.
        context_length: The candidate's context, in tokens; the smaller of it and `max_context_length` counts.
        embedder: Says which examples are close to an item; None compares texts by their characters.
        search: Searches the embedder's vectors; None compares each with each, here.
        fixed: Text that does not make an example a near-copy of an item.

    Returns:
        {"items", "rows", "not_run", "reasons": {reason: items}, "examples": {"min", "mean", "max"},
        "tokens_added": {"total", "mean", "max"}, "pool", "context_length", "counter", "counter_exact"};
        examples and tokens are of the rows written.

    Raises:
        DataError: No item got enough examples, so there is nothing to evaluate.
        RemoteError: The embedder or the search failed.
    """
    context = min(context_length, config.max_context_length)
    table = read_assignment(assignment)
    held_out = table.filter(pc.equal(table["split"], "evaluation"))
    chosen = choose(table, split.random_seed)
    # Both at once: finding rows means reading through the whole table.
    logged = take_rows(validated, np.concatenate([numbers(held_out["row"]), numbers(chosen["row"])]), COLUMNS)
    prices = _Prices(counter)
    pool = ExamplePool(
        chosen, logged.slice(held_out.num_rows), split.parse_function_arguments, prices.of_message, fixed
    )
    calls = _Calls(held_out, logged.slice(0, held_out.num_rows), split.parse_function_arguments)
    own = fixed.own_texts(calls.texts)
    items = [
        _item(row, text, own_text, context, config, prices)
        for row, text, own_text in zip(calls, calls.texts, own, strict=True)
    ]

    out.mkdir(parents=True, exist_ok=True)
    tally = _Tally()
    names = chosen["record_id"].to_pylist()
    with (
        # a search ends when the last item has its examples, and just as well when something fails before
        closing(select(items, pool, config, split.random_seed, embedder, progress, search)) as selected,
        (out / EVAL_FILE).open("wb") as kept,
        (out / EXAMPLES_FILE).open("wb") as lineage,
        (out / NOT_RUN_FILE).open("wb") as not_run,
    ):
        for done, (row, item, examples) in enumerate(zip(calls, items, selected, strict=True)):
            progress(STAGE, done, len(items))
            request, used, added = _compose(row["request"], examples, pool, config, prices, item.budget)
            if used < config.min_examples:
                refusal = _refusal(item, used, config, context)
                not_run.write(encode_line(refusal))
                tally.reasons[refusal["reason"]] += 1
                continue
            kept.write(encode_line({**row, "request": request}))
            shown = [names[position] for position in examples[len(examples) - used :]]
            lineage.write(encode_line({"id": row["id"], "examples": shown}))
            tally.add(used, added)
    progress(STAGE, len(items), len(items))
    if not tally.examples:
        raise DataError(_nothing_to_run(len(items), tally.reasons, config, context))
    return {
        **tally.summary(len(items)),
        "pool": len(pool),
        "context_length": context,
        "counter": counter.name,
        "counter_exact": counter.exact,
    }


class _Calls:
    """The evaluation rows of the base set; they are decoded anew each time, so that one at a time is in
    memory.
    """

    def __init__(self, held_out: pa.Table, logged: pa.Table, parse_function_arguments: bool) -> None:
        self.texts: list[str] = logged["text"].to_pylist()
        self._held_out = held_out.select(["record_id", "cluster", "weight"]).to_pylist()
        self._logged = logged
        self._parse = parse_function_arguments

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for position, assigned in enumerate(self._held_out):
            request, response = (self._logged[name][position].as_py() for name in ("request", "response"))
            yield evaluation_row(
                assigned["record_id"],
                msgspec.json.decode(request),
                msgspec.json.decode(response),
                assigned["cluster"],
                assigned["weight"],
                self._parse,
            )


class _Tally:
    def __init__(self) -> None:
        self.examples: list[int] = []
        self.tokens: list[int] = []
        self.reasons: Counter[str] = Counter()

    def add(self, examples: int, tokens: int) -> None:
        self.examples.append(examples)
        self.tokens.append(tokens)

    def summary(self, items: int) -> dict[str, Any]:
        rows = len(self.examples)
        return {
            "items": items,
            "rows": rows,
            "not_run": items - rows,
            "reasons": dict(sorted(self.reasons.items())),
            "examples": {
                "min": min(self.examples),
                "mean": round(sum(self.examples) / rows, 3),
                "max": max(self.examples),
            },
            "tokens_added": {
                "total": sum(self.tokens),
                "mean": round(sum(self.tokens) / rows, 1),
                "max": max(self.tokens),
            },
        }


class _Prices:
    """What messages and tools cost the candidate, in tokens; a long text that comes again is not counted
    again.
    """

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._known: dict[bytes, int] = {}

    def of_message(self, message: Message) -> int:
        if message.get("role") not in SYSTEM_ROLES:
            return message_tokens(message, self._counter)
        return self._remembered(message, lambda: message_tokens(message, self._counter))

    def of_request(self, request: Mapping[str, Any]) -> int:
        tools = request.get("tools") or request.get("functions")
        of_tools = self._remembered(tools, lambda: tools_tokens(tools, self._counter))
        return TOKENS_PER_CHAT + of_tools + sum(map(self.of_message, request["messages"]))

    def _remembered(self, value: Any, count: Callable[[], int]) -> int:
        key = msgspec.json.encode(value)
        if key not in self._known:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = count()
        return self._known[key]


def _item(
    row: Mapping[str, Any], text: str, own_text: str, context: int, config: IclConfig, prices: _Prices
) -> Item:
    request = row["request"]
    asked = [request.get(key) for key in ("max_tokens", "max_completion_tokens")]
    for_answer = max([config.reserved_tokens, *(n for n in asked if isinstance(n, int))])
    budget = context - for_answer - prices.of_request(request)
    return Item(row["id"], row["cluster"], text, _offered(request), budget, own_text)


def _offered(request: Mapping[str, Any]) -> frozenset[str]:
    """Names of the tools that the answer may call."""
    if request.get("tool_choice") == "none":
        return frozenset()
    functions = [tool.get("function", {}) for tool in request.get("tools") or ()]
    return frozenset(str(f.get("name")) for f in [*functions, *(request.get("functions") or ())])


def _compose(
    request: Mapping[str, Any],
    chosen: list[int],
    pool: ExamplePool,
    config: IclConfig,
    prices: _Prices,
    budget: int,
) -> tuple[dict[str, Any], int, int]:
    """The request with its examples, how many there are, and the tokens that they add.

    Selection counts examples as turns, which is what they cost there. As text they may cost more, so those
    chosen last in closeness, which stand first, are left out until the rest fits.
    """
    messages: list[Message] = request["messages"]
    while chosen:
        turns = [pool.turns(position) for position in chosen]
        if config.placement == "turns":
            longer = insert_turns(messages, turns)
            added = sum(map(pool.tokens, chosen))
        else:
            longer = append_text(messages, [example_text(example) for example in turns])
            added = prices.of_message(longer[0])
            if len(longer) == len(messages):
                added -= prices.of_message(messages[0])
        if added <= budget:
            return {**request, "messages": longer}, len(chosen), added
        chosen = chosen[1:]
    return dict(request), 0, 0


def _refusal(item: Item, used: int, config: IclConfig, context: int) -> dict[str, str]:
    if item.budget <= 0:
        detail = (
            f"The item and its answer leave no room for examples in a context of {context} tokens "
            f"({-item.budget} over)."
        )
        return {"id": item.record_id, "reason": TOO_LONG, "detail": detail}
    if not item.has_vector:
        detail = "The embedder made no vector of the item's text, so no example is known to be close to it."
        return {"id": item.record_id, "reason": NOT_EMBEDDED, "detail": detail}
    detail = f"{used} examples fit into {item.budget} tokens; min_examples is {config.min_examples}."
    return {"id": item.record_id, "reason": TOO_FEW, "detail": detail}


def _nothing_to_run(items: int, reasons: Counter[str], config: IclConfig, context: int) -> str:
    of_each = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    advice = {
        TOO_LONG: f"Use a candidate with a longer context than {context:,} tokens, or lower "
        "icl_config.reserved_tokens.",
        NOT_EMBEDDED: "See what the endpoint of icl_config.embedder says of these texts, or leave it out.",
        TOO_FEW: "An example may call only tools that the item offers, and not be nearly the item itself: bring more "
        "records, lower icl_config.min_examples, or raise icl_config.max_similarity.",
    }
    return (
        f"None of the {items:,} evaluation items got as many in-context examples as icl_config.min_examples asks for, "
        f"{config.min_examples} ({of_each}). {advice[reasons.most_common(1)[0][0]]}"
    )


def without_examples(counts: Mapping[str, Any]) -> list[str]:
    """A sentence on the items that got no examples, with what the others got; none where all got some.

    `counts`: what `build_icl` returned.
    """
    if not counts.get("not_run"):
        return []
    shown, reasons = counts["examples"], counts["reasons"]
    of_each = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    return [
        f"{counts['not_run']:,} of {counts['items']:,} items got no in-context examples and are unscored ({of_each}); "
        f"the others got {shown['mean']:g} on average ({shown['min']} to {shown['max']}), "
        f"{counts['tokens_added']['mean']:,.0f} tokens."
    ]
