"""The flow `retrain`: history, challenger, backtest, registration, gate. Runs in a process pool."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.environment import settings_in_force
from flows.local.leash import follow_supervisor


@flow(
    name="retrain",
    flow_run_name="retrain: {reason}",
    retries=1,
    retry_delay_seconds=60,
    persist_result=False,
)
def retrain(reason: str = "schedule") -> State[Any]:
    """Train a challenger, and promote it if it beats the champion and the baselines.

    Args:
        reason: why this run was asked for; kept with the model.
    """
    follow_supervisor()
    # Here, because whoever declares this flow must not load what trains models.
    from pla.training import retrain as training

    report = training.run(settings_in_force(), reason=reason, progress=get_run_logger().info)
    return Completed(message=report.words())
