"""`flywheel loadtest`: the run's requests, sent to a candidate's endpoint as often as production is asked."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from flywheel.cli.stored_run import add_run_argument

if TYPE_CHECKING:
    from flywheel.config import ConnectionsConfig
    from flywheel.findings.analysis import LoadTest
    from flywheel.results import RunResult

HELP = "send a run's requests to an endpoint at production's rate; latency percentiles and errors against a target"
EXAMPLE = "flywheel loadtest 3f2a r16 --endpoint http://localhost:8000/v1 --rate 5 --seconds 60 --target-p95-ms 2000"
MOST_AT_ONCE = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked, how often, and what would be good enough."""
    add_run_argument(parser)
    parser.add_argument(
        "candidate", metavar="CANDIDATE", help="the candidate's name; the test is kept with it"
    )
    parser.add_argument(
        "--endpoint",
        required=True,
        metavar="URL",
        help="base URL of its chat API; nothing is deployed for the test",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="the model's name there; default: the candidate's model"
    )
    parser.add_argument(
        "--key-env", metavar="VARIABLE", help="environment variable with the endpoint's API key"
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="N",
        help="requests a second on average; default: production's, by the log",
    )
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="how long (default 30)")
    parser.add_argument(
        "--arrivals",
        choices=("poisson", "log"),
        default="poisson",
        help="gaps between requests: random as from many users, or the log's own, scaled to the rate",
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="longest wait for an answer (60)"
    )
    parser.add_argument(
        "--target-p95-ms", type=float, metavar="MS", help="p95 of the latency has to be at most this"
    )
    parser.add_argument(
        "--target-errors", type=float, default=0.01, metavar="SHARE", help="share of errors allowed (0.01)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the gaps")


def run(arguments: argparse.Namespace) -> int:
    """Run the test, keep it with the run, show it. Exit code 4 where the target was missed."""
    import msgspec

    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.cli.stored_run import change_run, load_run
    from flywheel.cli.terminal import emit_json, progress_bars
    from flywheel.errors import ConfigError, DataError

    if not 0 <= arguments.target_errors <= 1:
        raise ConfigError("--target-errors takes a share between 0 and 1, such as 0.01.")
    if arguments.timeout <= 0:
        raise ConfigError("--timeout takes seconds above 0.")
    connections = connections_from_arguments(arguments)
    found = asyncio.run(load_run(arguments.run, connections))
    names = {candidate.candidate: candidate.model_name for candidate in found.candidates}
    if arguments.candidate not in names:
        raise DataError(
            f"Run {found.run_id} has no candidate {arguments.candidate!r}; it has {', '.join(names) or 'none'}."
        )
    model = arguments.model or names[arguments.candidate]
    with progress_bars(enabled=not arguments.json) as progress:
        test = asyncio.run(_test(found, connections, model, arguments, progress))
    changed = asyncio.run(
        change_run(
            found.run_id,
            connections,
            lambda now: msgspec.structs.replace(now, load_tests=[*now.load_tests, test]),
        )
    )
    if arguments.json:
        emit_json({"run_id": changed.run_id, **msgspec.to_builtins(test)})
    else:
        _show(changed, test, connections)
    return 4 if test.passed is False else 0


async def _test(
    found: RunResult,
    connections: ConnectionsConfig,
    model: str,
    arguments: argparse.Namespace,
    progress: Any,
) -> LoadTest:
    from datetime import UTC, datetime

    from blocks.connections import open_dataset_store
    from blocks.endpoints.chat_client import ChatClient
    from blocks.endpoints.load_generator import send_when_due
    from blocks.ports import Endpoint
    from blocks.run_evidence import evidence_of, logged_times
    from flywheel.config import EvaluationConfig
    from flywheel.errors import ConfigError, DataError
    from flywheel.evaluation.replay import replay
    from flywheel.load_test import log_arrivals, poisson_arrivals, production_rate, summed_up

    store = await open_dataset_store(connections)
    items = list(evidence_of(found, store).items.values())
    if not items:
        raise DataError(f"Run {found.run_id} has no evaluation items that could be asked.")
    times = logged_times(found, store) if arguments.arrivals == "log" or arguments.rate is None else []
    rate = arguments.rate if arguments.rate is not None else production_rate(times, found)
    if rate is None:
        raise ConfigError("The log does not say how often production is asked; give --rate N.")
    due = (
        log_arrivals(times, rate, arguments.seconds, arguments.seed)
        if arguments.arrivals == "log"
        else poisson_arrivals(rate, arguments.seconds, arguments.seed)
    )
    if not due:
        raise ConfigError(
            f"At {rate:g} requests a second nothing is due within {arguments.seconds:g} s; raise --rate or --seconds."
        )
    settings = EvaluationConfig(concurrency=MOST_AT_ONCE, max_attempts=1, timeout_seconds=arguments.timeout)
    endpoint = Endpoint(base_url=arguments.endpoint, model=model, api_key_env=arguments.key_env)
    started = datetime.now(UTC)
    async with ChatClient(endpoint, settings, relentless=True) as client:
        bodies = [replay(item.request, model, settings).body for item in items]
        samples = await send_when_due(client, bodies, due, progress)
    return summed_up(
        samples,
        candidate=arguments.candidate,
        endpoint=arguments.endpoint,
        model=model,
        at=started,
        arrivals=arguments.arrivals,
        rate=rate,
        seconds=arguments.seconds,
        target_p95_ms=arguments.target_p95_ms,
        target_error_share=arguments.target_errors,
    )


def _show(run: RunResult, test: LoadTest, connections: ConnectionsConfig) -> None:
    import shlex

    from flywheel.cli.show import print_table
    from flywheel.cli.terminal import console, plain
    from flywheel.report.analysis_tables import load_test_rows
    from flywheel.report.commands import command

    screen = console()
    print_table(screen, f"Load tests of run {run.run_id}, newest first", load_test_rows(run))
    for error, count in test.most_common_errors.items():
        screen.print(plain(f"{count} x {error}"))
    targets = [f"at most {100 * (test.target_error_share or 0):g} % errors"]
    if test.target_p95_ms is not None:
        targets.append(f"p95 of at most {test.target_p95_ms:g} ms")
    screen.print(f"Target ({', '.join(targets)}): {'met' if test.passed else 'missed'}.")
    if test.passed:
        words = f"decide {run.run_id} {shlex.quote(test.candidate)} --by NAME --done load-test"
        screen.print(plain(f"Tick it off: {command(words, connections.model_dump())}"), soft_wrap=True)
