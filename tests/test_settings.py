"""Settings: defaults, the environment's word, and errors that say where, what and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pla.core.fleet import ControlledValues, Mode
from pla.settings import ConfigError, Settings, json_schema, load

Load = Callable[..., Settings]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """`load_text(yaml, NAME=value, ...)`: settings from this text and this environment."""

    def read(text: str, **environ: str) -> Settings:
        path = tmp_path / "pla.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ)

    return read


@pytest.fixture
def complaint(load_text: Load, tmp_path: Path) -> Callable[..., str]:
    """`complaint(yaml, NAME=value, ...)`: what is said against it."""

    def read(text: str, **environ: str) -> str:
        with pytest.raises(ConfigError) as caught:
            load_text(text, **environ)
        return str(caught.value).replace(str(tmp_path), "DIR")

    return read


# -- what is there without a word ----------------------------------------------------------


def test_every_key_has_a_default(load_text: Load) -> None:
    assert load_text("") == Settings()
    assert load_text("tick: {}\n") == Settings()


def test_the_shipped_tiers(load_text: Load) -> None:
    tiers = load_text("").core_tiers()
    assert [(t.name, t.quantile) for t in tiers] == [
        ("critical", 0.999),
        ("standard", 0.99),
        ("burstable", 0.95),
    ]
    assert tiers[0].controlled_values == {"cpu": ControlledValues.REQUESTS}
    assert {tier.mode for tier in tiers} == {Mode.ENFORCE}


def test_without_a_file_the_demo_on_the_simulator() -> None:
    settings = load(environ={})
    assert settings.simulator.enabled
    assert settings.hold_s == settings.tick.step_s == 300


def test_the_schema_for_editors_knows_every_section() -> None:
    schema = json.loads(json_schema())
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["additionalProperties"] is False


def test_settings_do_not_change(load_text: Load) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_text("").tick.step_s = 30  # type: ignore[misc]


# -- file and environment ------------------------------------------------------------------


def test_the_environment_wins_over_the_file(load_text: Load) -> None:
    settings = load_text(
        "tick: {interval_s: 30, lease_ttl_s: 40}\nresources: [cpu]\n",
        PLA_TICK__INTERVAL_S="5",
        PLA_RESOURCES="[cpu, memory, gpu]",
        PLA_SIMULATOR__ENABLED="true",
        PLA_STORE__URL="postgresql://pla@db/pla",
    )
    assert settings.tick.interval_s == 5
    assert settings.tick.lease_ttl_s == 40
    assert settings.resources == ("cpu", "memory", "gpu")
    assert settings.simulator.enabled
    assert settings.store_url == "postgresql://pla@db/pla"


def test_a_list_may_be_written_with_commas(load_text: Load) -> None:
    assert load_text("", PLA_RESOURCES="cpu, memory").resources == ("cpu", "memory")


@pytest.mark.parametrize("home", ["/srv/pla", "~/pla", "~", "123", "/a: b"])
def test_a_home_is_a_path_whatever_it_looks_like(
    load_text: Load, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = load_text("", PLA_HOME=home).home
    assert found.is_absolute()
    assert str(found).endswith(home.replace("~", "/home/me"))


def test_variables_of_others_are_left_alone(load_text: Load) -> None:
    load_text("", PLA_TEST_REQUIRE="all", PLATFORM="x", PLA="y", OTHER__KEY="z")


def test_one_key_of_a_shipped_tier_can_be_changed(load_text: Load) -> None:
    settings = load_text("tiers: {critical: {headroom: 0.5}}", PLA_TIERS__BURSTABLE__MODE="observe")
    critical, standard, burstable = settings.core_tiers()
    assert (critical.headroom, critical.quantile) == (0.5, 0.999)
    assert standard.headroom == 0.2
    assert burstable.mode is Mode.OBSERVE


def test_a_tier_can_be_added_and_removed(load_text: Load) -> None:
    gold = "priority: 70, quantile: 0.995, headroom: 0, cooldown_s: 0, max_shrink_fraction: 1"
    settings = load_text(f"tiers: {{gold: {{{gold}}}, burstable: null}}")
    assert [tier.name for tier in settings.core_tiers()] == ["critical", "gold", "standard"]


def test_a_date_is_the_text_it_looks_like(load_text: Load) -> None:
    assert load_text("simulator: {start: 2026-01-01}").simulator.start == "2026-01-01"
    assert load_text("", PLA_SIMULATOR__START="2026-01-01T05:00:00Z").simulator.start == (
        "2026-01-01T05:00:00Z"
    )


# -- what is derived -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hold_s"),
    [
        ("", 60),
        ("tick: {interval_s: 5}", 60),
        ("tick: {interval_s: 61}", 120),
        ("tick: {interval_s: 60, slack_s: 120}", 180),
        ("tick: {interval_s: 5, step_s: 300}\nsimulator: {enabled: true, speed: 60}", 300),
        ("tick: {interval_s: 5, step_s: 300}\nsimulator: {enabled: true, speed: 120}", 600),
        ("tick: {interval_s: 5, step_s: 300}\nsimulator: {enabled: false, speed: 120}", 300),
    ],
)
def test_an_amount_must_hold_for_the_tick_and_the_slack(
    load_text: Load, text: str, hold_s: int
) -> None:
    assert load_text(text).hold_s == hold_s


def test_addresses_have_defaults_in_the_home(load_text: Load) -> None:
    settings = load_text("home: /srv/pla\nmlflow: {port: 5001}\nprefect: {api_url: http://p/api}")
    assert settings.store_url == "sqlite:////srv/pla/store.db"
    assert settings.mlflow_uri == "http://127.0.0.1:5001"
    assert settings.prefect_url == "http://p/api"


# -- what is wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tock: {}", ["DIR/pla.yaml: tock: unknown key", "pla config schema"]),
        ("tick: {intervall_s: 5}", ["DIR/pla.yaml: tick.intervall_s: unknown key"]),
        ("tick: {interval_s: soon}", ["tick.interval_s", "valid number"]),
        ("tick: {interval_s: 0}", ["tick.interval_s", "greater than 0"]),
        ("tick: {interval_s: .inf}", ["tick.interval_s", "finite number"]),
        ("tick: {interval_s: .nan}", ["tick.interval_s", "finite number"]),
        ("tick: {step_s: 7}", ["tick.step_s: 7 s does not divide an hour; take 15"]),
        ("tick: {step_s: 60.5}", ["tick.step_s", "valid integer"]),
        ("tick: 5", ["tick", "valid dictionary"]),
        ("tick: {lead_s: 90}", ["tick.lead_s: 90 s is not a whole number of steps"]),
        ("tick: {slack_s: 1}", ["tick.slack_s: 1 s is not a whole number of steps"]),
        ("tick: {step_s: 600}", ["tick.stale_after_s: 300 s is less than step_s", "raise it"]),
        ("retrain: {holdout_days: 20}", ["retrain.holdout_days: 20 leaves nothing to train on"]),
        ("resources: [cpu, ram]", ["resources: unknown resource 'ram': known are cpu, memory"]),
        ("resources: []", ["resources: name at least one resource"]),
        ("resources: [cpu, cpu]", ["resources: name at least one resource, and each once"]),
        ("resources: 5", ["resources", "valid tuple"]),
        ("default_tier: gold", ["default_tier: 'gold' is not one of critical, standard"]),
        ("tiers: {standard: {quantile: 1.0}}", ["tiers.standard.quantile", "less than 1"]),
        ("tiers: {standard: {mode: on}}", ["tiers.standard.mode", "'observe', 'canary'"]),
        ("tiers: {gold: {priority: 1}}", ["tiers.gold.quantile: Field required"]),
        ("tiers: 5", ["tiers", "valid dictionary"]),
        ("tiers: null", ["tiers", "valid dictionary"]),
        ("tiers: {critical: null, standard: null, burstable: null}", ["tiers: at least one"]),
        (
            "tiers: {standard: {controlled_values: {ram: requests}}}",
            ["tiers.standard.controlled_values: unknown resource 'ram'"],
        ),
        (
            "tiers: {standard: {quantile: 0.9999}}",
            ["tiers.critical.quantile: 0.999 is below 0.9999 of standard", "raise one or lower"],
        ),
        ("policy: {shrink_deadband: 1.5}", ["policy.shrink_deadband", "less than 1"]),
        ("prefect: {port: 70000}", ["prefect.port", "less than 65536"]),
        ("simulator: {trace: 7}", ["simulator.trace", "not a valid path"]),
        ("- tick", ["DIR/pla.yaml: expected keys and values at the top, found a list"]),
        ("tick: {interval_s: 5", ["DIR/pla.yaml: is not YAML", "line 1"]),
        ("tick: {step_s: 60}\ntick: {step_s: 30}", ["is not YAML", "'tick' stands there twice"]),
        ("home: !!python/object:os.system {}", ["DIR/pla.yaml: is not YAML"]),
        ("1: {}", ["DIR/pla.yaml"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_key(
    complaint: Callable[..., str], text: str, words: list[str]
) -> None:
    said = complaint(text)
    assert said.startswith("DIR/pla.yaml: ")
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PLA_TICK__STEP_S", "7", "tick.step_s: 7 s does not divide"),
        ("PLA_TICK__STEPS", "60", "tick.steps: unknown key"),
        ("PLA_TOCK__STEP_S", "60", "unknown key"),
        ("PLA_TICK__INTERVAL_S", "", "tick.interval_s"),
        ("PLA_TICK__INTERVAL_S", "{a", "is not YAML"),
        ("PLA_TICK__LEAD_S", "90", "tick.lead_s: 90 s is not a whole number"),
        ("PLA_DEFAULT_TIER", "gold", "default_tier: 'gold' is not one of"),
        ("PLA_RESOURCES", "cpu,ram", "unknown resource 'ram'"),
        ("PLA_TIERS__CRITICAL__QUANTILE", "0.9", "tiers.critical.quantile: 0.9 is below"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(
    complaint: Callable[..., str], name: str, value: str, words: str
) -> None:
    said = complaint("", **{name: value})
    assert said.startswith("environment variable PLA_")
    assert name.startswith(said.split()[2].rstrip(":"))
    assert words in said


def test_a_variable_that_contradicts_another_is_named(complaint: Callable[..., str]) -> None:
    environ = {"PLA_RESOURCES": "cpu", "PLA_RESOURCES__X": "memory"}
    assert "PLA_RESOURCES__X: 'resources' is set as a whole" in complaint("", **environ)


def test_every_mistake_is_named_at_once(complaint: Callable[..., str]) -> None:
    said = complaint("tick: {step_s: 7, interval_s: soon}\ntock: 1").splitlines()
    assert len(said) == 3


def test_priorities_order_quantiles_whatever_their_order(complaint: Callable[..., str]) -> None:
    common = "headroom: 0, cooldown_s: 0, max_shrink_fraction: 1"
    said = complaint(
        "tiers:\n"
        f"  b: {{priority: 20, quantile: 0.995, {common}}}\n"
        f"  a: {{priority: 20, quantile: 0.96, {common}}}\n"
    )
    assert "tiers.standard.quantile: 0.99 is below 0.995 of b" in said


def test_tiers_of_one_priority_may_have_any_quantiles(load_text: Load) -> None:
    common = "headroom: 0, cooldown_s: 0, max_shrink_fraction: 1"
    settings = load_text(
        "tiers:\n"
        f"  b: {{priority: 20, quantile: 0.98, {common}}}\n"
        f"  a: {{priority: 20, quantile: 0.96, {common}}}\n"
    )
    assert len(settings.core_tiers()) == 5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file; check --config"):
        load(tmp_path / "nowhere.yaml", {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: (cannot be read|is not YAML)"):
        load(tmp_path / "binary.yaml", {})


def test_a_secret_in_a_wrong_value_is_not_repeated(complaint: Callable[..., Any]) -> None:
    assert "hunter2" not in complaint("store: {url: {password: hunter2}}")
