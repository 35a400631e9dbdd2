"""What `pla up` shows: progress while it starts, then a line and a table per tick.

On a terminal with a spinner and colours; elsewhere plain lines, one per event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.table import Table

from flows.local.decisions import Tick
from pla.cli.console import amount
from pla.ports import Clock, Decision

PLAIN_WIDTH = 140
MOST_ROWS = 12
SAY_AGAIN_S = 10.0


class Screen:
    """The display; use as a context, so that the spinner never outlives it."""

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        plain = Console()
        self._console = console or (
            plain if plain.is_terminal else Console(width=PLAIN_WIDTH, soft_wrap=True)
        )
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._status: Status | None = None
        self._last_progress = ""
        self._last_progress_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.quiet()

    @property
    def elapsed_s(self) -> float:
        """Since the display was made [s]."""
        return self._clock.monotonic_s() - self._started_s

    def say(self, line: str) -> None:
        """One line that stays, with the seconds since the start before it."""
        self._console.print(f"[dim]{self.elapsed_s:5.1f} s[/]  {line}", highlight=False)

    def wait(self, what: str) -> None:
        """Show what is waited for: a spinner, or a plain line now and then."""
        if self._console.is_terminal:
            text = f"{what} [dim]({self.elapsed_s:.0f} s)[/]"
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            else:
                self._status.update(text)
            return
        now_s = self._clock.monotonic_s()
        if what != self._last_progress or now_s - self._last_progress_s >= SAY_AGAIN_S:
            self._last_progress, self._last_progress_s = what, now_s
            self.say(what)

    def quiet(self) -> None:
        """Nothing is waited for any more."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def heading(self, rows: Sequence[tuple[str, str]]) -> None:
        """Where everything is found."""
        table = Table(show_header=False, box=None, padding=(0, 2))
        for name, where in rows:
            table.add_row(f"[bold]{name}[/]", where)
        self._console.print(table)

    def tick(self, tick: Tick, number: int) -> None:
        """One line about `tick`, a table of what it changed, and its errors."""
        at = datetime.fromtimestamp(tick.cutoff_s, UTC)
        leader = "" if tick.leader else ", standby"
        self.say(
            f"[bold]tick {number}[/]: usage to {at:%Y-%m-%d %H:%M} UTC, model "
            f"{tick.model_version}{leader}, {words(tick.decisions)}"
        )
        for line in tick.errors:
            self._console.print(f"         [yellow]{line}[/]", highlight=False)
        if tick.decisions:
            self._console.print(decisions_table(tick.decisions))


def words(decisions: Sequence[Decision]) -> str:
    """`nothing to change`, or how many changes came to which outcome."""
    if not decisions:
        return "nothing to change"
    counts: dict[str, int] = {}
    for decision in decisions:
        counts[decision.status] = counts.get(decision.status, 0) + 1
    outcomes = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{len(decisions)} changes: {outcomes}"


def decisions_table(decisions: Sequence[Decision]) -> Table:
    """The largest changes first, at most `MOST_ROWS` of them."""

    def step(decision: Decision) -> float:
        low, high = sorted((decision.current, decision.target))
        return -high / max(low, 1e-9)

    table = Table("instance", "resource", "from", "to", "outcome", "why", expand=False)
    for decision in sorted(decisions, key=step)[:MOST_ROWS]:
        table.add_row(
            decision.instance,
            decision.resource,
            amount(decision.current, decision.resource),
            amount(decision.target, decision.resource),
            f"{decision.status} {decision.message}".strip(),
            decision.reason,
        )
    more = len(decisions) - MOST_ROWS
    if more > 0:
        table.caption = f"and {more} more: `pla decisions` lists them all"
    return table
