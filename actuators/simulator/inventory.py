"""Which workloads run where: tiers, requests and replicas, and the nodes that hold them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actuators.simulator.demand import Demand
from pla.core.fleet import Floats, Ints
from pla.core.resources import BY_NAME, MIB, floors, round_up, specs

REQUEST_QUANTILE = 0.99
REQUEST_FACTOR = 1.5
"""A request that nobody wrote down: this factor on this quantile of the demand so far."""

TIER_SHARES = (("critical", 2), ("standard", 5), ("burstable", 3))
"""Tenths of the workloads per tier, where nobody says which tier a workload has."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Static facts of each of `names`.

    Attributes:
        names: as in the demand, shape (workload,).
        tiers: tier names, shape (workload,).
        replicas: running copies, at least 1, shape (workload,).
        request: what owners wrote down, in the demand's resources, shape (resource, workload);
            NaN where the cell does not exist [unit].
    """

    names: tuple[str, ...]
    tiers: tuple[str, ...]
    replicas: NDArray[np.int64]
    request: Floats


def inventory(
    demand: Demand, start_s: int, sidecar: Path | None = None, replicas: int = 1
) -> Inventory:
    """The inventory of `demand`'s workloads.

    A request comes from the sidecar, else from the trace's allocation columns, else from the
    demand before `start_s` (`REQUEST_FACTOR` x its `REQUEST_QUANTILE`). A tier comes from the
    sidecar, else from a checksum of the name. Amounts are at least the resource's floor.

    `sidecar` is a JSON list of {"name", "tier", "replicas", "request": {resource: amount}}, of
    which only the name is needed; a recording's `cpu_request_cores` and `memory_request_mib`
    count as requests.

    Raises:
        ValueError: the sidecar cannot be read or contradicts itself; names file and entry.
    """
    known = _read_sidecar(sidecar) if sidecar is not None else {}
    first = (start_s - demand.start_s) // demand.step_s
    derived = REQUEST_FACTOR * demand.peak(
        first - 7 * 86_400 // demand.step_s, first, REQUEST_QUANTILE
    )
    stated = demand.request[:, demand.series] * demand.scale
    request = np.where(np.isnan(stated), derived, stated)
    tiers: list[str] = []
    copies = np.full(len(demand.names), replicas, dtype=np.int64)
    for row, name in enumerate(demand.names):
        entry = known.get(name, {})
        tiers.append(str(entry.get("tier", _assigned_tier(name))))
        copies[row] = entry.get("replicas", replicas)
        for column, resource in enumerate(demand.resources):
            request[column, row] = entry.get("request", {}).get(resource, request[column, row])
    support = demand.support[:, demand.series]
    amounts = np.maximum(round_up(request.T, demand.resources), floors(demand.resources)).T
    return Inventory(demand.names, tuple(tiers), copies, np.where(support, amounts, np.nan))


def node_capacity(
    request: Floats, resources: Sequence[str], nodes: int, headroom: float = 1.5
) -> Floats:
    """Equal capacities of `nodes` nodes, shape (resource, node) [unit].

    `request` (resource, instance) is what they must hold; each resource has `headroom` times the
    node's share of the sum, or times twice the largest request if that is more. Storage and
    network are not a node's: inf.
    """
    total = np.nansum(request, axis=1)
    largest = np.nanmax(request, axis=1, initial=0.0)
    each = headroom * np.maximum(total / nodes, 2 * largest)
    each = round_up(each, resources)
    own = np.array([name in ("cpu", "memory", "gpu") for name in resources])
    return np.repeat(np.where(own, each, np.inf)[:, None], nodes, axis=1)


def place(request: Floats, capacity: Floats) -> Ints:
    """First-fit decreasing: node of each instance, shape (instance,).

    Instances are taken by their largest share of a node, largest first (ties by row), onto the
    first node with room. Nodes are first filled up to the fleet's average load plus a tenth, so
    that each keeps room for growth; what does not fit so may fill a node up.

    Args:
        request: shape (resource, instance); NaN = the cell does not exist [unit].
        capacity: shape (resource, node); inf = unlimited.

    Raises:
        ValueError: an instance fits no node; names its row and the shortest resource.
    """
    need = np.nan_to_num(request, nan=0.0)
    load = float((need.sum(axis=1) / capacity.sum(axis=1)).max(initial=0.0))
    share = (need / capacity.max(axis=1, initial=0.0)[:, None]).max(axis=0, initial=0.0)
    order = np.argsort(-share, kind="stable")
    free = capacity.copy()
    room = capacity * (min(1.1 * load, 1.0) if load > 0 else 1.0)
    node = np.full(need.shape[1], -1, dtype=np.int32)
    _first_fit(need, order, room, node)
    placed = node >= 0
    for row in range(len(free)):
        taken = np.bincount(node[placed], need[row, placed], minlength=free.shape[1])
        free[row] -= taken
    _first_fit(need, order[~placed[order]], free, node)
    if (node < 0).any():
        left = int(np.argmax(node < 0))
        raise ValueError(
            f"instance {left} with requests {need[:, left].tolist()} fits none of the "
            f"{free.shape[1]} nodes: add nodes or capacity"
        )
    return node


def _first_fit(
    need: Floats, order: NDArray[np.int64], room: Floats, node: NDArray[np.int32]
) -> None:
    """Put the instances of `order` on the first node with `room`, which shrinks; else leave -1."""
    for row, amounts in zip(order.tolist(), need.T[order].tolist(), strict=True):
        fits = room[0] >= amounts[0]
        for column in range(1, len(amounts)):
            fits &= room[column] >= amounts[column]
        found = int(fits.argmax())
        if fits[found]:
            node[row] = found
            room[:, found] -= amounts


def _assigned_tier(name: str) -> str:
    tenth = zlib.crc32(name.encode()) % sum(share for _, share in TIER_SHARES)
    for tier, share in TIER_SHARES:
        if tenth < share:
            return tier
        tenth -= share
    raise AssertionError("the shares cover every tenth")


def _read_sidecar(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of workloads")
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ValueError(f"{path}: entry {number} has no name")
        where = f"{path}: workload {entry['name']!r}"
        if entry["name"] in found:
            raise ValueError(f"{where} stands twice")
        found[entry["name"]] = {**entry, "request": _requests(entry, where)}
        copies = entry.get("replicas", 1)
        if not isinstance(copies, int) or copies < 1:
            raise ValueError(f"{where}: replicas is {copies!r}, expected a whole number from 1")
    return found


def _requests(entry: Mapping[str, Any], where: str) -> dict[str, float]:
    stated = dict(entry.get("request", {}))
    if "cpu_request_cores" in entry:
        stated.setdefault("cpu", entry["cpu_request_cores"])
    if "memory_request_mib" in entry:
        stated.setdefault("memory", entry["memory_request_mib"] * MIB)
    specs([name for name in stated if name in BY_NAME or _unknown(name, where)])
    for name, amount in stated.items():
        if not isinstance(amount, int | float) or not 0 <= amount < np.inf:
            raise ValueError(f"{where}: request.{name} is {amount!r}, expected an amount")
    return stated


def _unknown(name: str, where: str) -> bool:
    raise ValueError(f"{where}: unknown resource {name!r}; known are {', '.join(BY_NAME)}")
