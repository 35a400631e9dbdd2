"""What all commands share: the console, reading settings, printing amounts and JSON."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from pla import settings as settings_module
from pla.core.resources import BY_NAME
from pla.home import running
from pla.settings import Settings

out = Console(width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="pla.yaml; without it, the demo on a simulated cluster."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def fail(error: object, code: int) -> int:
    """Print `error` to standard error; returns `code`."""
    err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    return code


def load_settings(config: Path | None) -> Settings:
    """Settings of `config`, pointed at what `pla up` runs in the same home, if it does."""
    settings = settings_module.load(config)
    state = running(settings.home)
    return settings if state is None else state.applied_to(settings)


def print_json(value: Any) -> None:
    """`value` as JSON on standard output; NaN and infinity become null, as JSON has neither."""
    print(json.dumps(_plain(value), indent=2, default=str))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def amount(value: float, resource: str) -> str:
    """An amount for people: `0.25`, `1.5 GiB`, `12 MB/s`; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    unit = BY_NAME[resource].unit
    if unit == "bytes":
        return _scaled(value, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB"))
    if unit == "bytes/s":
        return _scaled(value, 1000.0, ("B/s", "kB/s", "MB/s", "GB/s"))
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _scaled(value: float, base: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(value) < base:
            return (
                f"{value:.0f} {unit}" if value >= 100 or unit == units[0] else f"{value:.1f} {unit}"
            )
        value /= base
    return f"{value:.1f} {units[-1]}"
