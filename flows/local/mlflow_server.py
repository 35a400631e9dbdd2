"""`python -m flows.local.mlflow_server`: MLflow's tracking server in one process.

`mlflow server` prepares the database in one process and serves from a second one, each of which
imports all of MLflow: on two cores that doubles the wait for it, and the memory. This does what
the command does with its shipped options for one worker, artifacts served, no jobs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn  # before MLflow, which takes its presence as the sign that it is a server

ARTIFACTS_THROUGH_SERVER = "mlflow-artifacts:/"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; returns the exit code."""
    options = _parser().parse_args(arguments)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

    from mlflow.environment_variables import _MLFLOW_SGI_NAME
    from mlflow.server import constants, handlers

    database = f"sqlite:///{options.database.absolute()}"
    options.artifacts.mkdir(parents=True, exist_ok=True)
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = database
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = ARTIFACTS_THROUGH_SERVER
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(options.artifacts.absolute())
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[_MLFLOW_SGI_NAME.name] = "uvicorn"
    handlers.initialize_backend_stores(database, database, ARTIFACTS_THROUGH_SERVER)
    uvicorn.run(
        "mlflow.server.fastapi_app:app",
        host=options.host,
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.local.mlflow_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True, help="SQLite file")
    parser.add_argument("--artifacts", type=Path, required=True, help="folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
