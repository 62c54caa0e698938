"""`flywheel divergent`: the answers of a run that differ from production's, to read or to keep as an evaluation set."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.cli.stored_run import add_run_argument

if TYPE_CHECKING:
    from rich.console import Console

    from flywheel.evaluation.divergent import DivergentAnswer
    from flywheel.report.evidence import AnswersOf, Evidence

HELP = "show the answers that differ from production's, worst first, or export them as an evaluation set"
EXAMPLE = "flywheel divergent 3f2a --candidate r16 --export specialist.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which of them, how many, and where the set goes."""
    add_run_argument(parser)
    parser.add_argument("--candidate", metavar="NAME", help="only this candidate's answers")
    parser.add_argument(
        "--evaluation", choices=("base-eval", "icl-eval", "customized-eval"), help="only of this evaluation"
    )
    parser.add_argument("--item", metavar="ID", help="one item in full: request, reference and every answer")
    parser.add_argument("--most", type=int, default=20, metavar="N", help="most answers to show (default 20)")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE.jsonl",
        help="write their items as rows of an eval_data.jsonl, for `flywheel score --items` and for the setting "
        "evaluation_config.extra_items of later runs",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show, or write the set and say what to do with it."""
    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.cli.stored_run import load_evidence, load_run
    from flywheel.errors import ConfigError, DataError
    from flywheel.report.specialist_set import chosen_answers

    if arguments.most < 1:
        raise ConfigError("--most takes a number from 1.")
    connections = connections_from_arguments(arguments)
    found = asyncio.run(load_run(arguments.run, connections))
    names = [candidate.candidate for candidate in found.candidates]
    if arguments.candidate is not None and arguments.candidate not in names:
        raise DataError(
            f"Run {found.run_id} has no candidate {arguments.candidate!r}; it has {', '.join(names) or 'none'}."
        )
    evidence = asyncio.run(load_evidence(found, connections))
    answers = chosen_answers(evidence, arguments.candidate, arguments.evaluation)
    if not answers:
        why = " ".join(evidence.missing) or "No evaluation of it has stored answers."
        raise DataError(f"Run {found.run_id} has nothing to show. {why}")
    if arguments.export is not None:
        return _export(arguments, evidence, answers)
    if arguments.item is not None:
        return _one_item(arguments, found.run_id, evidence, answers)
    return _listed(arguments, evidence, answers)


def _export(arguments: argparse.Namespace, evidence: Evidence, answers: list[AnswersOf]) -> int:
    from flywheel.cli.report import write_whole
    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.errors import DataError
    from flywheel.report.specialist_set import as_lines, specialist_items

    items = specialist_items(evidence, answers)
    if not items:
        raise DataError("No answer differs from production's, so there is nothing to export.")
    _refuse_foreign(arguments.export)
    write_whole(arguments.export, as_lines(items))
    if arguments.json:
        emit_json({"file": str(arguments.export), "items": len(items)})
        return 0
    console().print(
        plain(
            f"{len(items)} items are in {arguments.export}. Later runs ask them as well, with scores of their own:\n"
            f"  flywheel run ... --set evaluation_config.extra_items={arguments.export}"
        )
    )
    return 0


def _refuse_foreign(out: Path) -> None:
    """Raises: ConfigError where the file is there and holds anything but evaluation items, such as a log."""
    from flywheel.errors import ConfigError, DataError
    from flywheel.evaluation.files import read_items

    if not out.is_file() or not out.stat().st_size:
        return
    try:
        read_items(out)
    except DataError as error:
        raise ConfigError(
            f"{out} is there already and is no set of evaluation items; name another file with --export."
        ) from error


def _ranked(answers: list[AnswersOf]) -> list[tuple[AnswersOf, DivergentAnswer]]:
    entries = [(of, answer) for of in answers for answer in of.divergent]
    return sorted(entries, key=lambda entry: (-entry[1].severity, -entry[1].weight, entry[1].id))


def _listed(arguments: argparse.Namespace, evidence: Evidence, answers: list[AnswersOf]) -> int:
    from flywheel.cli.terminal import console, emit_json, plain

    ranked = _ranked(answers)
    shown = ranked[: arguments.most]
    if arguments.json:
        emit_json([_document(of, answer) for of, answer in shown])
        return 0
    screen = console()
    if not ranked:
        screen.print("No answer differs from production's.")
        return 0
    for of, answer in shown:
        _print_answer(screen, of, answer)
    for line in evidence.missing:
        screen.print(plain(line))
    screen.print(
        f"\n{len(shown)} of {len(ranked)} divergent answers. One in full: --item ID; all: --most {len(ranked)}."
    )
    return 0


def _print_answer(screen: Console, of: AnswersOf, answer: DivergentAnswer) -> None:
    from rich.text import Text

    from flywheel.cli.terminal import plain
    from flywheel.report.difference import difference
    from flywheel.report.divergent import scores_beside
    from flywheel.report.escaping import shortened

    screen.print(
        plain(
            f"\n[{of.candidate} {of.eval_type}] {answer.kind}, item {answer.id}, {answer.weight} logged call(s)"
        )
    )
    screen.print(Text("  prompt     ").append(plain(shortened(answer.prompt, 600))), soft_wrap=True)
    sides = difference(shortened(answer.reference, 1500), shortened(answer.answer, 1500))
    for label, pieces, style in zip(("reference  ", "candidate  "), sides, ("red", "green"), strict=True):
        line = Text(f"  {label}")
        for piece in pieces:
            text = plain(piece.text)
            # Without colours the difference must still be seen.
            marked = piece.differs and not screen.is_terminal
            line.append(f"⟦{text}⟧" if marked else text, style=f"{style} underline" if piece.differs else "")
        screen.print(line, soft_wrap=True)
    if answer.scores:
        screen.print(plain(f"  scored     {scores_beside(answer)}"), soft_wrap=True)


def _one_item(
    arguments: argparse.Namespace, run_id: str, evidence: Evidence, answers: list[AnswersOf]
) -> int:
    import json

    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.errors import DataError

    item = evidence.items.get(arguments.item)
    if item is None:
        raise DataError(
            f"Run {run_id} has no item {arguments.item!r}; `flywheel divergent {run_id}` lists ids."
        )
    found = [(of, answer) for of, answer in _ranked(answers) if answer.id == item.id]
    if arguments.json:
        emit_json(
            {
                "id": item.id,
                "request": item.request,
                "response": item.response,
                "cluster": item.cluster,
                "weight": item.weight,
                "divergent": [_document(of, answer) for of, answer in found],
            }
        )
        return 0
    screen = console()
    screen.print(plain(f"Item {item.id}, cluster {item.cluster}, {item.weight} logged call(s)\n\nrequest"))
    screen.print(plain(json.dumps(item.request, indent=2, ensure_ascii=False)), soft_wrap=True)
    screen.print(plain("\nresponse of production"))
    screen.print(plain(json.dumps(item.response, indent=2, ensure_ascii=False)), soft_wrap=True)
    for of, answer in found:
        _print_answer(screen, of, answer)
    if not found:
        screen.print("\nNo answer to it differs from production's.")
    return 0


def _document(of: AnswersOf, answer: DivergentAnswer) -> dict[str, Any]:
    return {
        "candidate": of.candidate,
        "eval_type": of.eval_type,
        "id": answer.id,
        "kind": answer.kind,
        "severity": round(answer.severity, 4),
        "score": answer.score,
        "weight": answer.weight,
        "prompt": answer.prompt,
        "reference": answer.reference,
        "answer": answer.answer,
        "scores": answer.scores,
    }
