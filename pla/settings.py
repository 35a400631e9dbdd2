"""One frozen, validated settings tree, read once at an entry point.

`pla.yaml` has a default for every key; `PLA_SECTION__KEY` in the environment overrides it.
Secrets come from the environment or a file, never from `pla.yaml`.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pla.core.fleet import ControlledValues, Mode, Tier
from pla.core.resources import BY_NAME

ENV_PREFIX = "PLA_"
CHECKOUT = Path(__file__).resolve().parent.parent


class ConfigError(Exception):
    """The configuration cannot be used. Names the file (or variable), the key and the cure."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class TickSettings(_Section):
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


class TierSettings(_Section):
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
            _require_resource(name)
        return value


def _require_resource(name: str) -> None:
    if name not in BY_NAME:
        raise ValueError(f"unknown resource {name!r}: known are {', '.join(BY_NAME)}")


def _shipped_tiers() -> dict[str, TierSettings]:
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
            priority=50, quantile=0.99, headroom=0.2, cooldown_s=600, max_shrink_fraction=0.5
        ),
        "burstable": TierSettings(
            priority=10, quantile=0.95, headroom=0.1, cooldown_s=300, max_shrink_fraction=0.7
        ),
    }


class PolicySettings(_Section):
    """The rules of `pla.core.policy` and `pla.core.planner`."""

    censored_growth: float = Field(1.5, gt=1, le=10, description="Raise per tick while held down.")
    censored_ratio: float = Field(0.95, gt=0, le=1, description="Usage/limit that counts as such.")
    shrink_deadband: float = Field(0.8, gt=0, lt=1, description="Shrink only below this share.")
    incompressible_margin: float = Field(0.1, ge=0, le=2, description="Above the recent peak.")
    recent_peak_s: float = Field(3600.0, gt=0, le=48 * 3600, description="What recent means [s].")
    stale_raise_factor: float = Field(3.0, ge=1, description="x stale_after: raise to the peak.")


class RetrainSettings(_Section):
    """Scheduled retraining and its gate."""

    interval_s: float = Field(86_400.0, gt=0, description="Real time between retrainings [s].")
    history_days: float = Field(14.0, gt=0, le=400)
    holdout_days: float = Field(2.0, gt=0, description="Most recent part, judged by the gate.")
    rounds: int = Field(200, ge=10, le=5000)
    max_rows: int = Field(400_000, ge=1000, description="Training rows per resource.")
    threads: int = Field(2, ge=1)
    seed: int = 0
    minimum_history_hours: float = Field(24.0, gt=0)


class SimulatorSettings(_Section):
    """The embedded default platform: a simulated cluster that replays a trace."""

    enabled: bool = False
    url: str | None = Field(None, description="A running one; otherwise `pla up` starts it.")
    trace: Path = CHECKOUT / "infra" / "recorder" / "recording" / "usage.parquet"
    start: str | None = Field(None, description="Where in the trace the live part begins (UTC).")
    speed: float = Field(1.0, gt=0, description="Simulated seconds per real second.")
    lead_s: float = Field(2.0, ge=0)
    nodes: int = Field(4, ge=1)
    initial_fraction: float = Field(1.0, gt=0, description="Of each workload's request.")


class PrefectSettings(_Section):
    """Prefect's server: started by `pla up` unless `api_url` names one."""

    api_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(4200, gt=0, lt=65536)
    pool: str = "pla-warm"
    retrain_pool: str = "pla-retrain"


class MlflowSettings(_Section):
    """MLflow: started by `pla up` unless `tracking_uri` names one."""

    tracking_uri: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(5000, gt=0, lt=65536)
    model_name: str = "pla-forecaster"
    experiment: str = "pla-retrain"


class StoreSettings(_Section):
    """Where decisions and calibration are kept."""

    url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the home.")


class Settings(_Section):
    """Everything that can be configured."""

    home: Path = Path("~/.local/share/pla")
    resources: tuple[str, ...] = ("cpu", "memory")
    tick: TickSettings = TickSettings()
    tiers: dict[str, TierSettings] = Field(default_factory=_shipped_tiers)
    default_tier: str = "standard"
    policy: PolicySettings = PolicySettings()
    retrain: RetrainSettings = RetrainSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    prefect: PrefectSettings = PrefectSettings()
    mlflow: MlflowSettings = MlflowSettings()
    store: StoreSettings = StoreSettings()

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("resources")
    @classmethod
    def _resources_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _require_resource(name)
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one resource, and each once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.tiers:
            raise ValueError("tiers: at least one tier is needed")
        if self.default_tier not in self.tiers:
            known = ", ".join(self.tiers)
            raise ValueError(f"default_tier: {self.default_tier!r} is not one of {known}")
        ranked = sorted(self.tiers.items(), key=lambda item: item[1].priority)
        for (low, lower), (high, higher) in itertools.pairwise(ranked):
            if lower.quantile > higher.quantile:
                raise ValueError(
                    f"tiers.{high}.quantile: {higher.quantile} is below {lower.quantile} of "
                    f"{low}, which has the lower priority; raise one or lower the other"
                )
        for name, value in (("lead_s", self.tick.lead_s), ("slack_s", self.tick.slack_s)):
            if value % self.tick.step_s:
                raise ValueError(f"tick.{name}: {value} s is not a whole number of steps")
        return self

    # -- derived ---------------------------------------------------------------------------

    @property
    def clock_tick_s(self) -> float:
        """Time between ticks on the platform's clock [s]: a simulation's runs faster."""
        return self.tick.interval_s * (self.simulator.speed if self.simulator.enabled else 1.0)

    @property
    def hold_s(self) -> int:
        """What an amount must cover [s], in whole steps: the tick, the lead and the slack."""
        steps = -(-round(self.clock_tick_s) // self.tick.step_s)
        return max(steps, 1) * self.tick.step_s + self.tick.slack_s

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.store.url or f"sqlite:///{self.home / 'store.db'}"

    @property
    def mlflow_uri(self) -> str:
        """Tracking URI of MLflow."""
        return self.mlflow.tracking_uri or f"http://{self.mlflow.host}:{self.mlflow.port}"

    @property
    def prefect_url(self) -> str:
        """URL of Prefect's API."""
        return self.prefect.api_url or f"http://{self.prefect.host}:{self.prefect.port}/api"

    def core_tiers(self) -> tuple[Tier, ...]:
        """The tiers as the core knows them, highest priority first."""
        ranked = sorted(self.tiers.items(), key=lambda item: -item[1].priority)
        return tuple(
            Tier(
                name=name,
                priority=tier.priority,
                quantile=tier.quantile,
                headroom=tier.headroom,
                cooldown_s=tier.cooldown_s,
                max_shrink_fraction=tier.max_shrink_fraction,
                mode=Mode[tier.mode.upper()],
                controlled_values={
                    resource: ControlledValues[value.upper().replace("-", "_")]
                    for resource, value in tier.controlled_values.items()
                },
                canary_fraction=tier.canary_fraction,
            )
            for name, tier in ranked
        )


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `path` (none: the shipped demo on a simulated cluster) and `environ`.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, of the wrong type or
            contradicts another; the message names file or variable, key and cure.
    """
    origin = path or Path(__file__).with_name("demo.yaml")
    tree = _read_yaml(origin)
    overrides = _from_environment(environ)
    try:
        return Settings.model_validate(_merged(tree, overrides))
    except ValidationError as error:
        raise ConfigError(_explain(error, path, overrides)) from None


def json_schema() -> str:
    """JSON Schema of `pla.yaml`, for editors."""
    return json.dumps(Settings.model_json_schema(), indent=2, default=str)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML ({error})") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top, found a {type(tree)}")
    return tree


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`PLA_TICK__INTERVAL_S=5` -> {"tick": {"interval_s": 5}}; values are read as YAML.

    Only variables with a section are settings, and `PLA_HOME` and `PLA_RESOURCES`: other names
    with the prefix (`PLA_TEST_REQUIRE`) belong to others.
    """
    tree: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX):
            continue
        keys = name.removeprefix(ENV_PREFIX).lower().split("__")
        if len(keys) == 1 and keys[0] not in ("home", "resources", "default_tier"):
            continue
        node = tree
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        try:
            node[keys[-1]] = yaml.safe_load(value) if value else value
        except yaml.YAMLError as error:
            raise ConfigError(f"environment variable {name}: is not YAML ({error})") from None
    return tree


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        merged[key] = (
            _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
        )
    return merged


def _explain(error: ValidationError, path: Path | None, overrides: dict[str, Any]) -> str:
    lines = []
    for item in error.errors():
        keys = [str(part) for part in item["loc"]]
        variable = ENV_PREFIX + "__".join(keys).upper()
        origin = (
            f"environment variable {variable}"
            if _reaches(overrides, keys)
            else str(path or "built-in demo configuration")
        )
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; `pla config schema` lists those there are"
        where = ".".join(keys)
        lines.append(f"{origin}: {where}: {message}" if where else f"{origin}: {message}")
    return "\n".join(lines)


def _reaches(tree: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return bool(keys)
