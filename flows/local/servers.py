"""The programs of `pla up`: which are needed, their command lines, ports and readiness."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows import environment
from flows.local import ports
from flows.local.children import Program
from flows.local.leash import SUPERVISOR
from pla.settings import Settings


@dataclass(frozen=True)
class Layout:
    """What `pla up` runs, and the settings with every address filled in.

    Attributes:
        settings: as the children see them.
        servers: Prefect, MLflow and the simulated cluster, as far as not named in pla.yaml.
        workers: the warm worker, and the one that retrains.
    """

    settings: Settings
    servers: tuple[Program, ...]
    workers: tuple[Program, ...]


def lay_out(settings: Settings, config: Path | None) -> Layout:
    """Choose ports and write the command lines; starts nothing.

    Raises:
        PortTaken: a port that pla.yaml fixes is in use.
    """
    servers: list[Program] = []
    if settings.prefect.api_url is None:
        settings, program = _prefect(settings)
        servers.append(program)
    if settings.mlflow.tracking_uri is None:
        settings, program = _mlflow(settings)
        servers.append(program)
    if settings.simulator.enabled and settings.simulator.url is None:
        settings, program = _simulator(settings)
        servers.append(program)
    settings = _metrics(settings)
    variables = _child_variables(settings, config, own_prefect=_named(servers, "Prefect"))
    workers = (
        _python(
            settings,
            "worker",
            ["-m", "flows.worker", "--first-answer-within", "600"],
            variables,
            # A run under way may finish, and what was fetched is given back to Prefect.
            grace_s=12.0,
        ),
        _python(
            settings,
            "retraining worker",
            ["-m", "flows.retrain_worker"],
            variables,
            # Training takes every core for minutes, and ticks must start on time meanwhile.
            nice=10,
        ),
    )
    return Layout(settings, tuple(servers), workers)


# -- servers -------------------------------------------------------------------------------


def _prefect(settings: Settings) -> tuple[Settings, Program]:
    section = settings.prefect
    port = ports.choose(
        "prefect.port", section.host, section.port, "port" in section.model_fields_set
    )
    url = f"http://{_reachable(section.host)}:{port}"
    prefect = section.model_copy(update={"api_url": f"{url}/api", "port": port})
    settings = settings.model_copy(update={"prefect": prefect})
    environment.prefect_home(settings).mkdir(parents=True, exist_ok=True)
    arguments = ["-m", "prefect", "server", "start", "--host", section.host, "--port", str(port)]
    variables = environment.server_variables(settings, port)
    program = _python(
        settings, "Prefect", arguments, variables, ready=answers(f"{url}/api/health"), url=url
    )
    return settings, program


def _mlflow(settings: Settings) -> tuple[Settings, Program]:
    section = settings.mlflow
    port = ports.choose(
        "mlflow.port", section.host, section.port, "port" in section.model_fields_set
    )
    url = f"http://{_reachable(section.host)}:{port}"
    mlflow = section.model_copy(update={"tracking_uri": url, "port": port})
    settings = settings.model_copy(update={"mlflow": mlflow})
    home = settings.home
    arguments = ["-m", "flows.local.mlflow_server", "--host", section.host, "--port", str(port)]
    arguments += ["--database", str(home / "mlflow.db"), "--artifacts", str(home / "mlartifacts")]
    program = _python(settings, "MLflow", arguments, {}, ready=answers(f"{url}/health"), url=url)
    return settings, program


def _simulator(settings: Settings) -> tuple[Settings, Program]:
    section = settings.simulator
    port = ports.free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "actuators.simulator", "serve", "--port", str(port)]
    arguments += ["--trace", str(section.trace), "--step", str(settings.tick.step_s)]
    arguments += ["--speed", str(section.speed), "--nodes", str(section.nodes)]
    arguments += ["--lead", str(section.lead_s), "--initial", str(section.initial_fraction)]
    arguments += ["--resources", ",".join(settings.resources)]
    arguments += ["--journal", str(settings.home / "simulator")]
    if section.start is not None:
        arguments += ["--start", section.start]
    program = _python(
        settings, "simulated cluster", arguments, {}, ready=answers(f"{url}/v1/clock"), url=url
    )
    simulator = section.model_copy(update={"url": url})
    return settings.model_copy(update={"simulator": simulator}), program


def _metrics(settings: Settings) -> Settings:
    """With a port for the worker's series; where pla.yaml fixes it, the worker says if it is taken.

    Nothing depends on that port: ticks go on without it.
    """
    section = settings.metrics
    if not section.enabled or "port" in section.model_fields_set:
        return settings
    port = ports.free_port(section.host, section.port)
    return settings.model_copy(update={"metrics": section.model_copy(update={"port": port})})


# -- what they share -----------------------------------------------------------------------


def answers(url: str) -> Callable[[], bool]:
    """A check whether a GET of `url` answers with status 200."""

    def ask() -> bool:
        try:
            return httpx.get(url, timeout=2.0).status_code == 200
        except httpx.HTTPError:
            return False

    return ask


def _python(
    settings: Settings,
    name: str,
    arguments: list[str],
    variables: dict[str, str],
    ready: Callable[[], bool] | None = None,
    url: str | None = None,
    grace_s: float = 8.0,
    nice: int = 0,
) -> Program:
    return Program(
        name=name,
        command=[sys.executable, *arguments],
        log=settings.home / "logs" / f"{name.lower().replace(' ', '-')}.log",
        variables=variables | {SUPERVISOR: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
        ready=ready,
        url=url,
        grace_s=grace_s,
        nice=nice,
    )


def _child_variables(settings: Settings, config: Path | None, own_prefect: bool) -> dict[str, str]:
    """How a child finds the same settings, with the addresses that were chosen here."""
    variables = environment.client_variables(settings) | {
        "PLA_HOME": str(settings.home),
        "PLA_PREFECT__API_URL": settings.prefect_url,
        "PLA_MLFLOW__TRACKING_URI": settings.mlflow_uri,
    }
    if config is not None:
        variables[environment.CONFIG] = str(config.absolute())
    if settings.metrics.enabled:
        variables["PLA_METRICS__PORT"] = str(settings.metrics.port)
    if settings.simulator.url is not None:
        variables["PLA_SIMULATOR__URL"] = settings.simulator.url
    if own_prefect:
        # It asks for no such token, and every client would ask whether it does.
        variables["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"] = "false"
    return variables


def _named(programs: list[Program], name: str) -> bool:
    return any(program.name == name for program in programs)


def _reachable(host: str) -> str:
    """Where a server that listens on `host` is found on this machine."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host
