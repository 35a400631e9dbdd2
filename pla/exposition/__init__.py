"""PLA's own series: what a ticking process shows of itself in Prometheus' format."""

from pla.exposition.exposition import Exposition

__all__ = ["Exposition"]
