"""What `pla up` left in the home for other commands to find: which servers run, and where."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pla.settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """A `pla up` at work in a home.

    Attributes:
        pid: the supervisor's process.
        since_s: when it started [epoch s].
        prefect_api_url, mlflow_uri: its servers.
        simulator_url: the simulated cluster, None where a real platform is steered.
    """

    pid: int
    since_s: float
    prefect_api_url: str
    mlflow_uri: str
    simulator_url: str | None

    def applied_to(self, settings: Settings) -> Settings:
        """`settings`, pointed at these servers; what was set explicitly stays."""
        simulator = settings.simulator
        if simulator.url is None and self.simulator_url is not None:
            simulator = simulator.model_copy(update={"url": self.simulator_url})
        prefect = settings.prefect
        if prefect.api_url is None:
            prefect = prefect.model_copy(update={"api_url": self.prefect_api_url})
        mlflow = settings.mlflow
        if mlflow.tracking_uri is None:
            mlflow = mlflow.model_copy(update={"tracking_uri": self.mlflow_uri})
        return settings.model_copy(
            update={"simulator": simulator, "prefect": prefect, "mlflow": mlflow}
        )


def state_file(home: Path) -> Path:
    """Where the supervisor writes what it runs."""
    return home / "up.json"


def write(home: Path, state: Running) -> None:
    """Replace the state file whole."""
    path = state_file(home)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    beside.replace(path)


def running(home: Path) -> Running | None:
    """What runs in `home`; None if nothing does (a state file of a dead process is ignored)."""
    try:
        state = Running(**json.loads(state_file(home).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, as another user's
    return state
