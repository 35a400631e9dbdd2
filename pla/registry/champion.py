"""The aliases `champion` and `previous`: who is in force, and how that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pla.ports import Clock, RegistryError
from pla.registry import versions
from pla.registry.connection import Connection

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
PREVIOUS = "previous"
# On the registered model: the version PLA itself made champion. Where the alias names another
# one, somebody moved it by hand.
CHAMPION_TAG = "pla.champion"
# On a version: who last promoted or withdrew it, and when.
PROMOTED_BY, PROMOTED_AT = "pla.promoted_by", "pla.promoted_at"
WITHDRAWN_BY, WITHDRAWN_AT = "pla.withdrawn_by", "pla.withdrawn_at"


@dataclass(frozen=True, slots=True)
class Promotion:
    """Who made `version` champion, and when (UTC, ISO 8601)."""

    version: str
    by: str
    at: str


class ChampionAlias:
    """The aliases of the registered model `model`."""

    def __init__(self, connection: Connection, model: str, clock: Clock) -> None:
        self._connection = connection
        self._model = model
        self._clock = clock

    def version(self) -> str | None:
        """See `pla.ports.ModelRegistry.champion_version`."""
        with self._connection.talk("asking for the champion") as client:
            champion = versions.aliased(client, self._model, CHAMPION)
        return None if champion is None else str(champion.version)

    def promotion(self, version: str) -> Promotion | None:
        """Who made `version` champion; None if PLA did not: the alias was moved by hand."""
        with self._connection.talk(f"asking who promoted version {version}") as client:
            tags = versions.find(client, self._model, version).tags
            made = client.get_registered_model(self._model).tags.get(CHAMPION_TAG)
        if made != version or PROMOTED_BY not in tags:
            return None
        return Promotion(version, tags[PROMOTED_BY], tags.get(PROMOTED_AT, ""))

    def promote(self, version: str, by: str) -> None:
        """See `pla.ports.ModelRegistry.promote`."""
        with self._connection.talk(f"promoting version {version}") as client:
            versions.find(client, self._model, version)
            replaced = versions.aliased(client, self._model, CHAMPION)
            if replaced is not None and str(replaced.version) != version:
                client.set_registered_model_alias(self._model, PREVIOUS, str(replaced.version))
            self._put_in_force(client, version, by)

    def rollback(self, by: str) -> str:
        """See `pla.ports.ModelRegistry.rollback`."""
        with self._connection.talk("rolling back") as client:
            withdrawn = versions.aliased(client, self._model, CHAMPION)
            previous = versions.aliased(client, self._model, PREVIOUS)
            if previous is None or withdrawn is None or previous.version == withdrawn.version:
                raise RegistryError(
                    f"MLflow at {self._connection.where}: model {self._model} has no version to "
                    f"roll back to (alias `{PREVIOUS}`); name one with `pla models promote VERSION`"
                )
            version = str(previous.version)
            self._put_in_force(client, version, by)
            client.delete_registered_model_alias(self._model, PREVIOUS)
            note = {WITHDRAWN_BY: by, WITHDRAWN_AT: self._now()}
            self._note(client, str(withdrawn.version), note)
        return version

    def _put_in_force(self, client: MlflowClient, version: str, by: str) -> None:
        # The alias last: it is what counts, and by then it is written who moved it.
        self._note(client, version, {PROMOTED_BY: by, PROMOTED_AT: self._now()})
        client.set_registered_model_tag(self._model, CHAMPION_TAG, version)
        client.set_registered_model_alias(self._model, CHAMPION, version)

    def _note(self, client: MlflowClient, version: str, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            client.set_model_version_tag(self._model, version, name, value)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.now_s(), UTC).isoformat(timespec="seconds")
