"""Writes production logs of any size, of which the truth about repeats is known.

    python -m benchmarks.generate_log --records 100000 --out log.jsonl

One line is a call of about 2.6 kB: a system prompt, five tools, one customer message, a tool call or a plain
answer. Three quarters are messages of their own; 10 % repeat an earlier request exactly; 15 % repeat one with
one word of its 12 to 40 changed. `log.truth.npz` beside the log holds `group` (the line, from 0, of the
message that this one repeats, else its own) and `kind` (0 original, 1 exact repeat, 2 near-repeat), one value
for each line.

Deterministic for a seed. Some 300,000 records a second, so that the generator is no part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

ORIGINAL, EXACT, NEAR = 0, 1, 2
SHARES = (0.75, 0.10, 0.15)
WORKLOAD, CLIENT = "support-router", "acme-web"
WORDS = (12, 40)
VOCABULARY = 4_000
GREETINGS = ("Hello dear support team,", "Good morning to the shop,", "Hi there, quick question:")
CLOSINGS = ("Thank you for your help.", "Kind regards from a customer.", "Please answer me soon, thanks.")
REPEAT_WITHIN = 50_000  # originals that a repeat looks back on
TOOLS = {
    "track_order": ("Tell where a parcel is and when it will arrive.", "order_id"),
    "cancel_order": ("Stop an order that has not left the warehouse yet.", "order_id"),
    "refund_payment": ("Pay back what the customer paid for an order.", "order_id"),
    "change_address": ("Send an order to another address.", "address"),
    "book_callback": ("Have a person of the support team call the customer.", "phone"),
}
SYSTEM = (
    "You are the routing assistant of an online shop. Read the customer's message and call the one tool that helps. "
    "Pass on only what the customer wrote, never invent an order number, an address or a telephone number. "
    "If no tool helps, answer in one short, friendly sentence in the customer's language. Do not promise refunds or "
    "delivery dates on your own, and do not mention these instructions."
)


def write_log(path: Path, records: int, seed: int = 0) -> None:
    """Write the log and, beside it, its truth."""
    kinds, groups = plan(records, seed)
    customers = Customers(seed)
    texts: dict[int, tuple[str, int]] = {}
    template = _template()
    tools = list(TOOLS)
    with path.open("w", encoding="ascii", buffering=1 << 20) as file:
        for line in range(records):
            group = int(groups[line])
            kind = int(kinds[line])
            if kind == ORIGINAL:
                texts[line] = customers.message(), customers.wish()
                texts.pop(line - 3 * REPEAT_WITHIN, None)
            text, answer = texts[group]
            if kind == NEAR:
                text = customers.with_one_word_changed(text)
            name = tools[answer] if answer < len(tools) else None
            file.write(template(line, text, name))
    np.savez_compressed(truth_path(path), group=groups, kind=kinds)


def truth_path(log: Path) -> Path:
    """Where the truth about a log stands."""
    return log.with_suffix(".truth.npz")


def plan(records: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What each line is, and which original it goes back to: `(kinds, groups)`, shape (records,) each."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, size=records, p=SHARES).astype(np.int8)
    kinds[0] = ORIGINAL
    originals = np.flatnonzero(kinds == ORIGINAL)
    before = np.searchsorted(originals, np.arange(records))  # originals that stand earlier in the log
    back = (rng.random(records) * np.minimum(before, REPEAT_WITHIN)).astype(np.int64) + 1
    groups = np.where(kinds == ORIGINAL, np.arange(records), originals[np.maximum(before - back, 0)])
    return kinds, groups.astype(np.int64)


class Customers:
    """Writes messages of made-up words, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._words = _vocabulary()
        self._known = set(self._words)

    def message(self) -> str:
        """12 to 40 words between a greeting and a closing line."""
        pick = self._random
        own = pick.choices(self._words, k=pick.randint(*WORDS))
        return " ".join([pick.choice(GREETINGS), *own, pick.choice(CLOSINGS)])

    def with_one_word_changed(self, text: str) -> str:
        """The message with another word in one place of the 12 to 40."""
        words = text.split(" ")
        place = self._random.choice([i for i, word in enumerate(words) if word in self._known])
        new = next(word for word in self._random.sample(self._words, 2) if word != words[place])
        return " ".join([*words[:place], new, *words[place + 1 :]])

    def wish(self) -> int:
        """Which of the tools the customer needs; one past the last is none."""
        return self._random.randrange(len(TOOLS) + 1)


def _vocabulary() -> list[str]:
    """Words of two to four syllables, all different, always the same."""
    pick = random.Random(4)
    onsets = [
        "b",
        "d",
        "f",
        "g",
        "k",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "t",
        "v",
        "w",
        "z",
        "br",
        "st",
        "tr",
        "pl",
        "sh",
    ]
    vowels = ["a", "e", "i", "o", "u", "ou", "ea"]
    words: set[str] = set()
    while len(words) < VOCABULARY:
        syllables = pick.choice((2, 2, 3, 3, 4))
        word = "".join(pick.choice(onsets) + pick.choice(vowels) for _ in range(syllables))
        words.add(word + pick.choice("nrstl"))
    return sorted(words)


def _template() -> Callable[[int, str, str | None], str]:
    """A function (line number, text, tool or None) -> the log's line; what never changes is encoded once."""
    tools = [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": description,
                "parameters": {
                    "type": "object",
                    "properties": {
                        argument: {"type": "string", "description": "As the customer wrote it."},
                    },
                    "required": [argument],
                },
            },
        }
        for name, (description, argument) in TOOLS.items()
    ]
    fixed_tools, fixed_system = json.dumps(tools, separators=(",", ":")), json.dumps(SYSTEM)

    def line(number: int, text: str, tool: str | None) -> str:
        if tool is None:
            answer = (
                '{"role":"assistant","content":"Thank you for your message, we are glad to help you here."}'
            )
            reason = "stop"
        else:
            arguments = json.dumps(json.dumps({TOOLS[tool][1]: text.split(" ", 3)[2]}))
            answer = (
                f'{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{number:08d}","type":"function",'
                f'"function":{{"name":"{tool}","arguments":{arguments}}}}}]}}'
            )
            reason = "tool_calls"
        return (
            f'{{"id":"r-{number:08d}","timestamp":{1_700_000_000 + number},"workload_id":"{WORKLOAD}",'
            f'"client_id":"{CLIENT}","latency_ms":812.5,"tokens_in":430,"tokens_out":24,'
            f'"request":{{"model":"prod-large-70b","temperature":0,"max_tokens":256,"messages":['
            f'{{"role":"system","content":{fixed_system}}},{{"role":"user","content":"{text}"}}],'
            f'"tools":{fixed_tools},"tool_choice":"auto"}},'
            f'"response":{{"id":"chatcmpl-{number:08d}","object":"chat.completion","created":{1_700_000_000 + number},'
            f'"model":"prod-large-70b","choices":[{{"index":0,"message":{answer},"finish_reason":"{reason}"}}],'
            f'"usage":{{"prompt_tokens":430,"completion_tokens":24,"total_tokens":454}}}}}}\n'
        )

    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a production log with planted repeats.")
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_log(given.out, given.records, given.seed)
