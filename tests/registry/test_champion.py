"""Aliases: promotion, rollback, and people who move them by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pla.ports import RegistryError
from pla.registry import MlflowRegistry, Promotion

pytestmark = pytest.mark.mlflow


class FixedClock:
    def now_s(self) -> float:
        return 1_700_000_000.0  # 2023-11-14T22:13:20Z

    def monotonic_s(self) -> float:
        return 0.0


AT = "2023-11-14T22:13:20+00:00"


@pytest.fixture
def registry(open_registry: Any, tracking_uri: str) -> MlflowRegistry:
    made: MlflowRegistry = open_registry(tracking_uri, clock=FixedClock())
    return made


def aliases(registry: MlflowRegistry) -> dict[str, str]:
    return {alias: v.version for v in registry.versions() for alias in v.aliases}


def test_there_is_no_champion_before_the_first_promotion(
    registry: MlflowRegistry, register: Any
) -> None:
    assert registry.champion_version() is None  # no such model
    assert registry.versions() == []
    register(registry, 1.0)
    assert registry.champion_version() is None  # no such alias


def test_promotion_moves_champion_and_previous(registry: MlflowRegistry, register: Any) -> None:
    first, second = register(registry, 1.0), register(registry, 2.0)
    registry.promote(first, by="gate")
    assert aliases(registry) == {"champion": first}
    registry.promote(second, by="ada")
    assert aliases(registry) == {"champion": second, "previous": first}
    assert registry.champion_version() == second
    assert registry.promotion(second) == Promotion(second, "ada", AT)


def test_promoting_the_champion_again_keeps_previous(
    registry: MlflowRegistry, register: Any
) -> None:
    first, second = register(registry, 1.0), register(registry, 2.0)
    registry.promote(first, by="gate")
    registry.promote(second, by="gate")
    registry.promote(second, by="ada")
    assert aliases(registry) == {"champion": second, "previous": first}
    assert registry.promotion(second) == Promotion(second, "ada", AT)


def test_rollback_goes_back_once(registry: MlflowRegistry, register: Any) -> None:
    first, second = register(registry, 1.0), register(registry, 2.0)
    registry.promote(first, by="gate")
    registry.promote(second, by="gate")
    assert registry.rollback(by="watch") == first
    assert aliases(registry) == {"champion": first}
    assert registry.promotion(first) == Promotion(first, "watch", AT)
    (withdrawn,) = [v for v in registry.versions() if v.version == second]
    assert withdrawn.tags["pla.withdrawn_by"] == "watch"
    assert withdrawn.tags["pla.withdrawn_at"] == AT
    with pytest.raises(RegistryError, match="no version to roll back to"):
        registry.rollback(by="watch")
    assert registry.champion_version() == first


def test_rollback_without_a_champion(registry: MlflowRegistry, register: Any) -> None:
    with pytest.raises(RegistryError, match="pla models promote"):
        registry.rollback(by="ada")
    registry.promote(register(registry, 1.0), by="gate")
    with pytest.raises(RegistryError, match="no version to roll back to"):
        registry.rollback(by="ada")


def test_an_alias_moved_by_hand_is_obeyed_and_can_be_told(
    registry: MlflowRegistry, register: Any, client: Any, names: dict[str, str]
) -> None:
    first, second = register(registry, 1.0), register(registry, 2.0)
    registry.promote(first, by="gate")
    registry.promote(second, by="gate")
    client.set_registered_model_alias(names["model_name"], "champion", first)
    assert registry.champion_version() == first
    # `first` bears the tag of its former promotion: what is in force now is not PLA's doing.
    assert registry.promotion(first) is None
    registry.promote(first, by="ada")
    assert registry.promotion(first) == Promotion(first, "ada", AT)


def test_an_alias_removed_by_hand_leaves_no_champion(
    registry: MlflowRegistry, register: Any, client: Any, names: dict[str, str]
) -> None:
    registry.promote(register(registry, 1.0), by="gate")
    client.delete_registered_model_alias(names["model_name"], "champion")
    assert registry.champion_version() is None


@pytest.mark.parametrize("version", ["99", "champion", "", "-1", "../1"])
def test_unknown_versions_are_refused_and_change_nothing(
    registry: MlflowRegistry, register: Any, version: str
) -> None:
    first = register(registry, 1.0)
    registry.promote(first, by="gate")
    with pytest.raises(RegistryError, match=r"version.*pla models list"):
        registry.promote(version, by="ada")
    with pytest.raises(RegistryError, match=r"version.*pla models list"):
        registry.load(version)
    assert aliases(registry) == {"champion": first}
