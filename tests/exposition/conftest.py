"""A runtime on real parts whose `/metrics` can be scraped, and what a scrape says."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra.testbed.ticking import Ticking, ticking


class Scrape:
    """The samples of one answer: `scrape("pla_x", label=...)` is the value of the one that fits."""

    def __init__(self, text: str) -> None:
        self.text = text
        families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in families for sample in family.samples]

    def all(self, name: str, **labels: str) -> list[float]:
        return [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def __call__(self, name: str, **labels: str) -> float:
        (value,) = self.all(name, **labels)
        return value

    def labels(self, name: str, label: str) -> set[str]:
        return {sample.labels[label] for sample in self.samples if sample.name == name}


def _scrape(url: str) -> Scrape:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return Scrape(answer.read().decode())


@pytest.fixture(scope="session")
def scrape() -> Callable[[str], Scrape]:
    return _scrape


@pytest.fixture
def open_ticking(migrated_database: Path, tmp_path: Path) -> Iterator[Callable[..., Ticking]]:
    """`open_ticking(workloads=3, ...)`: keys of the section `metrics`."""
    with ExitStack() as stack:

        def build(**metrics: Any) -> Ticking:
            home = tmp_path / f"home-{len(list(tmp_path.iterdir()))}"
            home.mkdir()
            database = Path(shutil.copy(migrated_database, home / "mlflow.db"))
            return stack.enter_context(ticking(home, database, **metrics))

        yield build
