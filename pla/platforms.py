"""The platforms and metrics sources that the settings name, connected."""

from __future__ import annotations

from dataclasses import dataclass

from actuators.simulator import SimulatorClient
from pla.ports import Actuator, ActuatorError, Clock, MetricsSource
from pla.settings import Settings


@dataclass(frozen=True, slots=True)
class Platforms:
    """What a runtime acts on; `clock` is None where the machine's own is meant."""

    actuators: tuple[Actuator, ...]
    source: MetricsSource
    clock: Clock | None


def connect(settings: Settings) -> Platforms:
    """Connect to what `settings` enables.

    Raises:
        ActuatorError: nothing is enabled, or a platform cannot be reached.
    """
    if not settings.simulator.enabled:
        raise ActuatorError(
            "no platform is enabled: set `simulator.enabled: true` in pla.yaml "
            "(or leave --config out for the demo)"
        )
    if settings.simulator.url is None:
        raise ActuatorError(
            "simulator.url: the simulated cluster is not running; start it with `pla up`"
        )
    client = SimulatorClient(settings.simulator.url, settings.core_tiers())
    return Platforms(actuators=(client,), source=client, clock=client)
