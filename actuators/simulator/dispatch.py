"""Carrying actions out in portions, so that a deadline can end it between two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from actuators.simulator.admission import Verdict
from pla.core.plan import Outcome, OutcomeStatus, Resize

PORTION = 10_000


def in_portions(
    actions: Sequence[Resize],
    deadline_s: float,
    monotonic_s: Callable[[], float],
    resize: Callable[[Sequence[Resize]], Sequence[Verdict]],
) -> Iterator[Outcome]:
    """The outcomes of `actions`, in order; those after `deadline_s` (monotonic) are FAILED.

    An instance that an earlier portion changed has a new version: later actions of the same plan
    take it over, which is as safe as reading it again, for only our own change lies between.
    An action that found its target in force already renews nothing: that was somebody else's.
    """
    renewed: dict[tuple[str, str], str] = {}
    for first in range(0, len(actions), PORTION):
        portion = actions[first : first + PORTION]
        if monotonic_s() >= deadline_s:
            for action in portion:
                words = "not done: the deadline had passed"
                yield Outcome(action, OutcomeStatus.FAILED, float("nan"), words)
            continue
        asked = _with_versions(portion, renewed) if renewed else portion
        for action, verdict in zip(portion, resize(asked), strict=True):
            if verdict.taken and action.version:
                renewed[action.instance, action.version] = verdict.version
            yield Outcome(action, verdict.status, verdict.amount, verdict.message)


def _with_versions(
    actions: Sequence[Resize], renewed: Mapping[tuple[str, str], str]
) -> list[Resize]:
    """`actions`, those with an outdated version of our own making with the new one."""
    return [
        replace(action, version=renewed[key]) if key in renewed else action
        for action in actions
        for key in ((action.instance, action.version),)
    ]
