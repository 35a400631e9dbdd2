"""What outlives a ticking process, as blobs in the store: calibration, peaks, champion.

Only the leader writes it: a standby's memory is a copy, and must not overwrite it. What cannot be
understood when it is read back costs what it knew, never the start.
"""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from pla.core.calibration import Calibration
from pla.core.window import HOUR_S
from pla.ports import Forecaster, Lease, Store
from pla.tick_state import TickState

log = logging.getLogger(__name__)

PEAKS = "peaks"
CHAMPION = "champion"
WEEK_S = 7 * 24 * HOUR_S


def calibration(store: Store, fresh: Calibration) -> Calibration | None:
    """`fresh` as it was when its model was last in force; None if it never was.

    Raises:
        StoreError: the store cannot be read.
    """
    blob = store.load_state(_calibration_key(fresh.model_version))
    if blob is None:
        return None
    try:
        return fresh.restored(blob)
    except ValueError as error:
        log.warning("calibration starts from the model's backtest: %s", error)
        return None


def champion(store: Store) -> str | None:
    """The model version that was last in force. Raises StoreError."""
    blob = store.load_state(CHAMPION)
    return None if blob is None else blob.decode()


def peaks(store: Store, resources: tuple[str, ...], now_s: float) -> dict[str, list[float | None]]:
    """Seven-day peaks per workload, in the order of `resources`; None = never seen.

    Nothing if they are older than the seven days they speak of. Raises StoreError.
    """
    blob = store.load_state(PEAKS)
    if blob is None:
        return {}
    try:
        saved = json.loads(blob)
        if now_s - saved["end_s"] >= WEEK_S:
            return {}
        return _in_order(saved["peaks"], saved["resources"], resources)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        # It is an aid of the first seven days; without it the window alone knows the peaks.
        log.warning("stored seven-day peaks are not used: %s: %s", type(error).__name__, error)
        return {}


def save(store: Store, name: str, lease: Lease, state: TickState, forecaster: Forecaster) -> None:
    """Write all of it, while `lease` of `name` is in force.

    Raises:
        LeaseLost: it is not; nothing more was written.
        StoreError: the store cannot be written.
    """
    guard = name, lease
    if state.ids:
        store.save_state(PEAKS, _peaks_blob(state), guard)
    version = forecaster.model_version
    store.save_state(_calibration_key(version), state.calibration.to_bytes(), guard)
    if not version.startswith("baseline:"):
        store.save_state(CHAMPION, version.encode(), guard)


def _calibration_key(model_version: str) -> str:
    return f"calibration:{model_version}"


def _peaks_blob(state: TickState) -> bytes:
    rows = zip(state.ids, state.stored_peak().tolist(), strict=True)
    kept = {name: [None if math.isnan(peak) else peak for peak in row] for name, row in rows}
    about = {"end_s": state.window.end_s, "resources": state.window.resources, "peaks": kept}
    return json.dumps(about).encode()


def _in_order(
    rows: dict[str, Any], had: list[str], wanted: tuple[str, ...]
) -> dict[str, list[float | None]]:
    """`rows` over the resources `had`, over `wanted`: the configuration may have changed."""
    column = {name: index for index, name in enumerate(had)}
    places = [column.get(name) for name in wanted]
    return {
        name: [None if place is None else _amount(row[place]) for place in places]
        for name, row in rows.items()
    }


def _amount(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
