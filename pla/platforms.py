"""The platforms and metrics sources that the settings name, connected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actuators.simulator import SimulatorClient
from pla.ports import Actuator, ActuatorError, Clock, MetricsSource, SourceError
from pla.settings import Settings
from pla.source_sections import InfluxSettings, PrometheusSettings, SourceSettings
from pla.sources import secret
from pla.sources.influxdb import InfluxSource
from pla.sources.prometheus import PackError, PrometheusOptions, PrometheusSource
from pla.sources.several import Owner, SeveralSources


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
        SourceError: a metrics source cannot be used; one that is down is no error yet.
    """
    client = connect_simulator(settings)
    return Platforms(actuators=(client,), source=connect_sources(settings, client), clock=client)


def connect_actuators(settings: Settings) -> tuple[Actuator, ...]:
    """The platforms alone: what must work while metrics sources do not (`pla restore`).

    Raises:
        ActuatorError: nothing is enabled, or a platform cannot be reached.
    """
    return (connect_simulator(settings),)


def connect_simulator(settings: Settings) -> SimulatorClient:
    """The simulated cluster, which is a platform, a metering and a clock.

    Raises:
        ActuatorError: it is not enabled, or cannot be reached.
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
    return SimulatorClient(settings.simulator.url, settings.core_tiers())


def connect_sources(settings: Settings, simulator: MetricsSource | None) -> MetricsSource:
    """The sources that `settings` name; what none of them owns is the `simulator`'s own.

    Raises:
        SourceError: one of them cannot be used, or there is none at all.
    """
    owners = [
        Owner(source.url, connect_source(source, settings), source.owns)
        for source in settings.sources
    ]
    everything = any(not owner.prefixes for owner in owners)
    if simulator is not None and not everything:
        owners.append(Owner("the simulator's metering", simulator))
    if not owners:
        raise SourceError("no metrics source: name one under `sources` in pla.yaml")
    if len(owners) == 1:
        return owners[0].source
    try:
        return SeveralSources(owners)
    except ValueError as error:
        raise SourceError(f"sources: {error}") from None


def connect_source(source: SourceSettings, settings: Settings) -> PrometheusSource | InfluxSource:
    """The source of one entry of `sources`; nothing is asked yet.

    Raises:
        SourceError: its packs, certificates or secrets cannot be used.
    """
    if isinstance(source, InfluxSettings):
        return _connect_influxdb(source)
    return _connect_prometheus(source, settings)


def _connect_influxdb(source: InfluxSettings) -> InfluxSource:
    def read(file: Path | None, key: str) -> str:
        return "" if file is None else secret.read(file, source.url, key)

    options = source.options(
        password=read(source.password_file, "password_file"),
        token=read(source.token_file, "token_file"),
    )
    return InfluxSource(options)


def _connect_prometheus(source: PrometheusSettings, settings: Settings) -> PrometheusSource:
    tenant = {"X-Scope-OrgID": source.tenant} if source.tenant else {}
    same = source.model_dump(exclude={"kind", "owns", "packs", "tenant", "headers"})
    options = PrometheusOptions(
        **same,
        packs=None if source.packs == "auto" else source.packs,
        headers=source.headers | tenant,
        censored_ratio=settings.policy.censored_ratio,
    )
    try:
        return PrometheusSource(options)
    except PackError as error:
        raise SourceError(f"sources: {source.url}: {error}") from None
