"""Gives evaluation items their in-context examples and writes them; a part of the items at a time, in any process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.config import IclConfig
from flywheel.curation.texts.fixed_text import FixedText
from flywheel.curation.validated_table import numbers
from flywheel.datasets.embedding import Embedder
from flywheel.datasets.evaluation_rows import encode_line, evaluation_row
from flywheel.datasets.example_pool import COLUMNS, ExamplePool, choose
from flywheel.datasets.example_selection import Item, select
from flywheel.datasets.examples import Message, append_text, example_text, insert_turns
from flywheel.datasets.neighbours import VectorSearch
from flywheel.datasets.validated_rows import read_assignment, take_rows
from flywheel.progress import Progress, silent
from flywheel.records.messages import SYSTEM_ROLES
from flywheel.token_counters import TOKENS_PER_CHAT, message_tokens, tools_tokens
from flywheel.tokens import TokenCounter

STAGE = "in-context examples"
EVAL_FILE = "eval_data.jsonl"
EXAMPLES_FILE = "examples.jsonl"
NOT_RUN_FILE = "not_run.jsonl"
FILES = (EVAL_FILE, EXAMPLES_FILE, NOT_RUN_FILE)
TOO_LONG = "item_too_long"
TOO_FEW = "too_few_examples"
NOT_EMBEDDED = "not_embedded"
MOST_REMEMBERED = 1_000  # prices of system messages and tool lists


class IclJob(NamedTuple):
    """What `write_items` is to do: items `begin` to `end` (None: to the last) of the evaluation set, in the order of
    their record ids, into `FILES` in `out`.

    `validated` and `assignment` are directories with the tables, `context` is in tokens; `fixed` is text that does not
    make an example a near-copy of an item.
    """

    validated: Path
    assignment: Path
    out: Path
    config: IclConfig
    seed: int
    parse_function_arguments: bool
    counter: TokenCounter
    context: int
    fixed: FixedText
    begin: int = 0
    end: int | None = None


class Tally:
    """What the rows that were written got, one entry a row in their order; why items were left out; the pool's size."""

    def __init__(self, pool: int) -> None:
        self.pool = pool
        self.examples: list[int] = []
        self.tokens: list[int] = []
        self.reasons: Counter[str] = Counter()

    def add(self, examples: int, tokens: int) -> None:
        """Count a row."""
        self.examples.append(examples)
        self.tokens.append(tokens)

    def extend(self, later: Tally) -> None:
        """Add what the items after these got."""
        self.examples += later.examples
        self.tokens += later.tokens
        self.reasons += later.reasons


def write_items(
    job: IclJob,
    progress: Progress = silent,
    embedder: Embedder | None = None,
    search: VectorSearch | None = None,
) -> Tally:
    """Choose the examples of the job's items and write its files; arguments as of `flywheel.datasets.icl.build_icl`."""
    config = job.config
    table = read_assignment(job.assignment)
    held_out = table.filter(pc.equal(table["split"], "evaluation"))[job.begin : job.end]
    chosen = choose(table, job.seed)
    # Both at once: finding rows means reading through the whole table.
    logged = take_rows(
        job.validated, np.concatenate([numbers(held_out["row"]), numbers(chosen["row"])]), COLUMNS
    )
    prices = _Prices(job.counter)
    parse = job.parse_function_arguments
    pool = ExamplePool(chosen, logged.slice(held_out.num_rows), parse, prices.of_message, job.fixed)
    calls = _Calls(held_out, logged.slice(0, held_out.num_rows), parse)
    own = job.fixed.own_texts(calls.texts)
    items = [
        _item(row, text, own_text, job.context, config, prices)
        for row, text, own_text in zip(calls, calls.texts, own, strict=True)
    ]
    job.out.mkdir(parents=True, exist_ok=True)
    tally = Tally(len(pool))
    names = chosen["record_id"].to_pylist()
    with (
        # a search ends when the last item has its examples, and just as well when something fails before
        closing(select(items, pool, config, job.seed, embedder, progress, search)) as selected,
        (job.out / EVAL_FILE).open("wb") as kept,
        (job.out / EXAMPLES_FILE).open("wb") as lineage,
        (job.out / NOT_RUN_FILE).open("wb") as not_run,
    ):
        for done, (row, item, examples) in enumerate(zip(calls, items, selected, strict=True)):
            progress(STAGE, done, len(items))
            request, used, added = _compose(row["request"], examples, pool, config, prices, item.budget)
            if used < config.min_examples:
                refusal = _refusal(item, used, config, job.context)
                not_run.write(encode_line(refusal))
                tally.reasons[refusal["reason"]] += 1
                continue
            kept.write(encode_line({**row, "request": request}))
            shown = [names[position] for position in examples[len(examples) - used :]]
            lineage.write(encode_line({"id": row["id"], "examples": shown}))
            tally.add(used, added)
    progress(STAGE, len(items), len(items))
    return tally


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
