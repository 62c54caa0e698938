"""`flywheel score`: metrics of any predictions file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flywheel.results import EvalItem, Interval, Prediction, Score, Usage

HELP = "score any predictions file against evaluation items, or a run's own again"
EXAMPLE = "flywheel score --items data/base/eval_data.jsonl --predictions predictions.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two files, or a run, and where the scores of each item go."""
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="every score of this run again, from its stored files, beside what was kept; exit code 3 if any differs",
    )
    parser.add_argument("--items", type=Path, metavar="FILE.jsonl", help="rows of an eval_data.jsonl")
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE.jsonl",
        help='one {"id", "response": <chat completion>, "latency_ms", "error"} for each item, in any order',
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.jsonl", help="write the predictions with each item's scores here"
    )
    parser.add_argument(
        "--verdicts",
        type=Path,
        metavar="FILE.jsonl",
        help="verdicts of a judge on these predictions, from a run",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE.jsonl",
        help="ratings by people of what --verdicts rated: agreement, and scores corrected by them",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file of settings; metrics_config, judge_config and icl_config.embedder count, with --run "
        "those of `connections`",
    )
    parser.add_argument(
        "--set",
        metavar="KEY.PATH=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="one setting, e.g. metrics_config.primary=chrf; may be given many times",
    )
    parser.add_argument(
        "--level", type=_level, default=0.95, metavar="SHARE", help="confidence level of the intervals (0.95)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Score, print a table or one JSON document, and write the scored lines if asked."""
    from flywheel.cli.own_scores import all_scores, health_of_judge, health_text, settings_of
    from flywheel.cli.terminal import emit_json
    from flywheel.errors import ConfigError
    from flywheel.evaluation.aggregate import score_predictions, scores_of, usage_of
    from flywheel.evaluation.files import read_items, read_predictions
    from flywheel.evaluation.predictions import write_predictions
    from flywheel.evaluation.scoring import primary_metric

    if arguments.run is not None:
        return _of_run(arguments)
    if arguments.items is None or arguments.predictions is None:
        raise ConfigError("Name the two files with --items and --predictions, or a run with --run.")
    if arguments.out is not None and arguments.out.resolve() == arguments.items.resolve():
        raise ConfigError("--out would write over the items; give it a file of its own.")
    items = read_items(arguments.items)
    predictions = read_predictions(arguments.predictions, {item.id for item in items})
    config = settings_of(arguments)
    scored, warnings = all_scores(items, score_predictions(items, predictions), config, arguments.verdicts)
    scores = scores_of(items, {prediction.id: prediction for prediction in scored}, arguments.level)
    if arguments.out is not None:
        write_predictions(arguments.out, scored)
    health = health_of_judge(arguments, config)
    missing = len(items) - len(predictions)
    own = config.metrics_config.primary
    if own and own not in scores:
        raise ConfigError(
            f"metrics_config.primary is {own!r}, and these items have no such score; name one of {', '.join(scores)}."
        )
    primary = own or primary_metric(items)
    usage = usage_of(scored)
    if arguments.json:
        emit_json(
            {
                "scores": {metric: _score_document(score) for metric, score in scores.items()},
                "primary": primary,
                "items": len(items),
                "missing": missing,
                "usage": {name: getattr(usage, name) for name in usage.__struct_fields__},
                "finish_reasons": usage.finish_reasons,
                "warnings": warnings,
                "judge_health": health,
            }
        )
        return 0
    _print_table(items, scores, primary)
    _print_remarks(scored, missing, usage, [*warnings, *map(health_text, health)])
    return 0


def _of_run(arguments: argparse.Namespace) -> int:
    from flywheel.cli.score_run import score_run
    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.errors import ConfigError

    files = {
        f"--{name}": getattr(arguments, name)
        for name in ("items", "predictions", "verdicts", "labels", "out")
    }
    if given := [flag for flag, value in files.items() if value is not None]:
        raise ConfigError(f"--run brings its own files; leave out {', '.join(given)}, or leave out --run.")
    return score_run(arguments.run, connections_from_arguments(arguments), as_json=arguments.json)


def _level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1, such as 0.95")
    return value


def _score_document(score: Score) -> dict[str, Any]:
    import msgspec

    interval = score.interval
    return {
        "value": score.value,
        "n": score.n,
        "unscored": score.unscored,
        "interval": None
        if interval is None
        else {"low": interval.low, "high": interval.high, "level": interval.level},
        **({"by_traffic": msgspec.to_builtins(score.by_traffic)} if score.by_traffic else {}),
    }


def _print_table(items: Sequence[EvalItem], scores: dict[str, Score], primary: str | None) -> None:
    from rich.table import Table

    from flywheel.cli.terminal import console

    level = next((score.interval.level for score in scores.values() if score.interval), 0.95)
    table = Table(title=f"{len(items)} items", title_justify="left")
    table.add_column("metric")
    for column in ("score", f"{100 * level:g} % interval", "n", "unscored"):
        table.add_column(column, justify="right")
    weighted = any(score.by_traffic for score in scores.values())
    if weighted:
        table.add_column("by traffic", justify="right")
        table.add_column("interval", justify="right")
    for metric, score in scores.items():
        of_traffic = score.by_traffic
        table.add_row(
            f"{metric} *" if metric == primary else metric,
            "-" if score.value is None else f"{score.value:.3f}",
            _range(score.interval),
            str(score.n),
            str(score.unscored),
            *(["-" if of_traffic is None else f"{of_traffic.value:.3f}"] if weighted else []),
            *([_range(of_traffic.interval if of_traffic else None)] if weighted else []),
        )
    console().print(table)
    console().print("* the score that stands for the whole")
    if weighted:
        console().print(
            "by traffic: each item counts as often as production was asked it; verdicts go by that"
        )


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _print_remarks(scored: list[Prediction], missing: int, usage: Usage, warnings: list[str]) -> None:
    from collections import Counter

    from flywheel.cli.terminal import console, plain
    from flywheel.evaluation.aggregate import MISSING
    from flywheel.report.numbers import UNKNOWN
    from flywheel.report.usage import usage_cells

    out = console()
    if missing:
        out.print(f"No prediction for {missing} of {len(scored)} items; they count as unscored.")
    errors = Counter(prediction.error for prediction in scored if prediction.error)
    errors.pop(MISSING, None)
    for error, count in errors.most_common(5):
        out.print(plain(f"{count} x {error}"))
    for warning in warnings:
        out.print(plain(warning))
    for what, value in usage_cells(usage).items():
        if value not in ("", UNKNOWN):
            out.print(plain(f"{what}{' p50 / p95' if ' / ' in str(value) else ''}: {value}"))
