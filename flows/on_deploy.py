"""The flow `on-deploy`: a new version of a workload gets its resources before it starts to work."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import summary
from flows.steps import as_task
from flows.warm import host


@flow(name="on-deploy", flow_run_name="{workload} {version}", persist_result=False)
def on_deploy(workload: str, version: str, reason: str = "deploy") -> State[Any]:
    """Pre-allocate for a new version of a workload, whose own usage is not known yet.

    Args:
        workload: the workload's URI, e.g. `sim://shop`.
        version: the new version, as the platform names it.
        reason: why this run was asked for; shown with the run.

    Raises:
        ValueError: no platform lists such a workload.
        StoreError: the new version's floor cannot be written.
    """
    with host.current() as warm:
        report = warm.deploy(workload, version, as_task)
    for line in report.errors:
        get_run_logger().warning(line)
    return Completed(message=summary.words(report))
