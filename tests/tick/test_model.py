"""A model whose code fails: the rules that need no forecast still act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

MIB = 2.0**20

MakeWorld = Callable[..., Any]


@pytest.mark.parametrize("method", ["featurise", "predict"])
def test_a_defective_model_takes_nothing_back_and_still_answers_what_is_held_down(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    idle, held_down = [0.1, 20 * MIB], [4.0, 85 * MIB]
    world = make_world(
        [idle, held_down], [[4.0, 400 * MIB], [1.0, 100 * MIB]], forecast=(0.2, 30 * MIB)
    )
    world.live(2)

    def fail(*_: object) -> None:
        raise RuntimeError("wrong number of columns")

    monkeypatch.setattr(world.forecaster, method, fail)
    report = world.tick()
    assert report.errors == [
        "model 7 failed, so nothing is taken back: RuntimeError: wrong number of columns"
    ]
    assert world.platforms[0].amounts.tolist() == [[4.0, 400 * MIB], [1.5, 100 * MIB]]
    assert [w for w, *_ in world.platforms[0].done] == ["sim://sim-1"]
    monkeypatch.undo()
    world.run(2)
    assert world.platforms[0].amounts[0, 0] < 4.0
