"""`flywheel score --run RUN`: every score of a run, and what followed from them, made again from its stored files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from flywheel.config import ConnectionsConfig
    from flywheel.evaluation.recompute import Recomputed
    from flywheel.results import RunResult, Score

CONCLUSIONS = {
    "conclusion": "the conclusion",
    "verdicts": "verdicts",
    "comparisons": "comparisons",
    "ceilings": "ceilings",
    "costs": "costs",
    "regressions": "regressions",
    "judge_health": "the judge's health",
    "kpis": "the KPIs",
    "cascades": "cascades",
    "trajectories": "scores of whole conversations",
}
"""Parts of an analysis, and what they are called on the screen."""
YOUNGER = frozenset({"cascades", "trajectories"})
"""Parts that runs which were analysed before them do not have."""


def score_run(name: str, connections: ConnectionsConfig, *, as_json: bool) -> int:
    """Print each score as it was kept and as it comes out now; exit code 3 where any differs or cannot be made.

    Then the same of everything that was concluded from these answers: verdicts, costs, regressions and the rest.

    Nothing is asked and no code of the run's settings is run: what a judge or a metric of the user's own gave to single
    answers is taken as it is stored.
    """
    from flywheel.cli.show import print_table
    from flywheel.cli.stored_run import load_run
    from flywheel.cli.terminal import console, emit_json, plain

    run = asyncio.run(load_run(name, connections))
    found, missing = asyncio.run(_made_again(run, connections))
    conclusions, problem = asyncio.run(_drawn_again(run, connections))
    missing += [problem] if problem else []
    differing = sum(not one.same for one in found) + sum(not one["same"] for one in conclusions.values())
    if as_json:
        scores = [
            {
                "candidate": one.candidate,
                "eval_type": one.eval_type,
                "metric": one.metric,
                "kept": _document(one.kept),
                "again": None if one.again is None else _document(one.again),
                "same": one.same,
                "from_answers": one.from_answers,
            }
            for one in found
        ]
        emit_json(
            {
                "run_id": run.run_id,
                "scores": scores,
                "conclusions": conclusions,
                "differing": differing,
                "missing": missing,
            }
        )
    else:
        screen = console()
        print_table(screen, f"Scores of run {run.run_id}, made again", [_row(one) for one in found])
        for line in missing:
            screen.print(plain(line))
        same = sum(one.same for one in found)
        screen.print(f"{same} of {len(found)} scores come out as they were kept, with n and interval.")
        same_ones = [CONCLUSIONS[name] for name, one in conclusions.items() if one["same"]]
        if same_ones:
            screen.print(f"As they were kept come out {', '.join(same_ones)}.")
        for name, one in conclusions.items():
            if not one["same"]:
                screen.print(f"What was kept DIFFERS from {CONCLUSIONS[name]} as made now; see --json.")
    return 3 if differing or missing else 0


async def _made_again(run: RunResult, connections: ConnectionsConfig) -> tuple[list[Recomputed], list[str]]:
    from blocks.connections import open_dataset_store
    from blocks.run_evidence import ITEMS, stored, stored_file
    from flywheel.errors import FlywheelError
    from flywheel.evaluation.specialist import ITEMS_FILE, PREDICTIONS_FILE, PREFIX

    store = await open_dataset_store(connections)
    found: list[Recomputed] = []
    missing: list[str] = []
    for candidate in run.candidates:
        for evaluation in candidate.evaluations:
            own = {m: s for m, s in evaluation.scores.items() if not m.startswith(PREFIX)}
            special = {
                m.removeprefix(PREFIX): s for m, s in evaluation.scores.items() if m.startswith(PREFIX)
            }
            who = (candidate.candidate, evaluation.eval_type)
            try:
                if own and evaluation.predictions:
                    items = stored(store, run.datasets["datasets"]) / ITEMS
                    found += _of_files(run, *who, own, items, stored_file(store, evaluation.predictions))
                if special and evaluation.specialist:
                    folder = stored(store, evaluation.specialist)
                    found += [
                        _renamed(one, PREFIX)
                        for one in _of_files(
                            run, *who, special, folder / ITEMS_FILE, folder / PREDICTIONS_FILE
                        )
                    ]
            except FlywheelError as error:
                missing.append(f"Scores of {who[0]} in its {who[1]} cannot be made again: {error}")
    return found, missing


async def _drawn_again(
    run: RunResult, connections: ConnectionsConfig
) -> tuple[dict[str, dict[str, Any]], str]:
    """What was concluded, as it was kept and as it comes out of the stored answers now, by kind; or why not."""
    import contextlib

    import msgspec

    from blocks.connections import open_dataset_store, open_run_store
    from flywheel.errors import FlywheelError
    from tasks.concluding.conclusions import drawn_again

    if run.analysis is None or not run.analysis.verdicts:
        return {}, ""
    store = await open_dataset_store(connections)
    try:
        with contextlib.closing(await open_run_store(connections)) as runs:
            again = await asyncio.to_thread(drawn_again, run, store, runs)
    except FlywheelError as error:
        return {}, f"Verdicts and costs cannot be made again: {error}"
    compared = {}
    for name in CONCLUSIONS:
        kept, drawn = (msgspec.to_builtins(getattr(analysis, name)) for analysis in (run.analysis, again))
        if name in YOUNGER and not kept:
            continue
        compared[name] = {"kept": kept, "again": drawn, "same": _equal(kept, drawn)}
    return compared, ""


def _equal(one: Any, other: Any) -> bool:
    """Equal but for the last digits of numbers, which another machine may round otherwise."""
    import math

    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def _of_files(
    run: RunResult, candidate: str, eval_type: str, kept: dict[str, Score], items_file: Path, answers: Path
) -> list[Recomputed]:
    import msgspec

    from flywheel.config import EvaluationConfig, MetricsConfig
    from flywheel.errors import DataError
    from flywheel.evaluation.files import read_items
    from flywheel.evaluation.recompute import recomputed
    from flywheel.results import Prediction

    items = read_items(items_file)
    known = {item.id for item in items}
    decoder = msgspec.json.Decoder(Prediction)
    try:
        with answers.open("rb") as lines:
            predictions = [one for one in map(decoder.decode, lines) if one.id in known]
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{answers} cannot be read ({error}); evaluate again with --rerun.") from error
    rules = MetricsConfig.model_validate(run.config.get("metrics_config", {})).arguments
    level = EvaluationConfig.model_validate(run.config.get("evaluation_config", {})).confidence_level
    return recomputed(candidate, eval_type, kept, items, predictions, rules, level)


def _renamed(one: Recomputed, prefix: str) -> Recomputed:
    import msgspec

    return msgspec.structs.replace(one, metric=prefix + one.metric)


def _row(one: Recomputed) -> dict[str, Any]:
    from flywheel.report.numbers import by_traffic_text, score_text

    return {
        "candidate": one.candidate,
        "evaluation": one.eval_type,
        "metric": one.metric,
        "score": score_text(one.again),
        "by traffic": by_traffic_text(one.again),
        "n": one.again.n if one.again else 0,
        "as kept": "same" if one.same else f"DIFFERS: {score_text(one.kept)}",
    }


def _document(score: Score) -> dict[str, Any]:
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(score)
    return document
