"""Every platform at work at the same time, each within the tick's deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.ports import Actuator, ActuatorError, Clock


@dataclass(frozen=True, slots=True)
class Job:
    """What one platform has to do."""

    actuator: Actuator
    actions: tuple[Resize, ...]


class _Answers:
    """What one platform has answered so far; written by its thread, read by the tick's.

    A list and one event: a queue would wake the waiting thread for each of 100,000 outcomes.
    """

    def __init__(self) -> None:
        self.outcomes: list[tuple[tuple[str, str], Outcome]] = []
        self.why = "no answer before the deadline"
        self.unsure = True
        self._ended = threading.Event()

    def end(self, why: str, unsure: bool) -> None:
        """There will be no more, for the reason `why`; `unsure` whether the rest was done."""
        self.why, self.unsure = why, unsure
        self._ended.set()

    def wait(self, seconds: float) -> tuple[dict[tuple[str, str], Outcome], str]:
        """What was answered within `seconds`, by cell, and why there is no more."""
        self._ended.wait(max(seconds, 0.0))
        # Copied at one moment: what comes later is too late.
        return dict(list(self.outcomes)), self.why


class Crew:
    """Runs every platform's job at the same time, and waits for none beyond its deadline.

    A platform that hangs keeps its thread; until that comes back it gets no new job. Its actions
    cannot take effect late: an actuator checks the deadline before each of them, and no further
    one is asked of it once the deadline has passed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._busy: dict[int, threading.Thread] = {}

    def run(self, jobs: Sequence[Job], seconds: float, expires_s: float) -> list[Outcome]:
        """The outcomes of all jobs, in order; each has `seconds`, and none acts after `expires_s`.

        `expires_s` is the end of the lease (monotonic) [s].
        """
        deadline_s = min(self._clock.monotonic_s() + seconds, expires_s)
        started = [(job, self._start(job, deadline_s)) for job in jobs]
        outcomes: list[Outcome] = []
        for job, results in started:
            outcomes.extend(self._await(job, results, deadline_s))
        return outcomes

    def _start(self, job: Job, deadline_s: float) -> _Answers | None:
        # By identity: two clusters have one scheme. The thread holds its actuator, so the id of a
        # busy one is not taken by another.
        former = self._busy.get(id(job.actuator))
        if former is not None and former.is_alive():
            return None
        answers = _Answers()
        thread = threading.Thread(
            target=_work,
            args=(job, self._clock, deadline_s, answers),
            name=f"actuate-{job.actuator.scheme}",
            daemon=True,
        )
        self._busy[id(job.actuator)] = thread
        thread.start()
        return answers

    def _await(self, job: Job, answers: _Answers | None, deadline_s: float) -> list[Outcome]:
        """One outcome for each action, in the order of the actions, whatever the platform does."""
        known: dict[tuple[str, str], Outcome] = {}
        words = "still busy with the former tick's changes"
        if answers is not None:
            known, words = answers.wait(deadline_s - self._clock.monotonic_s())
        words = f"{job.actuator.scheme}: {words}"
        unsure = answers is not None and answers.unsure
        return [known.get(_key(action)) or _failed(action, words, unsure) for action in job.actions]


def _key(action: Resize) -> tuple[str, str]:
    return action.instance, action.resource


def _work(job: Job, clock: Clock, deadline_s: float, answers: _Answers) -> None:
    """Let the actuator work until it is done or the deadline has passed.

    Its outcomes go to `answers`, and last why there are no more. An outcome that comes late is
    none: nobody waits for it any more, and the next tick sees what is really in force.
    """
    why, unsure = "it gave no outcome for this change", True
    try:
        if clock.monotonic_s() >= deadline_s:
            outcomes: Iterator[Outcome] = iter(())
        else:
            outcomes = iter(job.actuator.apply(job.actions, deadline_s))
        while clock.monotonic_s() < deadline_s:
            outcome = next(outcomes, None)
            if outcome is None:
                break
            if clock.monotonic_s() < deadline_s:
                answers.outcomes.append((_key(outcome.action), outcome))
        else:
            why = "the deadline had passed"
    except ActuatorError as error:
        why, unsure = str(error), False  # it cannot be reached at all: nothing was done
    except Exception as error:  # a defect of one platform's code must not stop the others
        why = f"{type(error).__name__}: {error}"
    answers.end(why, unsure)


def _failed(action: Resize, words: str, unsure: bool) -> Outcome:
    return Outcome(action, OutcomeStatus.FAILED, float("nan"), words, unsure)
