"""A bundle: everything one model version consists of, as a folder.

`bundle.json` (what the models expect and promise, and the SHA-256 of every file) and one
XGBoost model per resource in UBJSON. Nothing in it is executed when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb

from pla.core.feature_names import NAMES
from pla.core.fleet import Floats
from pla.core.residuals import BINS
from pla.core.resources import specs
from pla.ports import RegistryError

FORMAT_VERSION = 2
MANIFEST = "bundle.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One model version.

    Attributes:
        boosters: per resource name.
        feature_names: of the boosters' columns, in order.
        quantiles: of the boosters' outputs, ascending.
        step_s, lead_s, hold_s: of the usage window and the forecast peak [s].
        seed: residual counts outside the training rows, shape (resource, quantile, bin), resources
            in the order of `boosters`: what the online calibration starts from.
        start_s, end_s: the history that was learnt from [epoch s].
        checksum: SHA-256 of that history.
        code_version: of PLA, when it was trained.
        notes: parameters and figures of the training, for people and for MLflow.
    """

    boosters: Mapping[str, xgb.Booster]
    feature_names: tuple[str, ...]
    quantiles: tuple[float, ...]
    step_s: int
    lead_s: int
    hold_s: int
    seed: Floats
    start_s: int
    end_s: int
    checksum: str
    code_version: str
    notes: Mapping[str, Any]

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of the resources it forecasts."""
        return tuple(self.boosters)

    def save(self, folder: Path) -> None:
        """Write the bundle into `folder`, which is made if it does not exist.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for name, booster in self.boosters.items():
            file = folder / f"{name}.ubj"
            file.write_bytes(bytes(booster.save_raw("ubj")))
            files[file.name] = _sha256(file)
        manifest = {
            "format_version": FORMAT_VERSION,
            "resources": self.resources,
            "feature_names": self.feature_names,
            "quantiles": self.quantiles,
            "step_s": self.step_s,
            "lead_s": self.lead_s,
            "hold_s": self.hold_s,
            "trained_from_s": self.start_s,
            "trained_to_s": self.end_s,
            "data_sha256": self.checksum,
            "code_version": self.code_version,
            "calibration_seed": [
                [_sparse(counts) for counts in resource] for resource in self.seed
            ],
            "notes": self.notes,
            "files": files,
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def load(folder: Path) -> Bundle:
    """The bundle in `folder`.

    Raises:
        RegistryError: a file is missing or damaged, or the bundle needs other features than this
            code makes; the message names the file, what was expected and found, and the cure.
    """
    manifest_file = folder / MANIFEST
    manifest = _read_manifest(manifest_file)
    try:
        _check_features(manifest_file, tuple(manifest["feature_names"]))
        resources = tuple(manifest["resources"])
        _check_names(resources, manifest["files"])
        for name, expected in manifest["files"].items():
            _check_file(folder / name, expected)
        quantiles = tuple(float(value) for value in manifest["quantiles"])
        _check_quantiles(quantiles)
        seed = np.array(
            [[_dense(counts) for counts in row] for row in manifest["calibration_seed"]],
            dtype=np.float64,
        ).reshape(len(resources), len(quantiles), BINS)
        return Bundle(
            boosters={
                name: _read_booster(folder / f"{name}.ubj", len(quantiles)) for name in resources
            },
            feature_names=tuple(manifest["feature_names"]),
            quantiles=quantiles,
            step_s=int(manifest["step_s"]),
            lead_s=int(manifest["lead_s"]),
            hold_s=int(manifest["hold_s"]),
            seed=seed,
            start_s=int(manifest["trained_from_s"]),
            end_s=int(manifest["trained_to_s"]),
            checksum=str(manifest["data_sha256"]),
            code_version=str(manifest["code_version"]),
            notes=dict(manifest["notes"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RegistryError(
            f"{manifest_file}: not a usable manifest ({type(error).__name__}: {error}); "
            "roll back to another version or retrain"
        ) from error


def _check_names(resources: tuple[str, ...], files: dict[str, str]) -> None:
    """Raises ValueError unless the files are those of known resources, each with a checksum.

    So a manifest names nothing outside of its folder.
    """
    specs(resources)
    if len(set(resources)) != len(resources) or set(files) != {f"{n}.ubj" for n in resources}:
        raise ValueError(f"resources {list(resources)} with the files {sorted(files)}")


def _check_quantiles(quantiles: tuple[float, ...]) -> None:
    inside = all(0.0 < value < 1.0 for value in quantiles)
    if not quantiles or not inside or list(quantiles) != sorted(set(quantiles)):
        raise ValueError(f"quantiles {list(quantiles)}: ascending ones between 0 and 1 are needed")


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegistryError(
            f"{file}: cannot be read ({error}); roll back to another version or retrain"
        ) from error
    except ValueError as error:
        raise RegistryError(
            f"{file}: is not JSON ({error}); roll back to another version or retrain"
        ) from error
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found != FORMAT_VERSION:
        raise RegistryError(
            f"{file}: format_version is {found!r}, expected {FORMAT_VERSION}; "
            "retrain with this version of PLA"
        )
    return dict(manifest)


def _check_features(file: Path, found: tuple[str, ...]) -> None:
    if found == NAMES:
        return
    position = next(
        (row for row, pair in enumerate(zip(found, NAMES, strict=False)) if pair[0] != pair[1]),
        min(len(found), len(NAMES)),
    )
    raise RegistryError(
        f"{file}: the model was trained on {len(found)} features and this code makes "
        f"{len(NAMES)}; number {position + 1} is {_at(found, position)} in the model, expected "
        f"{_at(NAMES, position)}; retrain, or run the version of PLA that trained it"
    )


def _at(names: tuple[str, ...], position: int) -> str:
    return repr(names[position]) if position < len(names) else "missing"


def _check_file(file: Path, expected: str) -> None:
    try:
        found = _sha256(file)
    except OSError as error:
        raise RegistryError(
            f"{file}: cannot be read ({error}); fetch the bundle again, roll back or retrain"
        ) from error
    if found != expected:
        raise RegistryError(
            f"{file}: damaged: SHA-256 is {found[:12]}…, expected {expected[:12]}…; "
            "fetch the bundle again, roll back or retrain"
        )


def _read_booster(file: Path, outputs: int) -> xgb.Booster:
    """The model in `file`, tried on one row: it must take the features and give the quantiles."""
    row = np.zeros((1, len(NAMES)), dtype=np.float32)
    try:
        booster = xgb.Booster(model_file=str(file))
        answered = booster.inplace_predict(row).shape
    except (xgb.core.XGBoostError, ValueError) as error:
        raise RegistryError(
            f"{file}: XGBoost cannot read it, or cannot forecast from {len(NAMES)} features "
            f"({error}); roll back or retrain"
        ) from error
    if answered != (1, outputs):
        raise RegistryError(
            f"{file}: a row is answered with an array of {answered}, expected {outputs} quantiles; "
            "roll back or retrain"
        )
    return booster


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _sparse(counts: Floats) -> list[list[float]]:
    rows = np.flatnonzero(counts)
    return [[int(row), float(counts[row])] for row in rows]


def _dense(pairs: list[list[float]]) -> Floats:
    counts = np.zeros(BINS)
    for row, count in pairs:
        counts[int(row)] = count
    return counts
