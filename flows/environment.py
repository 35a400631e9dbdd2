"""What has to be in the environment before Prefect is imported, and how settings reach children.

Prefect reads its settings from the environment once, at its import: nothing here imports it. A
child process finds PLA's own settings the same way its parent did, from the file that
`PLA_CONFIG` names and from `PLA_SECTION__KEY` variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pla.settings import Settings, load

CONFIG = "PLA_CONFIG"

# A tick adds about 50 kB of runs to Prefect's database, and 330 kB of events: so the two together
# stay below 1 GB. PLA's own store keeps what was decided.
KEPT_RUNS, KEPT_EVENTS_OF_RUNS = 10_000, 1_000
SHORTEST_KEPT = timedelta(seconds=3601)  # Prefect asks for more than an hour
LONGEST_KEPT = timedelta(days=30)


def settings_in_force(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process: the file that `PLA_CONFIG` names, and the environment.

    Raises:
        ConfigError: they cannot be used; the message names the file or variable.
    """
    path = environ.get(CONFIG)
    return load(Path(path) if path else None, environ)


def prefect_home(settings: Settings) -> Path:
    """Prefect's own folder inside the home: profiles, and the database of its server."""
    return settings.home / "prefect"


def client_variables(settings: Settings) -> dict[str, str]:
    """Variables for a process that talks to Prefect's API: workers and flow runs."""
    return {
        "PREFECT_HOME": str(prefect_home(settings)),
        "PREFECT_API_URL": settings.prefect_url,
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # The zombie automation of `flows.deployments` waits for three of these.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # 2 + 4 + 8 s: bridges a restart of the server, and lets go of a run before a minute ends.
        "PREFECT_CLIENT_MAX_RETRIES": "3",
        # A line per step of every tick would be most of the log.
        "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "WARNING",
        "PREFECT_LOGGING_LOGGERS_PREFECT_WORKERS_LEVEL": "WARNING",
    }


def server_variables(settings: Settings, port: int) -> dict[str, str]:
    """Variables for a Prefect server of our own that listens on `port`, its history bounded."""
    home = prefect_home(settings)
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_API_HOST": settings.prefect.host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"http://{settings.prefect.host}:{port}/api",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "600",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": _kept(settings, KEPT_RUNS),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": _kept(settings, KEPT_EVENTS_OF_RUNS),
        # A schedule changed in the UI deletes the runs ahead of it, and they come back with the
        # next pass only (default: 60 s). Few runs ahead keep that pass cheap.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "20",
    }


def _kept(settings: Settings, runs: int) -> str:
    """How long `runs` ticks take, as an ISO 8601 duration."""
    wanted = timedelta(seconds=settings.tick.interval_s * runs)
    return f"PT{min(max(wanted, SHORTEST_KEPT), LONGEST_KEPT).total_seconds():.0f}S"


def prepare(settings: Settings, query_s: float) -> None:
    """Set this process's variables; call before Prefect is imported. What people set stays.

    Args:
        settings: where Prefect is.
        query_s: how often a worker asks for scheduled runs [s].
    """
    for name, value in client_variables(settings).items():
        os.environ.setdefault(name, value)
    if settings.prefect.api_url is not None:
        os.environ["PREFECT_API_URL"] = settings.prefect.api_url
    os.environ["PREFECT_WORKER_QUERY_SECONDS"] = str(query_s)
