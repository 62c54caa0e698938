"""What a run tells the world: Prefect events, which automations turn into messages or into other work.

| event                          | when                                                    |
| `flywheel.run.<status>`        | a run got to its end: completed, partial or failed      |
| `flywheel.candidate.surfaced`  | a candidate's answers are not worse than production's   |
| `flywheel.candidate.regressed` | a candidate answers the same items worse than before    |

All are about the resource `flywheel.run.<run id>`. They hold names and figures, never text from the log.
"""

from __future__ import annotations

from typing import Any

from prefect import runtime
from prefect.events import emit_event

from flywheel.results import RunResult

PREFIX = "flywheel"
MOST_TEXT = 1_000


def tell_of(run: RunResult) -> None:
    """Emit the events of a run that has ended. A server that is away loses them and nothing else."""
    about = {"run_id": run.run_id, "workload_id": run.workload_id, "client_id": run.client_id}
    conclusion = run.analysis.conclusion if run.analysis else ""
    _emit(
        f"{PREFIX}.run.{run.status}",
        run,
        about
        | {"status": run.status, "message": run.message[:MOST_TEXT], "conclusion": conclusion[:MOST_TEXT]},
    )
    if run.analysis is None:
        return
    for verdict in run.analysis.verdicts:
        if verdict.outcome == "surfaced":
            what = {
                "candidate": verdict.candidate,
                "eval_type": verdict.eval_type,
                "metric": verdict.metric,
                "score": _rounded(verdict.score),
                "margin": verdict.margin,
                "reason": verdict.reason[:MOST_TEXT],
            }
            _emit(f"{PREFIX}.candidate.surfaced", run, about | what)
    for regression in run.analysis.regressions:
        if regression.outcome == "regressed":
            what = {
                "candidate": regression.candidate,
                "eval_type": regression.eval_type,
                "metric": regression.metric,
                "against": regression.against,
                "against_run": regression.run_id,
                "then": _rounded(regression.then),
                "now": _rounded(regression.now),
            }
            _emit(f"{PREFIX}.candidate.regressed", run, about | what)


def _emit(event: str, run: RunResult, payload: dict[str, Any]) -> None:
    related = []
    if runtime.flow_run.id:
        related.append(
            {
                "prefect.resource.id": f"prefect.flow-run.{runtime.flow_run.id}",
                "prefect.resource.role": "flow-run",
            }
        )
    emit_event(
        event=event,
        resource={
            "prefect.resource.id": f"{PREFIX}.run.{run.run_id}",
            "prefect.resource.name": f"{run.workload_id} of {run.client_id}",
            "flywheel.workload": run.workload_id,
            "flywheel.client": run.client_id,
        },
        related=related,
        payload=payload,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
