"""`pla models`: what is registered, and which one is in force."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from pla.cli.console import ConfigOption, JsonOption, load_settings, out, print_json
from pla.registry import MlflowRegistry
from pla.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Registered models and the champion.")


def registry_of(settings: Settings) -> MlflowRegistry:
    """The registry that `settings` names."""
    return MlflowRegistry(
        settings.mlflow_uri,
        settings.mlflow.model_name,
        cache=settings.home / "models",
        experiment=settings.mlflow.experiment,
    )


@app.command("list")
def list_models(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the registered versions, newest first."""
    versions = registry_of(load_settings(config)).versions()
    if as_json:
        print_json([_as_dict(v) for v in versions])
        return
    table = Table("version", "aliases", "created", "metrics", title="Models")
    for version in versions:
        metrics = ", ".join(f"{k} {v:.3g}" for k, v in sorted(version.metrics.items())[:6])
        created = datetime.fromtimestamp(version.created_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(version.version, ", ".join(version.aliases), created, metrics)
    out.print(table if versions else "No model is registered yet: `pla train` makes the first.")


def _as_dict(version: object) -> dict[str, object]:
    return {
        name: getattr(version, name)
        for name in ("version", "aliases", "created_s", "run_id", "metrics", "tags")
    }


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version to put in force.")],
    config: ConfigOption = None,
) -> None:
    """Put a version in force; the one it replaces becomes `previous`."""
    registry_of(load_settings(config)).promote(version, by=getpass.getuser())
    out.print(f"champion is now version {version}; a running worker takes it within two ticks")


@app.command()
def rollback(config: ConfigOption = None) -> None:
    """Put the previous champion in force again."""
    version = registry_of(load_settings(config)).rollback(by=getpass.getuser())
    out.print(f"champion is now version {version}; a running worker takes it within two ticks")
