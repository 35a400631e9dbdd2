"""The gate promotes what costs less at equal coverage, and says why it does not."""

from __future__ import annotations

import math

import pytest

from pla.training.promotion import Candidate, judge

NOMINAL = {"critical": 0.001, "standard": 0.01}
WINDOWS = {"critical": 2_000, "standard": 20_000}


def candidate(
    name: str, cpu: float, memory: float, critical: float = 0.001, standard: float = 0.01
) -> Candidate:
    misses = {
        (tier, resource): missed
        for tier, missed in (("critical", critical), ("standard", standard))
        for resource in ("cpu", "memory")
    }
    return Candidate(name, {"cpu": cpu, "memory": memory}, misses)


def rival(name: str, cpu: float, memory: float) -> Candidate:
    return Candidate(name, {"cpu": cpu, "memory": memory}, {})


def test_the_first_model_must_beat_every_baseline() -> None:
    ours = candidate("challenger", 0.5, 0.5)
    verdict = judge(ours, None, [rival("max:1h", 0.8, 0.6)], NOMINAL, WINDOWS)
    assert verdict.promote
    assert "max:1h" in verdict.reasons[0]
    verdict = judge(ours, None, [rival("max:1h", 0.4, 0.5)], NOMINAL, WINDOWS)
    assert not verdict.promote
    assert "costs 1.12 x max:1h" in verdict.reasons[0]


def test_a_resource_may_not_pay_for_another() -> None:
    ours = candidate("challenger", 0.1, 0.8)
    verdict = judge(ours, None, [rival("max:1h", 1.0, 0.7)], NOMINAL, WINDOWS)
    assert not verdict.promote
    assert verdict.reasons[0].startswith("memory: costs 1.14 x max:1h")


def test_the_champion_is_a_rival_like_any_other() -> None:
    ours = candidate("challenger", 0.5, 0.5)
    assert not judge(ours, candidate("champion", 0.49, 0.5), [], NOMINAL, WINDOWS).promote
    assert judge(ours, candidate("champion", 0.52, 0.5), [], NOMINAL, WINDOWS).promote


def test_a_rival_that_cannot_keep_the_promise_loses_and_a_challenger_that_cannot_does_too() -> None:
    assert judge(
        candidate("challenger", 0.5, 0.5), None, [rival("max:1h", math.inf, 9.0)], NOMINAL, WINDOWS
    ).promote
    assert not judge(
        candidate("challenger", math.inf, 0.5), None, [rival("x", 9.0, 9.0)], NOMINAL, WINDOWS
    ).promote


@pytest.mark.parametrize(("missed", "promoted"), [(0.011, True), (0.03, False)])
def test_no_tiers_coverage_may_be_worse_than_promised(missed: float, promoted: bool) -> None:
    ours = candidate("challenger", 0.5, 0.5, standard=missed)
    verdict = judge(ours, None, [rival("max:1h", 0.8, 0.8)], NOMINAL, WINDOWS)
    assert verdict.promote is promoted
    if not promoted:
        assert "standard cpu: 3.00% of hold windows exceeded" in verdict.reasons[0]


def test_a_champion_that_misses_more_does_not_block_one_that_misses_less() -> None:
    ours = candidate("challenger", 0.5, 0.5, standard=0.02)
    worse = candidate("champion", 0.6, 0.6, standard=0.025)
    assert judge(ours, worse, [], NOMINAL, WINDOWS).promote


def test_few_windows_excuse_a_miss_that_chance_explains() -> None:
    ours = candidate("challenger", 0.5, 0.5, critical=0.003)
    few, many = {"critical": 300, "standard": 300}, {"critical": 100_000, "standard": 100_000}
    assert judge(ours, None, [rival("x", 1.0, 1.0)], NOMINAL, few).promote
    assert not judge(ours, None, [rival("x", 1.0, 1.0)], NOMINAL, many).promote
