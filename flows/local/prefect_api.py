"""The few questions that `pla up` asks Prefect's API, without importing Prefect.

Importing it takes seconds of CPU, in the very moment when servers and worker need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class PrefectApi:
    """Prefect's API at `api_url`; every method raises httpx.HTTPError if it does not answer."""

    def __init__(self, api_url: str) -> None:
        self.api_url = api_url
        self._http = httpx.Client(base_url=api_url, timeout=10.0)

    def healthy(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("/health", timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    def completed(self, flow: str, since_s: float, scheduled: bool = False) -> int:
        """How many runs of `flow` completed that began since `since_s`, made by a schedule or all.

        Counted by Prefect from its own database.
        """
        runs: dict[str, Any] = {
            "state": {"type": {"any_": ["COMPLETED"]}},
            "start_time": {"after_": datetime.fromtimestamp(since_s, UTC).isoformat()},
        }
        if scheduled:
            runs["tags"] = {"all_": ["auto-scheduled"]}
        count: int = self._post(
            "/flow_runs/count", {"flow_runs": runs, "flows": {"name": {"any_": [flow]}}}
        )
        return count

    def start(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        """Ask for a run of `deployment` ("flow/name") now; returns its id."""
        answer = self._http.get(f"/deployments/name/{deployment}")
        answer.raise_for_status()
        body = {"parameters": dict(parameters), "state": {"type": "SCHEDULED"}}
        run: dict[str, Any] = self._post(
            f"/deployments/{answer.json()['id']}/create_flow_run", body
        )
        return str(run["id"])

    def state(self, run_id: str) -> tuple[str, str]:
        """State type and message of a run."""
        answer = self._http.get(f"/flow_runs/{run_id}")
        answer.raise_for_status()
        state = answer.json()["state"]
        return str(state["type"]), str(state.get("message") or "")

    def logs(self, run_id: str, skip: int) -> list[str]:
        """What a run logged, oldest first, without the first `skip` entries; a line of each."""
        found: list[dict[str, Any]] = self._post(
            "/logs/filter",
            {
                "logs": {"flow_run_id": {"any_": [run_id]}, "level": {"ge_": 20}},
                "sort": "TIMESTAMP_ASC",
                "offset": skip,
            },
        )
        return [str(entry["message"]).partition("\n")[0] for entry in found]

    def deployed(self, deployment: str) -> bool:
        """Whether `deployment` ("flow/name") exists."""
        return self._http.get(f"/deployments/name/{deployment}").status_code == 200

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        return answer.json()


def has_champion(mlflow_uri: str, model: str) -> bool:
    """Whether MLflow's registry has a champion; raises httpx.HTTPError if it does not answer."""
    answer = httpx.get(
        f"{mlflow_uri}/api/2.0/mlflow/registered-models/alias",
        params={"name": model, "alias": "champion"},
        timeout=10.0,
    )
    # Neither the model nor the alias need exist yet.
    if answer.status_code in (400, 404):
        return False
    answer.raise_for_status()
    return True
