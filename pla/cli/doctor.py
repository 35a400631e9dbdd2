"""`pla doctor`: does every part answer that the configuration names?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import typer

from pla.cli.console import ConfigOption, JsonOption, fail, load_settings, out, print_json
from pla.clock import SystemClock
from pla.platforms import connect_actuators, connect_source
from pla.ports import ActuatorError, RegistryError, SourceError, StoreError
from pla.settings import Settings
from pla.source_sections import SourceSettings
from pla.store import SqlStore


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check every part that the configuration names; exit 1 if one does not answer."""
    settings = load_settings(config)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("store", lambda: _check_store(settings)),
        ("platform", lambda: _check_platform(settings)),
        ("models", lambda: _check_models(settings)),
        *(("source", partial(_check_source, source, settings)) for source in settings.sources),
    ]
    found = []
    for name, check in checks:
        try:
            found.append({"part": name, "ok": True, "says": check()})
        except (ActuatorError, RegistryError, SourceError, StoreError) as error:
            found.append({"part": name, "ok": False, "says": str(error)})
    if as_json:
        print_json(found)
    else:
        for part in found:
            if part["ok"]:
                out.print(f"[green]ok[/]    {part['part']}: {part['says']}", highlight=False)
            else:
                fail(f"{part['part']}: {part['says']}", 1)
    raise typer.Exit(0 if all(part["ok"] for part in found) else 1)


def _check_store(settings: Settings) -> str:
    with SqlStore(settings.store_url, SystemClock()) as store:
        count = len(store.decisions(None, 1))
        return f"{store.where} answers; {'decisions on record' if count else 'no decision yet'}"


def _check_platform(settings: Settings) -> str:
    parts = [actuator.list(settings.resources) for actuator in connect_actuators(settings)]
    return f"{sum(len(part.workloads) for part in parts)} workloads on {len(parts)} platform(s)"


def _check_source(source: SourceSettings, settings: Settings) -> str:
    return "\n      ".join(connect_source(source, settings).describe())


def _check_models(settings: Settings) -> str:
    from pla.cli.models import registry_of

    version = registry_of(settings).champion_version()
    return f"{settings.mlflow_uri} answers; champion {version or 'none yet: a baseline acts'}"
