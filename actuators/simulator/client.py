"""The simulator in another process as an actuator, a metrics source and a clock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from actuators.simulator.admission import Verdict
from actuators.simulator.clock import SimulatedClock
from actuators.simulator.connection import Connection, SimulatorUnreachable
from actuators.simulator.dispatch import in_portions
from actuators.simulator.ledger import ClusterStats
from actuators.simulator.listing import Inventoried, Listing
from actuators.simulator.source import Selector, coarser
from pla.core.fleet import Tier, UsageBlock
from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.ports import ActuatorError, FleetPart, SourceError


class SimulatorClient:
    """`pla.ports.Actuator`, `MetricsSource` and `Clock` of the simulator that serves at `url`.

    Safe to use from several threads. A simulator that was restarted is recognised, and its
    inventory and clock are read anew.
    """

    scheme = "sim"

    def __init__(
        self, url: str, tiers: Sequence[Tier] | None = None, timeout_s: float = 10.0
    ) -> None:
        """Connect to `url` (`http://HOST:PORT` or `unix:PATH`).

        Args:
            url: what the server printed when it started.
            tiers: the configured tiers, in row order; None = the shipped ones.
            timeout_s: how long one request may take [s].

        Raises:
            ActuatorError: it does not answer, or a workload's tier is not one of `tiers`.
        """
        self.url = url
        try:
            self._connection = Connection(url, timeout_s)
        except SimulatorUnreachable as error:
            raise ActuatorError(str(error)) from None
        self._tiers = tiers
        self._clock: SimulatedClock | None = None
        self._read_inventory()

    # -- actuator --------------------------------------------------------------------------

    def list(self, resources: Sequence[str]) -> FleetPart:
        """What runs now. Raises ActuatorError if the simulator does not answer."""
        try:
            arrays, facts = self._connection.get_arrays("/v1/fleet")
            if facts["boot"] != self._boot:
                self._read_inventory()
                arrays, facts = self._connection.get_arrays("/v1/fleet")
        except SimulatorUnreachable as error:
            raise ActuatorError(str(error)) from None
        return self._listing.part(
            resources, arrays["current"], arrays["pending"], arrays["revision"]
        )

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        """One outcome per action, in order. Raises ActuatorError if it does not answer."""

        def resize(portion: Sequence[Resize]) -> Sequence[Verdict]:
            asked = [[a.instance, a.resource, a.target, a.version] for a in portion]
            # The server gets the deadline, too: if it was stopped, it must not act late.
            left_s = max(deadline_s - time.monotonic(), 0.001)
            content = {"actions": asked, "deadline_s": deadline_s}
            answer = self._post("/v1/resize", content, left_s)
            return [_verdict(item) for item in answer["verdicts"]]

        return in_portions(actions, deadline_s, time.monotonic, resize)

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        """Put the original amounts back. Raises ActuatorError if it does not answer."""
        asked = None if workloads is None else [*workloads]
        for action, verdict in self._post("/v1/restore", {"workloads": asked})["outcomes"]:
            done = _verdict(verdict)
            yield Outcome(Resize(**action), done.status, done.amount, done.message)

    # -- source ----------------------------------------------------------------------------

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed steps that end in `(start_s, end_s]`; fewer if the newest are not closed yet.

        Raises:
            SourceError: the simulator does not answer, or `step_s` is no multiple of its step.
        """
        first_s = start_s // step_s * step_s
        try:
            arrays, facts = self._connection.get_arrays(
                f"/v1/usage?start_s={first_s}&end_s={end_s}"
            )
        except SimulatorUnreachable as error:
            raise SourceError(str(error)) from None
        block = UsageBlock(
            arrays["values"], arrays["censored"], arrays["killed"], facts["end_s"], facts["step_s"]
        )
        return self._selector.select(coarser(block, step_s), workloads, resources)

    # -- clock -----------------------------------------------------------------------------

    def now_s(self) -> float:
        """Simulated wall time [epoch s]. Raises ActuatorError if the clock must be asked in vain.

        A running clock is computed here, from the anchor that the server told: the monotonic
        clock is the same for all processes of a machine. Only a manual clock is asked each time.
        """
        if self._clock is not None:
            return self._clock.now_s()
        return float(self._get("/v1/clock")["now_s"])

    def monotonic_s(self) -> float:
        """Real monotonic time [s]."""
        return time.monotonic()

    # -- beyond the ports ------------------------------------------------------------------

    def advance(self, to_s: float) -> None:
        """Move a manual clock. Raises ActuatorError if the clock runs by itself."""
        self._post("/v1/advance", {"to_s": to_s})

    def totals(self) -> dict[str, Any]:
        """`ClusterStats.totals()` of the simulator."""
        return self._get("/v1/stats")

    def stats(self) -> ClusterStats:
        """Totals per workload since the simulation began."""
        try:
            arrays, facts = self._connection.get_arrays("/v1/stats?workloads=1")
        except SimulatorUnreachable as error:
            raise ActuatorError(str(error)) from None
        return ClusterStats(**arrays, steps=facts["steps"])

    def close(self) -> None:
        """Close this thread's connection."""
        self._connection.close()

    # -- inside ----------------------------------------------------------------------------

    def _read_inventory(self) -> None:
        try:
            arrays, facts = self._connection.get_arrays("/v1/inventory")
        except SimulatorUnreachable as error:
            raise ActuatorError(str(error)) from None
        inventoried = Inventoried(**{item.name: arrays[item.name] for item in fields(Inventoried)})
        self.supports = frozenset(inventoried.resources)
        self.enforces = frozenset(inventoried.resources)
        self._listing = Listing(inventoried, self._tiers)
        self._selector = Selector(inventoried.workload_ids, inventoried.resources)
        self._boot = facts["boot"]
        self._clock = None
        if facts["speed"]:
            self._clock = SimulatedClock(facts["start_s"], facts["speed"], facts["anchor_s"])

    def _get(self, path: str) -> dict[str, Any]:
        try:
            return self._connection.get_json(path)
        except SimulatorUnreachable as error:
            raise ActuatorError(str(error)) from None

    def _post(
        self, path: str, content: dict[str, Any], timeout_s: float | None = None
    ) -> dict[str, Any]:
        try:
            return self._connection.post_json(path, json.dumps(content).encode(), timeout_s)
        except SimulatorUnreachable as error:
            raise ActuatorError(str(error)) from None


def _verdict(item: Sequence[Any]) -> Verdict:
    status, amount, message, version, taken = item
    return Verdict(OutcomeStatus(status), float(amount), message, version, taken)
