"""`pla config`: the configuration, checked and explained."""

from __future__ import annotations

import typer

from pla.cli.console import ConfigOption, print_json
from pla.settings import json_schema, load

app = typer.Typer(no_args_is_help=True, help="The configuration, checked and explained.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of pla.yaml, for editors."""
    print(json_schema())


@app.command()
def show(config: ConfigOption = None) -> None:
    """Print every setting in force, with defaults and environment applied."""
    print_json(load(config).model_dump(mode="json"))
