"""Several sources as one: each answers for its own workloads, and fails for no others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from pla.core.fleet import UsageBlock
from pla.ports import SourceError
from pla.sources.several import Owner, SeveralSources

END_S, STEP_S = 1_700_006_400, 60


@dataclass
class Constant:
    """A source whose every sample is `value`; `lag` steps behind the others."""

    value: float
    lag: int = 0
    error: Exception | None = None
    partial: bool = False
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        self.asked.append(tuple(workloads))
        if self.error is not None:
            raise self.error
        steps = (end_s - start_s) // step_s - self.lag
        shape = (steps, len(resources), len(workloads))
        values = np.full(shape, self.value, dtype=np.float32)
        values[:] += np.arange(len(workloads), dtype=np.float32) / 8
        return UsageBlock(
            values=values,
            censored=np.ones(shape, dtype=np.bool_),
            killed=np.zeros((steps, shape[2]), dtype=np.bool_),
            end_s=end_s - self.lag * step_s,
            step_s=step_s,
            warnings=(f"of {self.value}",),
            partial=self.partial,
        )


WORKLOADS = ("kvm://h/b", "k8s://prod/ns/Pod/x/c", "kvm://h/a", "sim://s", "k8s://dev/ns/Pod/x/c")


def read(source: SeveralSources, workloads: Sequence[str] = WORKLOADS) -> UsageBlock:
    return source.read(workloads, ("cpu", "memory"), END_S - 5 * STEP_S, END_S, STEP_S)


def test_each_answers_for_its_own_in_the_order_asked() -> None:
    prod, kvm, rest = Constant(1.0), Constant(2.0, partial=True), Constant(3.0)
    source = SeveralSources(
        [Owner("p", prod, ("k8s://prod",)), Owner("k", kvm, ("kvm://",)), Owner("r", rest)]
    )
    block = read(source)
    assert block.values.shape == (5, 2, 5) and block.end_s == END_S
    np.testing.assert_array_equal(block.values[0, 0], [2.0, 1.0, 2.125, 3.0, 3.125])
    assert block.censored.all() and not block.unavailable and block.partial
    assert block.warnings == ("of 1.0", "of 2.0", "of 3.0")
    assert prod.asked == [("k8s://prod/ns/Pod/x/c",)]
    assert kvm.asked == [("kvm://h/b", "kvm://h/a")]


@pytest.mark.parametrize("error", [SourceError("h: down; start it"), KeyError("x")])
def test_a_dead_source_takes_only_its_own_with_it(error: Exception) -> None:
    dead = Constant(0.0, error=error)
    source = SeveralSources([Owner("dead", dead, ("kvm://",)), Owner("alive", Constant(1.0))])
    block = read(source)
    assert np.isnan(block.values[:, :, [0, 2]]).all()
    assert np.isfinite(block.values[:, :, [1, 3, 4]]).all()
    assert set(block.unavailable) == {0, 2} and not block.censored[:, :, [0, 2]].any()
    words = block.unavailable[0]
    assert words == str(error) if isinstance(error, SourceError) else "dead: KeyError" in words
    dead.error = None
    assert np.isfinite(read(source).values).all()


def test_all_dead_is_an_error_that_names_each() -> None:
    source = SeveralSources(
        [
            Owner("a", Constant(0, error=SourceError("a: down")), ("kvm://",)),
            Owner("b", Constant(0, error=SourceError("b: cut"))),
        ]
    )
    with pytest.raises(SourceError, match="a: down; b: cut"):
        read(source)


def test_a_source_that_lags_has_gaps_at_the_end() -> None:
    slow = Constant(1.0, lag=2)
    block = read(SeveralSources([Owner("slow", slow, ("kvm://",)), Owner("rest", Constant(2.0))]))
    assert block.end_s == END_S
    assert np.isfinite(block.values[:3, 0, 0]).all() and np.isnan(block.values[3:, 0, 0]).all()
    assert np.isfinite(block.values[:, 0, 1]).all()
    # Where only the slow one is asked, there is nothing beyond its end.
    assert read(SeveralSources([Owner("slow", slow)])).end_s == END_S - 2 * STEP_S


def test_who_has_no_owner_is_told() -> None:
    block = read(SeveralSources([Owner("k", Constant(1.0), ("kvm://h",))]))
    assert set(block.unavailable) == {1, 3, 4} and "sources.owns" in block.unavailable[3]


def test_a_wrong_answer_is_not_entered() -> None:
    class Wrong(Constant):
        def read(self, workloads, *rest):  # type: ignore[no-untyped-def]
            return super().read(("one-too-many", *workloads), *rest)

    source = SeveralSources([Owner("wrong", Wrong(9.0), ("kvm://",)), Owner("r", Constant(1.0))])
    block = read(source)
    assert np.isnan(block.values[:, :, 0]).all() and "wrong: answered other" in block.unavailable[0]


def test_they_are_asked_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)

    class Waiting(Constant):
        def read(self, *asked):  # type: ignore[no-untyped-def]
            meeting.wait()
            return super().read(*asked)

    source = SeveralSources([Owner("a", Waiting(1), ("kvm://",)), Owner("b", Waiting(2))])
    assert np.isfinite(read(source).values).all()


@pytest.mark.parametrize(
    ("prefixes", "words"),
    [
        ((("kvm://",), ("kvm://",)), "two metrics sources own kvm://"),
        (((), ()), "two metrics sources own whatever nobody else owns"),
        ((("kvm",), ()), "'kvm' is no prefix of workloads"),
        ((("k8s://prod/ns",), ()), "is no prefix"),
    ],
)
def test_unclear_ownership_is_refused(prefixes: tuple[tuple[str, ...], ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SeveralSources([Owner(str(n), Constant(n), own) for n, own in enumerate(prefixes)])
