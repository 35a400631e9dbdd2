"""Every deployment, schedule, work pool and automation of PLA, declared in one place.

`apply` brings a Prefect server in line with this, and may be called at every start: what people
changed meanwhile in Prefect's UI stays, above all schedules and pauses. A schedule is written
anew only if the one in pla.yaml is another than when it was last written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.automations import AutomationCore
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessWorker

from flows.on_deploy import on_deploy
from flows.predict_and_actuate import predict_and_actuate
from flows.retrain import retrain
from flows.warm.polling import WarmWorker
from flows.warm.timetable import ANCHOR
from pla.settings import Settings

TICK = "predict-and-actuate/tick"
RETRAIN = "retrain/retrain"
ON_DEPLOY = "on-deploy/on-deploy"

WARM_FLOWS: dict[str, Flow[..., Any]] = {
    flow.name: flow for flow in (predict_and_actuate, on_deploy)
}
"""What the warm worker holds ready, by flow name."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A deployment as it should be.

    Attributes:
        full_name: "flow/deployment".
        schedule: what pla.yaml asks for; None = only on demand.
    """

    full_name: str
    flow: Flow[..., Any]
    pool: str
    description: str
    schedule: IntervalSchedule | None = None

    @property
    def name(self) -> str:
        """The deployment's own name, without its flow's."""
        return self.full_name.split("/")[1]

    @property
    def entrypoint(self) -> str:
        """Where any worker finds the flow: importable, so that nothing has to be copied."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"


def declared(settings: Settings) -> tuple[Declared, ...]:
    """All deployments."""
    return (
        Declared(
            TICK,
            predict_and_actuate,
            settings.prefect.pool,
            "One tick: forecast every workload's demand and resize what needs it.",
            every(settings.tick.interval_s),
        ),
        Declared(
            RETRAIN,
            retrain,
            settings.prefect.retrain_pool,
            "Train a challenger; it becomes champion if it beats champion and baselines.",
            every(settings.retrain.interval_s),
        ),
        Declared(
            ON_DEPLOY,
            on_deploy,
            settings.prefect.pool,
            "Pre-allocate for a new version of a workload (parameters: workload, version).",
        ),
    )


def pools(settings: Settings) -> dict[str, type[BaseWorker[Any, Any, Any]]]:
    """The work pools, and the kind of worker that serves each."""
    return {settings.prefect.pool: WarmWorker, settings.prefect.retrain_pool: ProcessWorker}


def every(interval_s: float) -> IntervalSchedule:
    """A schedule aligned to whole minutes and hours, as usage steps are."""
    return IntervalSchedule(interval=timedelta(seconds=interval_s), anchor_date=ANCHOR)


ZOMBIES = "pla: runs that stopped giving signs of life have crashed"


def zombie_automation(deployment_id: UUID) -> AutomationCore:
    """Marks a run of `deployment_id` CRASHED whose process died without a word.

    It is for runs in processes of their own (retraining): they send a heartbeat every 30 s, and
    three missing ones are proof enough. What a dead warm worker leaves, the next one cleans up.
    """
    final = ("Completed", "Failed", "Cancelled", "Crashed")
    return AutomationCore(
        name=ZOMBIES,
        description="Heartbeats come every 30 s; after 90 s without one, nobody runs it any more.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat"} | {f"prefect.flow-run.{name}" for name in final},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            # Other people's flows on the same server are theirs to judge.
            match_related={
                "prefect.resource.id": [f"prefect.deployment.{deployment_id}"],
                "prefect.resource.role": "deployment",
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=90),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="no sign of life for 90 s: its process is gone"
            )
        ],
    )
