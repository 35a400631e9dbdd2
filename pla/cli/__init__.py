"""The command line: `pla`.

Exit codes: 0 fine, 1 failed, 2 bad usage or configuration. Errors name the file, key or host, and
what to do.
"""

from __future__ import annotations

import sys

import typer
from typer.main import get_command

from pla.cli import config, models, operate
from pla.cli.assess import assess
from pla.cli.backtest import backtest
from pla.cli.console import fail
from pla.cli.doctor import doctor
from pla.ports import ActuatorError, RegistryError, SourceError, StoreError
from pla.settings import ConfigError
from pla.sources.trace import TraceError
from pla.training.errors import TooLittleHistory

app = typer.Typer(
    name="pla",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Predictive Load Analyzer: resources for containers and VMs before they need them.",
)
app.command("up")(operate.up)
app.command("train")(operate.train)
app.command("tick")(operate.tick)
app.command("plan")(operate.plan)
app.command("decisions")(operate.decisions)
app.command("restore")(operate.restore)
app.command("doctor")(doctor)
app.command("backtest")(backtest)
app.command("assess")(assess)
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")


def command_names() -> set[tuple[str, ...]]:
    """Every command as the words that call it, for the check of the documents."""
    found: set[tuple[str, ...]] = set()

    def walk(command: object, words: tuple[str, ...]) -> None:
        if words:
            found.add(words)
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*words, name))

    walk(get_command(app), ())
    return found


def main() -> None:
    """Entry point: known errors become one line and an exit code, not a traceback."""
    try:
        app()
    except (ConfigError, TraceError) as error:
        sys.exit(fail(error, 2))
    except (ActuatorError, RegistryError, SourceError, StoreError, TooLittleHistory) as error:
        sys.exit(fail(error, 1))
