"""The returns agent: conversations in which tools are called, answer, and are talked about."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from flywheel.sample import chat_phrases
from flywheel.sample import router_phrases as phrases
from flywheel.sample.calls import Call, Json, Reply, ToolCall, assistant_turn, function_tool, new_call_ids
from flywheel.sample.vocabulary import fill, slots

WORKLOAD = "returns-agent"
SYSTEM = (
    "You handle returns for the Acme shop. Look the order up first, create a return only for goods delivered "
    "within the last 30 days, then tell the customer what happens next."
)
TOOLS = (
    function_tool("lookup_order", "What was ordered, and when it was delivered", order_id={"type": "string"}),
    function_tool(
        "create_return",
        "Register a return and make a label",
        order_id={"type": "string"},
        reason={"type": "string", "enum": list(phrases.RETURN_REASONS)},
    ),
    function_tool("send_label", "Send the return label by mail", email={"type": "string"}),
)


def conversation(rng: random.Random, name: str) -> Iterator[Call]:
    """The calls of one conversation, each with the whole history before it."""
    values = slots(rng)
    order, age = values["order"], rng.randrange(2, 60)
    reason = rng.choice(list(phrases.RETURN_REASONS))
    why = rng.choice(phrases.RETURN_REASONS[reason]).format(**values)
    ask = fill(rng.choice(phrases.RETURN).replace("{reason}", why), values)
    history: list[Json] = [{"role": "system", "content": SYSTEM}]

    def reply(answer: Reply) -> Call:
        """The call that gets this answer; the answer then belongs to the history."""
        call = Call(WORKLOAD, tuple(history), answer, TOOLS, max_tokens=128, conversation=name)
        history.append(assistant_turn(answer, new_call_ids(answer, rng)))
        return call

    def tool_result(result: Json) -> None:
        call_id = history[-1]["tool_calls"][0]["id"]
        history.append({"role": "tool", "tool_call_id": call_id, "content": json.dumps(result)})

    detail = fill(rng.choice(chat_phrases.ORDER_DETAILS[:-1]), values)
    history.append(
        {
            "role": "user",
            "content": f"{fill(rng.choice(chat_phrases.OPENERS), values)} {ask}. {detail}.".strip(),
        }
    )
    yield reply(Reply(calls=(ToolCall("lookup_order", {"order_id": order}),)))
    tool_result(
        {"order_id": order, "item": values["product"], "colour": values["colour"], "delivered_days_ago": age}
    )
    if age > 30:
        late = f"I am sorry, your {values['product']} came {age} days ago, and returns end after 30 days."
        yield reply(Reply(text=late))
        return
    yield reply(Reply(calls=(ToolCall("create_return", {"order_id": order, "reason": reason}),)))
    label = f"R-{rng.randrange(100_000, 1_000_000)}"
    tool_result({"return_id": label, "status": "created"})
    yield reply(
        Reply(text=f"Your return {label} is registered. Please send the {values['product']} within 14 days.")
    )
    if rng.random() < 0.5:
        wish = f"could you mail the label to {values['email']}, my {values['relative']} has the printer"
        history.append({"role": "user", "content": wish})
        yield reply(Reply(calls=(ToolCall("send_label", {"email": values["email"]}),)))
