"""The support router: a customer message becomes a tool call, or a short fixed answer where no tool fits."""

from __future__ import annotations

import random
from collections.abc import Iterator

from flywheel.sample import chat_phrases
from flywheel.sample import router_phrases as phrases
from flywheel.sample.calls import Call, Json, Reply, ToolCall, function_tool
from flywheel.sample.vocabulary import WEEKDAYS, fill, slots

WORKLOAD = "support-router"
SYSTEM = (
    "You route messages of Acme's customers. Call the tool that fits; "
    "if none does, answer in one short sentence."
)
_QUESTION_WORDS = frozenset(
    {
        "can",
        "could",
        "do",
        "does",
        "has",
        "have",
        "how",
        "is",
        "what",
        "when",
        "where",
        "which",
        "who",
        "would",
        "may",
        "from",
    }
)
_TEXT: Json = {"type": "string"}
TOOLS = (
    function_tool("track_order", "Delivery status", order_id=_TEXT),
    function_tool(
        "cancel_order",
        "Cancel an order",
        order_id=_TEXT,
        reason={"type": "string", "enum": list(phrases.CANCEL_REASONS)},
    ),
    function_tool(
        "return_item",
        "Send an order back",
        order_id=_TEXT,
        reason={"type": "string", "enum": list(phrases.RETURN_REASONS)},
    ),
    function_tool("update_email", "Change email", email=_TEXT),
    function_tool("find_store", "Shops in a city", city=_TEXT),
    function_tool(
        "book_callback",
        "Plan a phone call",
        day={"type": "string", "enum": list(WEEKDAYS)},
        time=_TEXT,
    ),
)

ASK_FOR_ORDER = "Could you please tell me your order number?"
OFF_TOPIC = "I am sorry, I can only help with Acme orders."
SMALL_TALK = "Thank you! Is there anything I can help you with?"

INTENT_WEIGHTS = {
    "track": 60,
    "cancel": 58,
    "return": 60,
    "email": 46,
    "store": 46,
    "callback": 46,
    "ask_for_order": 14,
    "off_topic": 40,
    "small_talk": 36,
    "two_tools": 12,
}
"""How often customers want what: calls of each intent in `sum(INTENT_WEIGHTS.values())` calls."""


def question(intent: str, rng: random.Random) -> tuple[str, Reply]:
    """One customer message of an intent, and the answer to it."""
    values = slots(rng)
    core, details, reply = _core(intent, values, rng)
    opener = fill(rng.choice(chat_phrases.OPENERS), values)
    core = (
        fill(core, values)
        if not opener.endswith((",", "so", "but", ":"))
        else _lower_first(fill(core, values))
    )
    mark = "?" if core.split(" ", 1)[0].lower() in _QUESTION_WORDS else rng.choice((".", ".", "!"))
    sentences = [f"{opener} {core}{mark}".strip(), _sentence(rng.choice(details), values)]
    if rng.random() < 0.2:
        sentences.append(_sentence(rng.choice(details), values))
    closers = chat_phrases.CHAT_CLOSERS if reply.text else chat_phrases.CLOSERS
    closer = fill(rng.choice(closers), values)
    return " ".join(part for part in [*dict.fromkeys(sentences), closer] if part), reply


def single_turn(intent: str, rng: random.Random) -> Call:
    """A call whose request holds one customer message."""
    text, reply = question(intent, rng)
    return _call(({"role": "user", "content": text},), reply)


def two_turns(rng: random.Random, conversation: str) -> Iterator[Call]:
    """A conversation: the customer forgets the order number, is asked for it and gives it."""
    text, reply = question("ask_for_order", rng)
    opening: Json = {"role": "user", "content": text}
    yield _call((opening,), reply, conversation)
    values = slots(rng)
    core = fill(rng.choice(phrases.TRACK), values)
    follow_up = f"{core}. {_sentence(rng.choice(chat_phrases.ORDER_DETAILS[:-1]), values)}"
    history = (opening, {"role": "assistant", "content": reply.text}, {"role": "user", "content": follow_up})
    yield _call(history, _one("track_order", order_id=values["order"]), conversation)


def _call(turns: tuple[Json, ...], reply: Reply, conversation: str | None = None) -> Call:
    messages = ({"role": "system", "content": SYSTEM}, *turns)
    return Call(WORKLOAD, messages, reply, TOOLS, max_tokens=96, conversation=conversation)


def _core(intent: str, values: dict[str, str], rng: random.Random) -> tuple[str, tuple[str, ...], Reply]:
    """The template of the request itself, the details that suit it, and the answer."""
    order = values["order"]
    match intent:
        case "track":
            return rng.choice(phrases.TRACK), chat_phrases.ORDER_DETAILS, _one("track_order", order_id=order)
        case "cancel":
            reason = rng.choice(list(phrases.CANCEL_REASONS))
            core = _with_reason(phrases.CANCEL, phrases.CANCEL_REASONS[reason], values, rng)
            return core, chat_phrases.ORDER_DETAILS, _one("cancel_order", order_id=order, reason=reason)
        case "return":
            reason = rng.choice(list(phrases.RETURN_REASONS))
            core = _with_reason(phrases.RETURN, phrases.RETURN_REASONS[reason], values, rng)
            return core, chat_phrases.ORDER_DETAILS, _one("return_item", order_id=order, reason=reason)
        case "email":
            return (
                rng.choice(phrases.EMAIL),
                chat_phrases.EMAIL_DETAILS,
                _one("update_email", email=values["email"]),
            )
        case "store":
            return (
                rng.choice(phrases.STORE),
                chat_phrases.STORE_DETAILS,
                _one("find_store", city=values["city"]),
            )
        case "callback":
            reply = _one("book_callback", day=values["day"], time=values["time"])
            return rng.choice(phrases.CALLBACK), chat_phrases.CALLBACK_DETAILS, reply
        case "ask_for_order":
            return rng.choice(phrases.MISSING_ORDER), chat_phrases.CHAT_DETAILS, Reply(text=ASK_FOR_ORDER)
        case "off_topic":
            return rng.choice(phrases.OFF_TOPIC), chat_phrases.CHAT_DETAILS, Reply(text=OFF_TOPIC)
        case "small_talk":
            return rng.choice(phrases.SMALL_TALK), chat_phrases.CHAT_DETAILS, Reply(text=SMALL_TALK)
        case "two_tools":
            return _two_tools(values, rng)
    raise ValueError(f"no intent is named {intent!r}")


def _two_tools(values: dict[str, str], rng: random.Random) -> tuple[str, tuple[str, ...], Reply]:
    """A message that wants two things at once: parallel tool calls."""
    track = ToolCall("track_order", {"order_id": values["order"]})
    if rng.random() < 0.5:
        second = ToolCall("track_order", {"order_id": values["other_order"]})
        core = f"{rng.choice(phrases.TRACK)}, and the same for my other order {{other_order}}"
    else:
        second = ToolCall("find_store", {"city": values["city"]})
        core = f"{rng.choice(phrases.TRACK)}, and besides, {rng.choice(phrases.STORE)}"
    return core, chat_phrases.ORDER_DETAILS, Reply(calls=(track, second))


def _with_reason(
    requests: tuple[str, ...], reasons: tuple[str, ...], values: dict[str, str], rng: random.Random
) -> str:
    return rng.choice(requests).replace("{reason}", rng.choice(reasons).format(**values))


def _one(name: str, **arguments: str) -> Reply:
    return Reply(calls=(ToolCall(name, arguments),))


def _sentence(template: str, values: dict[str, str]) -> str:
    return f"{fill(template, values)}." if template else ""


def _lower_first(text: str) -> str:
    """Lower-case the start of a clause, names and "I" apart."""
    head = text.split(" ", 1)[0]
    return text if head in {"I", "Acme"} or head.startswith("I'") else text[:1].lower() + text[1:]
