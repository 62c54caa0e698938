"""A run as MongoDB documents, and back.

What belongs together is written under one `revision`, an ObjectId, before the run's own document names it: readers see
a run as it was saved, whole, on a server without transactions as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from bson import ObjectId

from blocks.history.run_documents import from_json, searchable, to_json
from flywheel.results import CandidateResult, Customization, Evaluation, RunResult

T = TypeVar("T")
Document = dict[str, Any]

PART_BYTES = 8_000_000
"""Longest JSON text in one document; MongoDB takes 16 MiB. What is longer goes to `document_parts`."""

_ERROR_CHARACTERS = 1_000


class RunDocuments(msgspec.Struct, frozen=True):
    """The run's own document, and those that have to be there before it: collection to documents."""

    head: Document
    below: dict[str, list[Document]]


def documents_of(run: RunResult, revision: ObjectId) -> RunDocuments:
    """The documents of a run under a fresh revision."""
    run_id = searchable(run.run_id)
    owner = {"workload_id": searchable(run.workload_id), "client_id": searchable(run.client_id)}
    below: dict[str, list[Document]] = defaultdict(list)

    def put(collection: str, place: str, document: Document, whole: Any) -> None:
        text = text_of(whole, f"{revision}/{collection}/{place}", run_id, revision, below["document_parts"])
        common = {"_id": f"{revision}/{place}", "run_id": run_id, "revision": revision}
        below[collection].append({**common, **document, **text})

    for position, result in enumerate(run.candidates):
        candidate = searchable(result.candidate)
        put(
            "nims",
            f"{position}",
            {
                "candidate": candidate,
                "position": position,
                "model_name": searchable(result.model_name),
                "status": result.status,
                "error": _shortened(result.error),
            },
            msgspec.structs.replace(result, evaluations=[], customization=None),
        )
        for place, evaluation in enumerate(result.evaluations):
            searched = {**owner, "eval_set": run.eval_set, "started_at": run.started_at}
            put(
                "evaluations",
                f"{position}/{place}",
                {"candidate": candidate, "candidate_position": position, "position": place}
                | searched
                | _searched_of_evaluation(evaluation),
                evaluation,
            )
        if tuned := result.customization:
            put(
                "customizations",
                f"{position}",
                {"candidate": candidate, "candidate_position": position}
                | {"job": searchable(tuned.job), "status": tuned.status, "error": _shortened(tuned.error)},
                tuned,
            )
    bare = msgspec.structs.replace(run, candidates=[])
    head = {
        "_id": run_id,
        "revision": revision,
        **owner,
        "status": run.status,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "eval_set": run.eval_set,
        "production_model": _shortened(run.production_model),
        "error": _shortened(run.error),
        "counts": {name: len(below[name]) for name in ("nims", "evaluations", "customizations")},
        **text_of(bare, f"{revision}/flywheel_runs", run_id, revision, below["document_parts"]),
    }
    return RunDocuments(head, dict(below))


def text_of(
    whole: Any, of: str, run_id: str, revision: ObjectId, parts: list[Document]
) -> dict[str, str | int]:
    """The fields with the JSON text: `document`, or how many `parts` were appended for it."""
    text = to_json(whole)
    if len(text) <= PART_BYTES:
        return {"document": text}
    pieces = [text[start : start + PART_BYTES] for start in range(0, len(text), PART_BYTES)]
    parts += [
        {"_id": f"{of}/{number}", "of": of, "part": number, "text": piece}
        | {"run_id": run_id, "revision": revision}
        for number, piece in enumerate(pieces)
    ]
    return {"parts_of": of, "parts": len(pieces)}


def parsed(document: Document, kind: type[T], parts: dict[str, list[Document]]) -> T | None:
    """The structure in a document; None where its parts are not all there (any more). Raises DataError."""
    text = document.get("document")
    if text is None:
        pieces = parts.get(document["parts_of"], [])
        if len(pieces) != document["parts"]:
            return None
        text = "".join(piece["text"] for piece in sorted(pieces, key=lambda piece: int(piece["part"])))
    return from_json(text, kind, f"MongoDB's document {document['_id']!r}")


def run_of(head: Document, below: dict[str, list[Document]]) -> RunResult | None:
    """The run of `head`, from the documents of its revision; None where these are not all there (any more)."""
    for name, count in head["counts"].items():
        if len(below.get(name, ())) != count:
            return None
    parts = grouped(below.get("document_parts", ()), "of")
    run = parsed(head, RunResult, parts)
    evaluations = grouped(below.get("evaluations", ()), "candidate_position")
    tuned = grouped(below.get("customizations", ()), "candidate_position")
    candidates = []
    for document in sorted(below.get("nims", ()), key=lambda nim: int(nim["position"])):
        position = document["position"]
        result = parsed(document, CandidateResult, parts)
        in_order = sorted(evaluations.get(position, ()), key=lambda found: int(found["position"]))
        whole = [parsed(found, Evaluation, parts) for found in in_order]
        customization = [parsed(found, Customization, parts) for found in tuned.get(position, ())]
        if result is None or None in whole or None in customization:
            return None
        candidates.append(
            msgspec.structs.replace(
                result,
                evaluations=whole,
                customization=customization[0] if customization else None,
            )
        )
    return None if run is None else msgspec.structs.replace(run, candidates=candidates)


def grouped(documents: Iterable[Document], field: str) -> dict[Any, list[Document]]:
    """Documents by the value of a field, in their order."""
    groups: dict[Any, list[Document]] = defaultdict(list)
    for document in documents:
        groups[document[field]].append(document)
    return groups


def _searched_of_evaluation(evaluation: Evaluation) -> Document:
    score = evaluation.scores.get(evaluation.primary) if evaluation.primary else None
    interval = score.interval if score else None
    return {
        "eval_type": evaluation.eval_type,
        "model": searchable(evaluation.model),
        "metric": evaluation.primary,
        "score": score.value if score else None,
        "n": score.n if score else 0,
        "unscored": score.unscored if score else 0,
        "interval": [interval.low, interval.high] if interval else None,
        "error": _shortened(evaluation.error),
    }


def _shortened(text: str | None) -> str | None:
    return None if text is None else searchable(text[:_ERROR_CHARACTERS])
