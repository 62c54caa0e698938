"""How often our comparison of tool calls agrees with the checker of the Berkeley Function-Calling Leaderboard.

    python benchmarks/checker_agreement.py [--wheel bfcl_eval-....whl]

For each question of the leaderboard's Python categories the ground truth is taken as an answer, once as it is and once
with each of the changes below; both checkers judge it. The leaderboard knows several right values for many arguments,
a log knows one: where it accepts another value than the reference, we cannot. It also reads strings without case and
punctuation on purpose; `case` shows that departure.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import tempfile
import types
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.real_questions import arguments, download_wheel, json_schema, read_questions
from flywheel.evaluation.tool_calls import Call, same_calls

Json = dict[str, Any]
Calls = list[tuple[str, Json]]
FILES = {
    "BFCL_v4_simple_python.json": "simple",
    "BFCL_v4_live_simple.json": "simple",
    "BFCL_v4_multiple.json": "multiple",
    "BFCL_v4_live_multiple.json": "multiple",
    "BFCL_v4_parallel.json": "parallel",
    "BFCL_v4_live_parallel.json": "parallel",
    "BFCL_v4_parallel_multiple.json": "parallel",
    "BFCL_v4_live_parallel_multiple.json": "parallel",
}


def load_checker(wheel: Path, folder: Path) -> Callable[[list[Json], Calls, list[Json], str], bool]:
    """The leaderboard's own checker, without the clients of model vendors that its package imports."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("bfcl_eval/")])
    sys.path.insert(0, str(folder))
    stub: Any = types.ModuleType("bfcl_eval.constants.model_config")
    stub.MODEL_CONFIG_MAPPING = defaultdict(lambda: types.SimpleNamespace(underscore_to_dot=False))
    sys.modules[stub.__name__] = stub
    checker = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    language = importlib.import_module("bfcl_eval.constants.enums").Language.PYTHON

    def check(functions: list[Json], calls: Calls, truth: list[Json], category: str) -> bool:
        made = [{name: values} for name, values in calls]
        verdict = checker.ast_checker(functions, made, truth, language, category, "any")
        return bool(verdict["valid"])

    return check


def changed(calls: Calls) -> Iterator[tuple[str, Calls]]:
    """The answer as it is, and with one change of each kind that applies."""
    yield "as it is", calls
    yield "one call too many", [*calls, calls[0]]
    yield "one call missing", calls[1:]
    yield "calls in another order", calls[::-1]
    yield "another tool", [("another_tool", calls[0][1]), *calls[1:]]
    yield "an unknown argument", _with(calls, "never_heard_of", 1)
    for name, value in calls[0][1].items():
        rest = {key: other for key, other in calls[0][1].items() if key != name}
        yield "an argument missing", [(calls[0][0], rest), *calls[1:]]
        if isinstance(value, bool):
            yield "a boolean turned", _with(calls, name, not value)
            yield "a boolean as a number", _with(calls, name, int(value))
        elif isinstance(value, int | float):
            yield "another number", _with(calls, name, value + 977)
            yield "a number as text", _with(calls, name, str(value))
            if isinstance(value, float) and value == int(value):
                yield "1.0 as 1", _with(calls, name, int(value))
        elif isinstance(value, str) and value:
            yield "another text", _with(calls, name, f"zzz {value} zzz")
            yield "text in another case", _with(calls, name, value.swapcase())
            yield "text with a blank around it", _with(calls, name, f" {value} ")
        elif isinstance(value, list) and len(value) > 1 and value != value[::-1]:
            yield "a list in another order", _with(calls, name, value[::-1])
            yield "a list cut short", _with(calls, name, value[:-1])


def _with(calls: Calls, key: str, value: Any) -> Calls:
    return [(calls[0][0], {**calls[0][1], key: value}), *calls[1:]]


def main() -> None:
    """Print the agreement for each kind of change, and who was the stricter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help="the package's wheel; without it, it is fetched with pip")
    options = parser.parse_args()
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or download_wheel(Path(folder))
        check = load_checker(wheel, Path(folder))
        for file, category in FILES.items():
            for question in read_questions(wheel, file):
                functions = question.row["function"]
                schemas = {f["name"]: json_schema(f["parameters"]) for f in functions}
                required = {f["name"]: frozenset(f["parameters"].get("required", ())) for f in functions}
                reference = [
                    (name, arguments(allowed, required[name]))
                    for call in question.ground_truth
                    for name, allowed in call.items()
                ]
                for kind, answer in changed(reference):
                    theirs = check(functions, copy.deepcopy(answer), question.ground_truth, category)
                    ours = same_calls(_calls(reference), _calls(answer), schemas)
                    counts[kind][0] += 1
                    counts[kind][1] += ours == theirs
                    counts[kind][2] += ours and not theirs
    print(f"{'change':30} {'answers':>8} {'agree':>7} {'only we accept':>15} {'only they accept':>17}")
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    for kind, (n, agree, ours) in [*counts.items(), ("all", total)]:
        print(f"{kind:30} {n:8} {agree / n:7.3f} {ours:15} {n - agree - ours:17}")


def _calls(calls: Calls) -> list[Call]:
    return [Call(name, values) for name, values in calls]


if __name__ == "__main__":
    main()
