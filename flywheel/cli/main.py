"""Entry point: picks the command, turns errors into one sentence and an exit code.

A command is a module of this package with `HELP` (a line), `EXAMPLE` (a command line that works),
`add_arguments` and `run(arguments) -> int`. It imports what is heavy inside `run`, so that `--help` stays
fast.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from flywheel import __version__
from flywheel.errors import FlywheelError

COMMANDS = (
    "demo",
    "run",
    "curate",
    "score",
    "workloads",
    "ingest",
    "runs",
    "results",
    "report",
    "divergent",
    "compare",
    "decide",
    "loadtest",
    "cleanup",
    "erase",
)
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; importing the commands' modules is cheap by their contract."""
    parser = argparse.ArgumentParser(
        prog="flywheel",
        description="Finds out, with evidence from production logs, whether a smaller or fine-tuned model could do "
        "a large model's work.",
        epilog="Exit codes: 0 fine, 1 unexpected, 2 usage or settings, 3 the data does not allow it, "
        "4 a remote service failed, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"flywheel {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = _command(name)
        sub = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"Example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.add_argument(
            "--json", action="store_true", help="one JSON document on stdout, everything else on stderr"
        )
        sub.add_argument("--debug", action="store_true", help="show tracebacks and debug logs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    arguments.own_process = argv is None  # nobody else's code runs in this process, before or after
    try:
        return int(_command(arguments.command).run(arguments))
    except FlywheelError as error:
        if arguments.debug:
            raise
        _say(f"flywheel {arguments.command}: {error}")
        return error.exit_code
    except KeyboardInterrupt as stop:
        what_next = f"; {stop}" if str(stop) else ""
        _say(f"flywheel {arguments.command}: interrupted{what_next}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`); what it took is what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if arguments.debug:
            raise
        _say(f"flywheel {arguments.command}: {_describe_os_error(error)}")
        return 1
    except Exception as error:  # the last line of defence: a defect of ours, told without a wall of text
        if arguments.debug:
            raise
        _say(
            f"flywheel {arguments.command}: unexpected {type(error).__name__}: {error}. This is a defect; report "
            "it, please, with what `--debug` prints."
        )
        return 1


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"flywheel.cli.{name}")


def _say(message: str) -> None:
    from flywheel.cli.terminal import plain

    print(plain(message), file=sys.stderr)


def _describe_os_error(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}. Check that the place exists, is writable and has free space."


if __name__ == "__main__":
    sys.exit(main())
