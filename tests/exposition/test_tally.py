"""Histograms as Prometheus means them."""

from __future__ import annotations

from pla.exposition.tally import BUCKETS_S, Durations


def test_a_bucket_holds_what_is_at_most_its_bound() -> None:
    seconds = Durations()
    for value in (0.0005, 0.001, 0.002, 1.0, 1000.0):
        seconds.add(value)
    shown = dict(seconds.cumulative())
    assert shown["0.001"] == 2
    assert shown["0.003"] == 3
    assert shown["1.0"] == 4
    assert shown["60.0"] == 4
    assert shown["+Inf"] == 5
    assert seconds.sum_s == 0.0005 + 0.001 + 0.002 + 1.0 + 1000.0
    assert list(shown) == [*(repr(bound) for bound in BUCKETS_S), "+Inf"]
