"""The rules for Prometheus: promtool runs their unit tests, and every alert has such tests."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.testbed.debian import Unavailable, program

RULES = Path(__file__).resolve().parents[2] / "infra" / "prometheus"


def read(name: str) -> Any:
    return yaml.safe_load((RULES / name).read_text(encoding="utf-8"))


def alerts() -> dict[str, Any]:
    groups = read("alerts.yml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*arguments: str) -> None:
    try:
        command = [str(program("prometheus", "promtool")), *arguments]
    except Unavailable as error:
        pytest.skip(str(error))
    done = subprocess.run(command, cwd=RULES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_the_rules_are_valid() -> None:
    promtool("check", "rules", "--lint-fatal", "recording.yml", "alerts.yml")


@pytest.mark.prometheus
def test_the_rules_do_what_their_tests_say() -> None:
    promtool("test", "rules", "rules.test.yml")


def test_each_alert_is_shown_firing_and_not_firing() -> None:
    expected: dict[str, set[bool]] = {name: set() for name in alerts()}
    for case in read("rules.test.yml")["tests"]:
        for test in case.get("alert_rule_test", ()):
            expected[test["alertname"]].add(bool(test["exp_alerts"]))
    assert expected == {name: {True, False} for name in alerts()}


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert {"summary", "description"} <= rule["annotations"].keys(), name
