"""Rules and dashboards name what a ticking process really shows, and a Prometheus answers them."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.testbed.debian import Unavailable
from infra.testbed.prometheus import prometheus
from infra.testbed.ticking import Ticking, ticking

INFRA = Path(__file__).resolve().parents[2] / "infra"
RULE_FILES = (INFRA / "prometheus" / "recording.yml", INFRA / "prometheus" / "alerts.yml")
DASHBOARDS = sorted((INFRA / "grafana" / "dashboards").glob("*.json"))
NAME = re.compile(r"\bpla[_:][a-z0-9_:]*")
VARIABLE = re.compile(r"\$\{?([a-z_]+)")
PATIENCE_S = 60.0

pytestmark = [pytest.mark.mlflow, pytest.mark.prometheus]


def rules() -> list[dict[str, str]]:
    groups = [g for path in RULE_FILES for g in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def dashboard(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def queries(path: Path) -> list[str]:
    return [t["expr"] for panel in dashboard(path)["panels"] for t in panel.get("targets", ())]


def label_values(path: Path) -> list[tuple[str, str]]:
    """(metric, label) of each variable that is asked of Prometheus."""
    found = []
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert asked, variable["definition"]
            found.append((asked[1], asked[2]))
    return found


@dataclass
class Live:
    """A Prometheus with the rules, and the ticking process that it scrapes."""

    world: Ticking
    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; a refused query is an AssertionError with the server's words."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def exposed(self) -> set[str]:
        """Names of all samples that the process shows."""
        with urllib.request.urlopen(self.world.url, timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {sample.name for family in families for sample in family.samples}

    def filled(self, query: str) -> str:
        """`query` with a value for each of the dashboards' variables."""
        workload = self.world.runtime.dry_run().fleet.workloads.ids[0]
        values = {"resource": "cpu", "tier": ".*", "workload": workload, "__rate_interval": "10s"}
        return VARIABLE.sub(lambda found: values[found[1]], query)


@pytest.fixture(scope="module")
def live(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("scraped")
    home = folder / "home"
    home.mkdir()
    database = Path(shutil.copy(migrated_database, home / "mlflow.db"))
    with ExitStack() as stack:
        world = stack.enter_context(ticking(home, database))
        target = world.url.removeprefix("http://").removesuffix("/metrics")
        world.tick(2)
        try:
            server = stack.enter_context(
                prometheus(folder / "prometheus", targets=[target], scrape_s=0.25, rules=RULE_FILES)
            )
        except Unavailable as error:
            pytest.skip(str(error))
        yield Live(world, server.url)


def test_every_metric_that_is_named_exists(live: Live) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    there = live.exposed() | recorded
    named = {name for rule in rules() for name in NAME.findall(rule["expr"])}
    for path in DASHBOARDS:
        named |= {name for query in queries(path) for name in NAME.findall(query)}
        named |= {metric for metric, _ in label_values(path)}
    assert len(named) > 30
    assert named <= there, f"not exposed: {sorted(named - there)}"


def test_what_is_recorded_is_used() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for path in DASHBOARDS for query in queries(path) for name in NAME.findall(query)}
    used |= {name for rule in rules() for name in NAME.findall(rule["expr"])}
    assert recorded <= used


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_is_answered_with_data(live: Live, path: Path) -> None:
    pending = {query: live.filled(query) for query in queries(path)}
    assert len(pending) >= 9
    deadline_s = time.monotonic() + PATIENCE_S
    while pending and time.monotonic() < deadline_s:
        live.world.tick()
        time.sleep(0.3)  # a scrape, and the rules after it
        pending = {
            query: filled
            for query, filled in pending.items()
            if not live.ask("query", query=filled)["result"]
        }
    assert not pending, f"no data for {list(pending.values())}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_variable_has_values(live: Live, path: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    for metric, label in label_values(path):
        while not (found := live.ask(f"label/{label}/values", **{"match[]": metric})):
            assert time.monotonic() < deadline_s, f"no {label} of {metric}"
            time.sleep(0.1)
        assert all(found)


def test_the_server_takes_the_scrape_and_the_rules(live: Live) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        (target,) = live.ask("targets")["activeTargets"]
        groups = live.ask("rules")["groups"]
        healths = {rule["health"] for group in groups for rule in group["rules"]}
        if target["health"] == "up" and healths == {"ok"}:
            break
        assert time.monotonic() < deadline_s, (target, healths)
        time.sleep(0.1)
    assert target["lastError"] == ""


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_can_load(path: Path) -> None:
    board = dashboard(path)
    assert board["uid"]
    assert board["title"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    boxes = [panel["gridPos"] for panel in board["panels"]]
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    taken = [cell for box in boxes for cell in _cells(box)]
    assert len(set(taken)) == len(taken), "panels overlap"
    variables = {variable["name"] for variable in board["templating"]["list"]}
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            used = set(VARIABLE.findall(target["expr"])) - {"__rate_interval"}
            assert used <= variables


def _cells(box: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(box["x"], box["x"] + box["w"])
    return [(x, y) for x in columns for y in range(box["y"], box["y"] + box["h"])]


def test_provisioning_points_at_what_is_there() -> None:
    provisioning = INFRA / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pla.yml").read_text())["providers"]
    assert provider["type"] == "file"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus"
