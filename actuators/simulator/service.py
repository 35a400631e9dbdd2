"""What the simulator answers over HTTP: paths to calls, without any socket.

| request | answer |
|---|---|
| GET /v1/clock | `now_s`, `closed_s`, `start_s`, `step_s`, `speed`, `anchor_s`, `boot` |
| GET /v1/inventory | Arrow: what never changes |
| GET /v1/fleet | Arrow: amounts, versions and resizes under way now |
| GET /v1/usage?start_s&end_s | Arrow: closed steps that end in `(start_s, end_s]` |
| GET /v1/stats | JSON: totals (`ClusterStats.totals`); `?workloads=1`: Arrow, all of it |
| GET /metrics, /metrics/history | for Prometheus, see `exporter` |
| POST /v1/resize | JSON `{"actions": [[instance, resource, target, version], ...], \
"deadline_s": monotonic}` |
| POST /v1/restore | JSON `{"workloads": [...] or null}` |
| POST /v1/advance | JSON `{"to_s": T}`: only where the clock is moved by hand (speed 0) |
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np

from actuators.simulator import exporter
from actuators.simulator.actuator import facts_of
from actuators.simulator.admission import Verdict
from actuators.simulator.clock import ManualClock, SimulatedClock
from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.ledger import ClusterStats
from actuators.simulator.wire import ARROW, pack
from pla.core.plan import OutcomeStatus, Resize

JSON = "application/json"


class Answer(NamedTuple):
    """An HTTP answer: status, content type, body."""

    status: int
    content_type: str
    body: bytes


class BadRequest(ValueError):
    """A request that cannot be understood; says what is wrong with it."""


class Service:
    """Answers requests about `cluster`, whose time is that of `clock`."""

    def __init__(self, cluster: SimulatedCluster, clock: SimulatedClock | ManualClock) -> None:
        self.cluster = cluster
        self.clock = clock
        self._boot = uuid.uuid4().hex
        self._gets = {
            "/v1/clock": self._clock,
            "/v1/inventory": self._inventory,
            "/v1/fleet": self._fleet,
            "/v1/usage": self._usage,
            "/v1/stats": self._stats,
            "/metrics": self._metrics,
            "/metrics/history": self._metrics_history,
        }
        self._posts = {
            "/v1/resize": self._resize,
            "/v1/restore": self._restore,
            "/v1/advance": self._advance,
        }

    def get(self, path: str, query: Mapping[str, str]) -> Answer:
        """Answer a GET of `path` with `query`."""
        if path not in self._gets:
            return problem(404, f"no such path: {path}")
        self.cluster.advance(self.clock.now_s())
        try:
            return self._gets[path](query)
        except BadRequest as error:
            return problem(400, str(error))

    def post(self, path: str, body: bytes) -> Answer:
        """Answer a POST of the JSON `body` to `path`."""
        if path not in self._posts:
            return problem(404, f"no such path: {path}")
        self.cluster.advance(self.clock.now_s())
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise BadRequest("the body must be a JSON object")
            return self._posts[path](asked)
        except (BadRequest, json.JSONDecodeError, UnicodeDecodeError) as error:
            return problem(400, f"{path}: {error}")

    # -- reading ---------------------------------------------------------------------------

    def _clock(self, query: Mapping[str, str]) -> Answer:
        return _json(self._time())

    def _time(self) -> dict[str, Any]:
        """The time, and what makes a clock out of it in another process."""
        clock = self.clock
        anchor: tuple[float | None, float | None, float] = (None, None, 0.0)
        if isinstance(clock, SimulatedClock):
            anchor = clock.start_s, clock.anchor_s, clock.speed
        return {
            "now_s": clock.now_s(),
            "closed_s": self.cluster.closed_s,
            "step_s": self.cluster.step_s,
            "start_s": anchor[0],
            "anchor_s": anchor[1],
            "speed": anchor[2],
            "boot": self._boot,
        }

    def _inventory(self, query: Mapping[str, str]) -> Answer:
        facts = facts_of(self.cluster)
        arrays = {item.name: getattr(facts, item.name) for item in fields(facts)}
        return _arrow(arrays, self._time())

    def _fleet(self, query: Mapping[str, str]) -> Answer:
        with self.cluster.lock:
            arrays = {
                "current": self.cluster.current(),
                "pending": self.cluster.pending(),
                "revision": self.cluster.revisions(),
            }
        return _arrow(arrays, self._time())

    def _usage(self, query: Mapping[str, str]) -> Answer:
        start_s, end_s = _whole(query, "start_s"), _whole(query, "end_s")
        block = self.cluster.usage(start_s, end_s)
        arrays = {"values": block.values, "censored": block.censored, "killed": block.killed}
        return _arrow(arrays, {"end_s": block.end_s, "step_s": block.step_s})

    def _stats(self, query: Mapping[str, str]) -> Answer:
        stats = self.cluster.stats()
        if "workloads" not in query:
            return _json(stats.totals())
        arrays, facts = stats_parts(stats)
        return _arrow(arrays, facts)

    def _metrics(self, query: Mapping[str, str]) -> Answer:
        return Answer(200, exporter.TEXT, exporter.metrics(self.cluster))

    def _metrics_history(self, query: Mapping[str, str]) -> Answer:
        return Answer(200, exporter.OPENMETRICS, exporter.history(self.cluster))

    # -- acting ----------------------------------------------------------------------------

    def _resize(self, asked: Mapping[str, Any]) -> Answer:
        actions = [_action(item) for item in _list(asked, "actions")]
        if time.monotonic() >= asked.get("deadline_s", math.inf):
            late = Verdict(OutcomeStatus.FAILED, math.nan, "not done: the deadline had passed", "")
            return _json({"verdicts": [_listed(late)] * len(actions)})
        verdicts = self.cluster.resize(actions)
        return _json({"verdicts": [_listed(verdict) for verdict in verdicts]})

    def _restore(self, asked: Mapping[str, Any]) -> Answer:
        workloads = None if asked.get("workloads") is None else _list(asked, "workloads")
        answers = self.cluster.restore(workloads)
        return _json({"outcomes": [[asdict(a), _listed(verdict)] for a, verdict in answers]})

    def _advance(self, asked: Mapping[str, Any]) -> Answer:
        if not isinstance(self.clock, ManualClock):
            return problem(409, "the clock runs by itself: start with --speed 0 to move it by hand")
        to_s = asked.get("to_s")
        if not isinstance(to_s, int | float) or not np.isfinite(to_s):
            raise BadRequest(f"to_s is {to_s!r}, expected a time")
        if to_s < self.clock.now_s():
            raise BadRequest(f"to_s: {to_s} has passed; it is {self.clock.now_s()}")
        self.clock.move_to(to_s)
        self.cluster.advance(to_s)
        return _json(self._time())


def stats_parts(stats: ClusterStats) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and plain facts of `stats`, for the wire."""
    every = {item.name: getattr(stats, item.name) for item in fields(stats)}
    return {k: v for k, v in every.items() if k != "steps"}, {"steps": stats.steps}


def problem(status: int, words: str) -> Answer:
    """An error answer."""
    return Answer(status, JSON, json.dumps({"error": words}).encode())


def _json(content: Mapping[str, Any]) -> Answer:
    return Answer(200, JSON, json.dumps(content).encode())


def _arrow(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Answer:
    return Answer(200, ARROW, pack(arrays, facts))


def _listed(verdict: Verdict) -> list[Any]:
    return [verdict.status.value, *verdict[1:]]


def _action(item: Any) -> Resize:
    if not isinstance(item, list) or len(item) != 4:
        raise BadRequest(f"action {item!r}: expected [instance, resource, target, version]")
    instance, resource, target, version = item
    if not isinstance(target, int | float):
        raise BadRequest(f"action {item!r}: the target is no number")
    return Resize(str(instance), "", str(resource), math.nan, float(target), 0, str(version))


def _whole(query: Mapping[str, str], name: str) -> int:
    try:
        return int(query[name])
    except (KeyError, ValueError):
        raise BadRequest(f"{name} is {query.get(name)!r}, expected whole seconds") from None


def _list(asked: Mapping[str, Any], name: str) -> list[Any]:
    value = asked.get(name)
    if not isinstance(value, list):
        raise BadRequest(f"{name} is {value!r}, expected a list")
    return value
