"""Downloaded bundles on disk: whole or not at all, checked before every use.

One directory per version: `VERSION/bundle/` is what was downloaded, `VERSION/origin.json` says
where it came from and its checksum. The origin matters because version numbers do not identify a
model: an MLflow that was set up anew counts from 1 again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pla.ports import RegistryError

KEEP = 10
_ORIGIN = "origin.json"
_BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Origin:
    """What identifies a registered bundle: its model, version, run and registration time."""

    model: str
    version: str
    run_id: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class CachedBundle:
    """A bundle on disk whose content has just been checked."""

    path: Path
    origin: Origin


class BundleCache:
    """Bundles under `directory`; the `KEEP` most recently used versions stay."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, version: str) -> CachedBundle | None:
        """The bundle of `version`; None if there is none, or what there is has been damaged."""
        entry = self.directory / version
        try:
            kept = json.loads((entry / _ORIGIN).read_text(encoding="utf-8"))
            origin = Origin(**kept["origin"])
            if checksum(entry / _BUNDLE) != kept["sha256"]:
                return None
            os.utime(entry)  # recently used
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return CachedBundle(entry / _BUNDLE, origin)

    def put(
        self, origin: Origin, expected: str | None, fetch: Callable[[Path], Path]
    ) -> CachedBundle:
        """Download with `fetch` (given an empty directory, returns the folder) and keep it.

        It appears under its name whole, by a rename, or not at all.

        Raises:
            RegistryError: what came is not what was registered (`expected`, its checksum), or
                the directory cannot be written; or whatever `fetch` raises.
        """
        try:
            return self._put(origin, expected, fetch)
        except OSError as error:
            raise RegistryError(
                f"{self.directory}: model version {origin.version} cannot be kept there ({error}); "
                "free some space, or check the directory's permissions"
            ) from error

    def _put(
        self, origin: Origin, expected: str | None, fetch: Callable[[Path], Path]
    ) -> CachedBundle:
        self.directory.mkdir(parents=True, exist_ok=True)
        prefix = f".{origin.version}-"
        with tempfile.TemporaryDirectory(dir=self.directory, prefix=prefix) as scratch:
            entry = Path(scratch) / "entry"
            entry.mkdir()
            arrived = Path(scratch) / "arrived"
            arrived.mkdir()
            fetch(arrived).rename(entry / _BUNDLE)
            found = checksum(entry / _BUNDLE)
            if expected is not None and found != expected:
                raise RegistryError(
                    f"model version {origin.version} of {origin.model} arrived damaged: its "
                    f"checksum is {found[:12]}, {expected[:12]} was registered; check the "
                    "artifact store, or promote another version"
                )
            kept = {"origin": asdict(origin), "sha256": found}
            (entry / _ORIGIN).write_text(json.dumps(kept, indent=2), encoding="utf-8")
            target = self.directory / origin.version
            if target.exists():
                # Open files of a process that is loading the former one stay readable.
                target.rename(Path(scratch) / "former")
            entry.rename(target)
        self._prune()
        return CachedBundle(target / _BUNDLE, origin)

    def _prune(self) -> None:
        entries = [entry for entry in self.directory.iterdir() if (entry / _ORIGIN).exists()]
        entries.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEEP:]:
            shutil.rmtree(entry)


def checksum(folder: Path) -> str:
    """SHA-256 over names and contents of all files below `folder`, in the order of their names.

    That of the text `sha256sum` would print for them: lines of digest, two spaces, relative path.

    Raises:
        OSError: the folder does not exist, or a file cannot be read.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a directory")
    files = sorted(
        (path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file()
    )
    manifest = hashlib.sha256()
    for name, path in files:
        manifest.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n".encode())
    return manifest.hexdigest()
