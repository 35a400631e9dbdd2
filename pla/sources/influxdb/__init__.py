"""InfluxDB 1.x as a metrics source.

Proven against 1.6.7 with InfluxQL over `/query`. InfluxDB 2.x and 3.x are unproven: both offer a
`/query` endpoint for compatibility, and nobody has tried this source on it.
"""

from pla.sources.influxdb.options import InfluxOptions
from pla.sources.influxdb.schema import Column, Kind, Measure, Name, Role
from pla.sources.influxdb.source import InfluxSource
from pla.sources.influxdb.telegraf import SCHEMAS

__all__ = ["SCHEMAS", "Column", "InfluxOptions", "InfluxSource", "Kind", "Measure", "Name", "Role"]
