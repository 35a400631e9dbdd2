"""The ports: what the tick needs of the outside, as Protocols. Adapters implement them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pla.core.calibration import Calibration
from pla.core.fleet import (
    Fleet,
    Forecast,
    InstanceTable,
    NodeTable,
    Tier,
    UsageBlock,
    WorkloadTable,
)
from pla.core.plan import Outcome, Resize
from pla.core.window import UsageWindow


class SourceError(Exception):
    """A metrics source did not answer, or answered nonsense. Names the host and what to do."""


class ActuatorError(Exception):
    """A platform cannot be reached at all. Names the host and what to do."""


class RegistryError(Exception):
    """The model registry cannot be reached, or a model cannot be used. Names it and what to do."""


class StoreError(Exception):
    """The store cannot be read or written. Names the file or host and what to do."""


class LeaseLost(Exception):
    """Another leader holds the lease: nothing may be written."""


class Clock(Protocol):
    """Where time comes from. A simulation has one of its own."""

    def now_s(self) -> float:
        """Wall time [epoch s]; may jump."""

    def monotonic_s(self) -> float:
        """Time that never jumps or goes back [s]."""


class MetricsSource(Protocol):
    """Usage history and live samples of the workloads it owns."""

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed steps that end in `(start_s, end_s]`, for `workloads` in their order.

        Workloads it does not know are all gaps.

        Raises:
            SourceError: nothing could be read at all.
        """


@dataclass(frozen=True, slots=True)
class FleetPart:
    """What one platform runs now; tier and mode by name-free rows of the configured tiers."""

    workloads: WorkloadTable
    instances: InstanceTable
    nodes: NodeTable


class Actuator(Protocol):
    """One platform: what runs there, and resizing it."""

    scheme: str
    """URI scheme of its workloads: `sim`, `k8s`, `kvm`, ..."""

    supports: frozenset[str]
    """Names of the resources it can resize."""

    enforces: frozenset[str]
    """Names of the resources whose amount is a hard cap: usage cannot exceed it."""

    def list(self, resources: Sequence[str]) -> FleetPart:
        """What runs now and with which amounts, from a cache that the platform keeps fresh.

        Raises:
            ActuatorError: the platform cannot be reached.
        """

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        """Carry `actions` out, one outcome each; gives up at `deadline_s` (monotonic) [s].

        Idempotent: an action whose target is in force already is APPLIED, and calls off what was
        under way for its cell.
        """

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        """Put the original amounts of `workloads` (None = all) back, with only the platform up."""


@dataclass(frozen=True, slots=True)
class FeatureBlock:
    """The forecaster's input for one cutoff.

    Attributes:
        window: the window it was made from (baselines read it directly).
        columns: per resource name an array of shape (feature, workload), float32.
        scale: the workload's own unit, shape (workload, resource), float32.
        names: feature names, the same for every resource.
    """

    window: UsageWindow
    columns: Mapping[str, NDArray[np.float32]]
    scale: NDArray[np.float32]
    names: tuple[str, ...]


class Forecaster(Protocol):
    """Makes quantiles of the coming peak. The champion model, or a baseline in its place."""

    model_version: str
    quantiles: tuple[float, ...]

    def featurise(self, window: UsageWindow, fleet: Fleet) -> FeatureBlock:
        """The features at `window.end_s`."""

    def predict(self, features: FeatureBlock) -> Forecast:
        """The forecast, not yet calibrated online."""

    def new_calibration(self, tiers: Sequence[Tier], resources: Sequence[str]) -> Calibration:
        """A calibration for this model's residuals, seeded with those outside its training.

        `resources` are those of the fleet, in its order.
        """


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered bundle: number, aliases, and the metrics and tags logged with it."""

    version: str
    aliases: tuple[str, ...]
    created_s: float
    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class ModelRegistry(Protocol):
    """Registered bundles and the aliases `champion` and `previous`."""

    def champion_version(self) -> str | None:
        """Version that the alias `champion` names; None before the first promotion.

        Raises:
            RegistryError: the registry cannot be reached.
        """

    def load(self, version: str) -> Forecaster:
        """The forecaster of `version`.

        Raises:
            RegistryError: it is corrupt, or its features are not the ones this code makes.
        """

    def versions(self) -> list[ModelVersion]:
        """Every registered version, newest first."""

    def promote(self, version: str, by: str) -> None:
        """Move `champion` to `version`, and `previous` to the one it replaces."""

    def rollback(self, by: str) -> str:
        """Move `champion` back to `previous`; returns the version now in force."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership: `epoch` grows with every new holder; valid until `expires_s` (monotonic)."""

    holder: str
    epoch: int
    expires_s: float


@dataclass(frozen=True, slots=True)
class Override:
    """A person's will for one workload and resource: fix, or floor and ceiling, until a time."""

    workload: str
    resource: str
    fix: float | None
    floor: float | None
    ceiling: float | None
    until_s: float
    why: str
    by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One change, as the store keeps it; `status` is `planned` until its outcome is known."""

    at_s: float
    epoch: int
    instance: str
    workload: str
    resource: str
    current: float
    target: float
    amount: float
    reason: str
    status: str
    message: str
    model_version: str


class TickStore(Protocol):
    """The part of the store that a tick itself needs."""

    def begin(self, name: str, lease: Lease, decisions: Sequence[Decision]) -> list[int]:
        """Write decision rows before they are carried out, if `lease` is still in force.

        One transaction; returns the row numbers, in order. No rows, no transaction.

        Raises:
            LeaseLost: another holder has the lease; nothing was written.
            StoreError: the store cannot be written; nothing was written.
        """

    def settle(self, results: Sequence[tuple[int, str, float, str]]) -> None:
        """Write what became of begun decisions: (row, status, amount reached [unit], message)."""

    def paused(self) -> bool:
        """Whether actuation is paused globally."""

    def overrides(self, now_s: float) -> list[Override]:
        """Overrides in force at `now_s`."""


class Store(TickStore, Protocol):
    """What outlives a process: decisions, calibration, lease, overrides, pauses, peaks."""

    def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Take or renew the lease `name`; None while another holder's has not run out.

        Renewing keeps the epoch; taking it over raises it. Raises StoreError.
        """

    def release(self, name: str, lease: Lease) -> None:
        """Give `lease` up at an orderly end, so that a successor need not wait for its end."""

    def check(self, name: str, lease: Lease) -> None:
        """Raises LeaseLost if `lease` is no longer the one in force."""

    def decisions(self, workload: str | None, limit: int) -> list[Decision]:
        """The newest decisions, newest first."""

    def last_changes(self, since_s: float) -> Mapping[tuple[str, str], float]:
        """Time of the newest applied change per (instance, resource) since then [epoch s]."""

    def set_paused(self, paused: bool, by: str, why: str) -> None:
        """Pause or resume all actuation; audited."""

    def put_override(self, override: Override) -> None:
        """Write or replace the override of its workload and resource; audited."""

    def load_state(self, key: str) -> bytes | None:
        """An opaque state blob (calibration, stored peaks), None if there is none."""

    def save_state(self, key: str, value: bytes, guard: tuple[str, Lease] | None = None) -> None:
        """Replace the blob `key`; with `guard` (name, lease) only while that lease is in force.

        Raises:
            LeaseLost: it is not; nothing was written.
        """

    def audit(self, at_s: float, by: str, what: str, detail: Mapping[str, Any]) -> None:
        """Append to the audit trail."""

    def close(self) -> None:
        """Close all connections."""
