"""A span of the OpenTelemetry GenAI conventions as a record of a log.

https://opentelemetry.io/docs/specs/semconv/gen-ai/. An attribute `flywheel.X` sets the record's field X, whatever else
there is; what has no place in a record stays under `span`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from flywheel.records.log_line import PAYLOADS, Unreadable
from flywheel.traces.calls import (
    NO_MODEL_CALL,
    UNMAPPABLE,
    Labels,
    Recorded,
    Unmappable,
    as_fields,
    first_named,
)
from flywheel.traces.conventions import DETAILS, Said, holds_messages, take_said
from flywheel.traces.otlp import Span, span_of

_OWN = "flywheel."
WORKLOAD = ("flywheel.workload_id", "traceloop.workflow.name", "gen_ai.agent.name")
CLIENT = ("flywheel.client_id", "service.name")
_CONVERSATION = ("gen_ai.conversation.id", "session.id")
_CHATS = {"chat", "generate_content"}
_COMPLETIONS = {"text_completion", "completion"}
_NO_CALLS = {"embeddings", "embedding", "rerank", "retrieval", "execute_tool"} | {
    *("create_agent", "invoke_agent", "invoke_workflow", "plan")
}
_REQUEST = {
    "gen_ai.request.model": "model",
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.seed": "seed",
    "gen_ai.openai.request.seed": "seed",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.choice.count": "n",
}
_TOKENS = {
    "tokens_in": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
    "tokens_out": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
    ),
}


def recorded_span(raw: bytes, resource: dict[str, Any], labels: Labels) -> Recorded:
    """What one span or log event becomes. `resource` are the attributes of the service that it comes from."""
    try:
        return recorded_call(span_of(raw, resource), labels)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        return Recorded({}, Unreadable("bad_span", f"the span cannot be read: {error}"))


def recorded_call(span: Span, labels: Labels) -> Recorded:
    """The same for a span that was read."""
    whole = {
        key: value
        for event in span.events
        if event.name == DETAILS
        for key, value in event.attributes.items()
    }
    left = whole | span.attributes
    names = left, span.resource
    ids = {
        "workload_id": first_named(labels.workload or WORKLOAD, *names),
        "client_id": first_named(labels.client or CLIENT, *names),
    }
    own = {
        name[len(_OWN) :]: left.pop(name)
        for name in list(left)
        if name.startswith(_OWN) and name[len(_OWN) :] not in PAYLOADS
    }
    own = {name: value for name, value in own.items() if name not in ids}
    ids["id"] = own.pop("id", f"{span.trace_id}:{span.span_id}" if span.span_id else None)
    try:
        why_not = _no_call(span, left)
        if why_not is not None:
            return Recorded(as_fields(ids), why_not)
        fields = ids | _times(span, left) | _payloads(span, left)
    except Unmappable as error:
        return Recorded(as_fields(ids), Unreadable(UNMAPPABLE, str(error)))
    fields["conversation_id"] = first_named(_CONVERSATION, left)
    for field, tokens in _TOKENS.items():
        fields[field] = next((left[name] for name in tokens if name in left), None)
    for name in (*_CONVERSATION, *(name for tokens in _TOKENS.values() for name in tokens)):
        left.pop(name, None)
    rest = {"name": span.name} if span.name else {}
    fields["span"] = rest | ({"attributes": left} if left else {}) or None
    return Recorded(as_fields(fields | own))


def _no_call(span: Span, left: dict[str, Any]) -> Unreadable | None:
    """Why a span is no chat call that could be learned from; None where it is one."""
    operation = str(left.pop("gen_ai.operation.name", None) or left.pop("llm.request.type", None) or "")
    if span.event_name is not None and span.event_name != DETAILS:
        if re.fullmatch(r"gen_ai\.(\w+\.message|choice)", span.event_name):
            raise Unmappable(
                f"the event {span.event_name} stands apart from its span; let the application write messages as "
                "attributes (OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental)"
            )
        return Unreadable(NO_MODEL_CALL, "the event is none of a model call")
    if operation in _COMPLETIONS:
        raise Unmappable("a text completion is no chat, and candidates are asked as chats")
    is_call = operation in _CHATS or (operation not in _NO_CALLS and holds_messages(span))
    if is_call or span.event_name == DETAILS:
        return None
    what = operation or span.name or "something else"
    return Unreadable(NO_MODEL_CALL, f"the span is no model call but {what}")


def _times(span: Span, left: dict[str, Any]) -> dict[str, Any]:
    first = left.pop("gen_ai.response.time_to_first_chunk", None)
    long = span.start is not None and span.end is not None and span.end >= span.start
    return {
        "timestamp": span.start,  # so large that it can only be nanoseconds
        "latency_ms": (span.end - span.start) / 1e6 if long and span.start and span.end else None,
        "time_to_first_token_ms": first * 1000 if isinstance(first, float) else None,
    }


def _payloads(span: Span, left: dict[str, Any]) -> dict[str, Any]:
    failed = span.status.failed or "error.type" in left
    finish_reasons = left.pop("gen_ai.response.finish_reasons", None)
    said = take_said(left, span.events, finish_reasons)
    return {
        "request": _request(said, left),
        "response": _response(said, left, span, failed=failed),
        "incomplete": f"the span ended with an error: {span.status.message}"
        if failed and said.choices
        else None,
        "truncated": f"{span.dropped} attributes or events were dropped" if span.dropped else None,
    }


def _request(said: Said, left: dict[str, Any]) -> dict[str, Any] | None:
    if said.messages is None:
        return None  # the settings of the request stay under `span`
    request: dict[str, Any] = {}
    for name, key in _REQUEST.items():
        if left.get(name) is not None:
            request[key] = left.pop(name)
    request["messages"] = said.messages
    return request if said.tools is None else request | {"tools": said.tools}


def _response(said: Said, left: dict[str, Any], span: Span, *, failed: bool) -> dict[str, Any] | None:
    if said.choices is None:
        if not failed:
            return None
        kind = left.pop("error.type", None) or "error"
        return {"error": {"type": str(kind), "message": span.status.message or str(kind)}}
    about = {"id": left.pop("gen_ai.response.id", None), "model": left.pop("gen_ai.response.model", None)}
    return {key: value for key, value in about.items() if value is not None} | {"choices": said.choices}
