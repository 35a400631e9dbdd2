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
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pla.core.fleet import ControlledValues, Mode, Tier
from pla.sections import (
    MetricsSettings,
    MlflowSettings,
    PolicySettings,
    PrefectSettings,
    RetrainSettings,
    Section,
    SimulatorSettings,
    StoreSettings,
    TickSettings,
    TierSettings,
    require_resource,
    shipped_tiers,
)
from pla.source_sections import SourceSettings, check_owners

ENV_PREFIX = "PLA_"


class ConfigError(Exception):
    """The configuration cannot be used. Names the file (or variable), the key and the cure."""


class Settings(Section):
    """Everything that can be configured."""

    home: Path = Path("~/.local/share/pla")
    resources: tuple[str, ...] = ("cpu", "memory")
    tick: TickSettings = TickSettings()
    tiers: dict[str, TierSettings] = Field(default_factory=shipped_tiers)
    default_tier: str = "standard"
    policy: PolicySettings = PolicySettings()
    retrain: RetrainSettings = RetrainSettings()
    sources: tuple[SourceSettings, ...] = Field(
        (), description="Where usage is read from; none = the simulator's own metering."
    )
    simulator: SimulatorSettings = SimulatorSettings()
    prefect: PrefectSettings = PrefectSettings()
    mlflow: MlflowSettings = MlflowSettings()
    store: StoreSettings = StoreSettings()
    metrics: MetricsSettings = MetricsSettings()

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("resources", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @field_validator("resources")
    @classmethod
    def _resources_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            require_resource(name)
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one resource, and each once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_owners(self.sources)
        if not self.tiers:
            raise ValueError("tiers: at least one tier is needed")
        if self.default_tier not in self.tiers:
            known = ", ".join(self.tiers)
            raise ValueError(f"default_tier: {self.default_tier!r} is not one of {known}")
        ranked = sorted(self.tiers.items(), key=lambda item: (item[1].priority, item[1].quantile))
        for (low, lower), (high, higher) in itertools.combinations(ranked, 2):
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

    Tiers are merged over the shipped ones, key by key; a tier set to null does not exist.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, of the wrong type or
            contradicts another; the message names file or variable, key and cure.
    """
    origin = path or Path(__file__).with_name("demo.yaml")
    shipped = {"tiers": {name: tier.model_dump() for name, tier in shipped_tiers().items()}}
    overrides = _from_environment(environ)
    tree = _merged(_merged(shipped, _read_yaml(origin)), overrides)
    if isinstance(tree["tiers"], dict):
        tree["tiers"] = {name: tier for name, tier in tree["tiers"].items() if tier is not None}
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, path, overrides)) from None


def json_schema() -> str:
    """JSON Schema of `pla.yaml`, for editors."""
    return json.dumps(Settings.model_json_schema(), indent=2, default=str)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = _yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML ({error})") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        found = type(tree).__name__
        raise ConfigError(f"{path}: expected keys and values at the top, found a {found}")
    return tree


class _Loader(yaml.SafeLoader):
    """YAML without dates (`start: 2026-01-01` is the text it looks like), and each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.YAMLError(f"the key {name!r} stands there twice{node.start_mark}")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`PLA_TICK__INTERVAL_S=5` -> {"tick": {"interval_s": 5}}; values are read as YAML.

    Only variables with a section are settings, and `PLA_HOME` and `PLA_RESOURCES`: other names
    with the prefix (`PLA_TEST_REQUIRE`) belong to others. A home is a path, not YAML, in which
    `~` means nothing.
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
            if not isinstance(node, dict):
                raise ConfigError(f"environment variable {name}: {key!r} is set as a whole, too")
        try:
            node[keys[-1]] = value if keys == ["home"] or not value else _yaml(value)
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
        message = item["msg"].removeprefix("Value error, ")
        keys = [str(part) for part in item["loc"]]
        if item["type"] == "value_error" and message.split(":")[0].replace(".", "").isidentifier():
            # A rule about several keys names the one to change itself.
            key, _, message = message.partition(": ")
            keys += key.split(".")
        variable = ENV_PREFIX + "__".join(keys).upper()
        origin = (
            f"environment variable {variable}"
            if _reaches(overrides, keys)
            else str(path or "built-in demo configuration")
        )
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
