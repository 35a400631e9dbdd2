"""MLflow's own tables on PostgreSQL: the whole life of a version once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from infra.testbed.postgres import Unavailable, private_cluster

pytestmark = [pytest.mark.mlflow, pytest.mark.postgres]


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(private_cluster())
        except Unavailable as error:
            pytest.skip(str(error))
        yield cluster.create_database()


def test_register_promote_load_and_roll_back(
    postgres_url: str, open_registry: Any, register: Any
) -> None:
    registry = open_registry(postgres_url)
    assert registry.champion_version() is None
    first, second = register(registry, 1.0), register(registry, 2.0)
    registry.promote(first, by="gate")
    registry.promote(second, by="gate")
    assert registry.champion_version() == second
    assert registry.load(second).peak == 2.0
    assert registry.rollback(by="watch") == first
    assert [(v.version, v.aliases) for v in registry.versions()] == [
        (second, ()),
        (first, ("champion",)),
    ]
