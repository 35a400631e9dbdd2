"""The sections of `pla.yaml`: every key with its default, its bounds and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pla.core.resources import BY_NAME

CHECKOUT = Path(__file__).resolve().parent.parent


class Section(BaseModel):
    """A part of the settings: frozen, and every key is a known one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )


class TickSettings(Section):
    """The prediction-and-actuation cycle."""

    interval_s: float = Field(60.0, gt=0, description="Real time between two ticks [s].")
    step_s: int = Field(60, gt=0, description="Width of a usage step [s]; divides an hour.")
    lead_s: int = Field(0, ge=0, description="From a decision to its effect, in whole steps [s].")
    slack_s: int = Field(0, ge=0, description="Added to what an amount must cover [s].")
    stale_after_s: float = Field(300.0, gt=0, description="Older data never shrinks anything [s].")
    deadline_s: float = Field(20.0, gt=0, description="What each platform gets to act [s].")
    lease_ttl_s: float = Field(30.0, gt=0, description="A leader silent for this long is replaced.")

    @field_validator("step_s")
    @classmethod
    def _divides_an_hour(cls, value: int) -> int:
        if 3600 % value:
            raise ValueError(f"{value} s does not divide an hour; take 15, 30, 60, 300, ...")
        return value

    @model_validator(mode="after")
    def _fresh_data_exists(self) -> Self:
        if self.stale_after_s < self.step_s:
            raise ValueError(
                f"stale_after_s: {self.stale_after_s:g} s is less than step_s ({self.step_s} s), "
                "so that even the newest step would be stale; raise it to two steps or more"
            )
        return self


class TierSettings(Section):
    """A service level (`pla.core.fleet.Tier`)."""

    priority: int
    quantile: float = Field(gt=0.5, lt=1)
    headroom: float = Field(ge=0, le=5)
    cooldown_s: float = Field(ge=0)
    max_shrink_fraction: float = Field(gt=0, le=1)
    mode: Literal["observe", "canary", "enforce"] = "enforce"
    controlled_values: dict[str, Literal["requests", "requests-and-limits"]] = Field(
        default_factory=dict, description="Per resource; absent means requests-and-limits."
    )
    canary_fraction: float = Field(0.1, gt=0, le=1)

    @field_validator("controlled_values")
    @classmethod
    def _known_resources(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            require_resource(name)
        return value


def require_resource(name: str) -> None:
    """Raises ValueError for a name that is not in the catalogue; it lists those that are."""
    if name not in BY_NAME:
        raise ValueError(f"unknown resource {name!r}: known are {', '.join(BY_NAME)}")


def shipped_tiers() -> dict[str, TierSettings]:
    """The tiers that exist without any configuration."""
    return {
        "critical": TierSettings(
            priority=100,
            quantile=0.999,
            headroom=0.3,
            cooldown_s=1800,
            max_shrink_fraction=0.3,
            # A CPU limit throttles exactly those who must not be: requests only.
            controlled_values={"cpu": "requests"},
        ),
        "standard": TierSettings(
            priority=50, quantile=0.99, headroom=0.2, cooldown_s=300, max_shrink_fraction=0.5
        ),
        "burstable": TierSettings(
            priority=10, quantile=0.95, headroom=0.1, cooldown_s=120, max_shrink_fraction=0.7
        ),
    }


class PolicySettings(Section):
    """The rules of `pla.core.policy` and `pla.core.planner`."""

    censored_growth: float = Field(1.5, gt=1, le=10, description="Raise per tick while held down.")
    censored_ratio: float = Field(0.95, gt=0, le=1, description="Usage/limit that counts as such.")
    shrink_deadband: float = Field(0.8, gt=0, lt=1, description="Shrink only below this share.")
    incompressible_margin: float = Field(0.1, ge=0, le=2, description="Above the recent peak.")
    recent_peak_s: float = Field(1800.0, gt=0, le=48 * 3600, description="What recent means [s].")
    kill_quantile: float = Field(
        0.999, gt=0.5, lt=1, description="Least forecast quantile where a hard cap kills (memory)."
    )
    kill_peak_s: float = Field(
        86_400.0, gt=0, le=7 * 86_400, description="What recent means where a hard cap kills [s]."
    )
    stale_raise_factor: float = Field(3.0, ge=1, description="x stale_after: raise to the peak.")


class RetrainSettings(Section):
    """Scheduled retraining and its gate."""

    interval_s: float = Field(86_400.0, gt=0, description="Real time between retrainings [s].")
    history_days: float = Field(14.0, gt=0, le=400)
    holdout_days: float = Field(2.0, gt=0, description="Most recent part, judged by the gate.")
    rounds: int = Field(150, ge=10, le=5000)
    max_rows: int = Field(500_000, ge=1000, description="Training rows per resource.")
    threads: int = Field(2, ge=1)
    seed: int = 0
    minimum_history_hours: float = Field(24.0, gt=0)

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        if self.holdout_days >= self.history_days:
            raise ValueError(
                f"holdout_days: {self.holdout_days:g} leaves nothing to train on of "
                f"history_days ({self.history_days:g}); lower it"
            )
        return self


class SimulatorSettings(Section):
    """The embedded default platform: a simulated cluster that replays a trace."""

    enabled: bool = False
    url: str | None = Field(None, description="A running one; otherwise `pla up` starts it.")
    trace: Path = CHECKOUT / "infra" / "recorder" / "recording" / "usage.parquet"
    start: str | None = Field(None, description="Where in the trace the live part begins (UTC).")
    speed: float = Field(1.0, gt=0, description="Simulated seconds per real second.")
    lead_s: float = Field(2.0, ge=0)
    nodes: int = Field(4, ge=1)
    initial_fraction: float = Field(1.0, gt=0, description="Of each workload's request.")


class PrefectSettings(Section):
    """Prefect's server: started by `pla up` unless `api_url` names one."""

    api_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(4200, gt=0, lt=65536)
    pool: str = "pla-warm"
    retrain_pool: str = "pla-retrain"


class MlflowSettings(Section):
    """MLflow: started by `pla up` unless `tracking_uri` names one."""

    tracking_uri: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(5000, gt=0, lt=65536)
    model_name: str = "pla-forecaster"
    experiment: str = "pla-retrain"


class StoreSettings(Section):
    """Where decisions and calibration are kept."""

    url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the home.")


class MetricsSettings(Section):
    """PLA's own series, which the ticking worker shows in Prometheus' format."""

    enabled: bool = True
    host: str = Field("127.0.0.1", description="Address that /metrics is served on.")
    port: int = Field(9465, gt=0, lt=65536)
    workloads: int = Field(
        1000, ge=0, le=100_000, description="At most so many have series of their own."
    )
