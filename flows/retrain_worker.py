"""`python -m flows.retrain_worker`: Prefect's own process worker for the retraining pool.

The standard worker, but for two things: it ends what a dead predecessor left, and it makes one
run at a time, the newest of those that are late.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import signal
import socket
import sys
from datetime import UTC, datetime

from flows import environment
from pla.clock import SystemClock
from pla.settings import ConfigError

QUERY_S = 5.0


def main() -> int:
    """Run until SIGTERM; returns the exit code."""
    try:
        settings = environment.settings_in_force()
    except ConfigError as error:
        print(f"retraining worker: {error}", file=sys.stderr)
        return 2
    environment.prepare(settings, QUERY_S)
    asyncio.run(_serve(settings.prefect.retrain_pool))
    return 0


async def _serve(pool: str) -> None:
    # Here, because Prefect reads its settings at its import.
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.responses import WorkerFlowRunResponse
    from prefect.workers.process import ProcessWorker

    from flows.warm import superseded
    from flows.warm.reconcile import reconcile

    # A direct child of ABC is not entered into Prefect's register of worker types, where
    # "process" is taken.
    class NewestOnly(ProcessWorker, abc.ABC):
        async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
            fetched = await super()._get_scheduled_flow_runs()
            now = datetime.fromtimestamp(SystemClock().now_s(), UTC)
            return await superseded.drop(self.client, fetched, now)

    name = socket.gethostname()
    async with get_client() as client:
        await reconcile(client, pool, name, set(), "the worker that had it is gone")
        work = asyncio.create_task(NewestOnly(work_pool_name=pool, name=name, limit=1).start())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await reconcile(client, pool, name, set(), "the worker was stopped")


if __name__ == "__main__":
    sys.exit(main())
