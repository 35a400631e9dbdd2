"""Prometheus, and what speaks its HTTP API (VictoriaMetrics, Thanos, Mimir), as a metrics source.

`connection` asks and says what went wrong, `decoding` reads answers as columns, `packs` holds what
is asked as data, `discovery` finds out what a server has, and `source` puts it together.
"""

from __future__ import annotations

from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.packs import PackError
from pla.sources.prometheus.source import PrometheusSource

__all__ = ["PackError", "PrometheusOptions", "PrometheusSource"]
