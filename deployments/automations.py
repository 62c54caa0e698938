"""The automations of a server: runs whose process is gone are marked, cleaned up after, and people are told.

Nothing in the open-source server acts on the heartbeats of flow runs; `flywheel: crash zombies` does.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

SECONDS_WITHOUT_HEARTBEAT = 90
"""At least three times the heartbeat's period, which the deployments set to 30 s."""
FLOW_RUNS = ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]})
FLYWHEEL_RUNS = ResourceSpecification({"prefect.resource.id": ["flywheel.run.*"]})
FLOWS = ["flywheel", "sweep", "ingest", "cleanup"]
Related = list[ResourceSpecification | dict[str, str | list[str]]]
OF_OUR_FLOWS: Related = [
    ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": FLOWS})
]
WITH_PARTS: Related = [
    ResourceSpecification(
        {
            "prefect.resource.role": ["flow"],
            "prefect.resource.name": [*FLOWS, "candidate", "curation by partitions"],
        }
    )
]
"""Our flows, and those that they call. Others on the same server may send heartbeats as seldom as they like."""


def crash_zombies(seconds: int = SECONDS_WITHOUT_HEARTBEAT) -> AutomationCore:
    """A flow run of ours that sent heartbeats and then nothing at all is crashed: its process or its host is gone.

    Args:
        seconds: Silence that means death; more than the period of the heartbeats.
    """
    return AutomationCore(
        name="flywheel: crash zombies",
        description="Marks a flow run as crashed when its process has not been heard of for "
        f"{seconds} seconds.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match=FLOW_RUNS,
            match_related=WITH_PARTS,
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message=f"No heartbeat for {seconds} s: the process or its host is gone.",
            )
        ],
    )


def clean_up_after(deployment_id: UUID) -> AutomationCore:
    """Frees what a crashed or cancelled run left behind, as no hook of a dead process can."""
    return AutomationCore(
        name="flywheel: clean up",
        description="Runs the cleanup when a run of the flywheel crashed or was cancelled.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed", "prefect.flow-run.Cancelled"},
            match=FLOW_RUNS,
            match_related=[
                ResourceSpecification(
                    {"prefect.resource.role": ["flow"], "prefect.resource.name": ["flywheel"]}
                )
            ],
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(source="selected", deployment_id=deployment_id, parameters=None, job_variables=None)
        ],
    )


def notifications(webhook_id: UUID) -> list[AutomationCore]:
    """One message for each thing that people want to hear of, as `{"text": ...}`, which chat services take."""
    return [
        _told(
            "finished",
            "A run of the flywheel has ended with results.",
            {"flywheel.run.completed", "flywheel.run.partial"},
            FLYWHEEL_RUNS,
            None,
            "Flywheel {{ event.payload.workload_id }}: {{ event.payload.status }}. {{ event.payload.message }} "
            "(run {{ event.payload.run_id }})",
            webhook_id,
        ),
        _told(
            "failed",
            "A flow of the flywheel failed or crashed.",
            {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            FLOW_RUNS,
            OF_OUR_FLOWS,
            "Flywheel {{ flow.name }} '{{ flow_run.name }}': {{ flow_run.state.name }}. {{ flow_run.state.message }}",
            webhook_id,
        ),
        _told(
            "candidate surfaced",
            "A candidate is not worse than production, as sure as the settings ask.",
            {"flywheel.candidate.surfaced"},
            FLYWHEEL_RUNS,
            None,
            "Flywheel {{ event.payload.workload_id }}: {{ event.payload.candidate }} ({{ event.payload.eval_type }}) "
            "surfaced. {{ event.payload.reason }} Decide with: flywheel report {{ event.payload.run_id }}",
            webhook_id,
        ),
        _told(
            "regression",
            "A candidate answers the same items worse than in an earlier run.",
            {"flywheel.candidate.regressed"},
            FLYWHEEL_RUNS,
            None,
            "Flywheel {{ event.payload.workload_id }}: {{ event.payload.candidate }} ({{ event.payload.eval_type }}) "
            "fell from {{ event.payload.then }} to {{ event.payload.now }} in {{ event.payload.metric }} since run "
            "{{ event.payload.against_run }}",
            webhook_id,
        ),
    ]


def _told(
    what: str,
    description: str,
    events: set[str],
    match: ResourceSpecification,
    match_related: Related | None,
    text: str,
    webhook_id: UUID,
) -> AutomationCore:
    # tojson escapes quotes and line breaks: a message from a log cannot break out of the document.
    body = '{"text": {% set text %}' + text + "{% endset %}{{ text | tojson }}}"
    return AutomationCore(
        name=f"flywheel: tell of {what}",
        description=description,
        trigger=EventTrigger(
            expect=events,
            match=match,
            match_related=match_related or [],
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=webhook_id, payload=body)],
    )
