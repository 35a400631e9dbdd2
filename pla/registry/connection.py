"""The way to MLflow: imported late, asked with short timeouts, its failures in words."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pla.ports import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Only what the operator has not set. MLflow would try a server that is down for minutes, and asks
# for these at every request.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# Two threads that import it at once would see it half made.
_import_lock = threading.Lock()


class MissingError(RegistryError):
    """MLflow answers, and does not have what was asked for."""


class Connection:
    """MLflow at `tracking_uri`, connected to by the first call; may be used from any thread.

    Attributes:
        tracking_uri: `http://host:port` of a server, or a database URI that is opened directly.
        where: the same without a password, for messages.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri
        self.where = without_password(tracking_uri)
        self._client: MlflowClient | None = None
        self._lock = threading.Lock()

    @contextmanager
    def talk(self, doing: str) -> Iterator[MlflowClient]:
        """The client; what fails while `doing` becomes a RegistryError.

        Raises:
            MissingError: it does not have what was asked for.
            RegistryError: it does not answer, or refuses.
        """
        try:
            yield self._connected()
        except RegistryError:
            raise
        except Exception as error:  # MLflow lets those of requests, SQLAlchemy and OS through
            raise self._explained(error, doing) from error

    def _connected(self) -> MlflowClient:
        with self._lock:
            if self._client is None:
                client_type = _import_client()
                # Both, or the registry would be looked for at MLflow's global default.
                self._client = client_type(
                    tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri
                )
            return self._client

    def _explained(self, error: Exception, doing: str) -> RegistryError:
        code = getattr(error, "error_code", None)
        words = " ".join(str(error).split())[:500]
        if code == "RESOURCE_DOES_NOT_EXIST":
            return MissingError(f"MLflow at {self.where}: {doing}: {words}")
        if _no_answer(error):
            return RegistryError(
                f"MLflow at {self.where} does not answer ({doing}): {words}; check that it runs, "
                "and mlflow.tracking_uri"
            )
        if code is not None:
            return RegistryError(f"MLflow at {self.where} refuses ({doing}): {words}")
        return RegistryError(
            f"MLflow at {self.where} fails ({doing}): {type(error).__name__}: {words}; check its "
            "log, its database and its artifact store"
        )


def without_password(uri: str) -> str:
    """`uri` with the password in it, if any, replaced by `***`."""
    scheme, separator, rest = uri.partition("://")
    login, at, host = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}{separator}{user}{colon}{'***' if colon else ''}{at}{host}"


def _import_client() -> type[MlflowClient]:
    with _import_lock:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        return MlflowClient


def _no_answer(error: BaseException) -> bool:
    """Whether `error`, or what it came from, is a failed connection.

    MLflow wraps it, sometimes without naming the cause (then it is the context).
    """
    from requests.exceptions import RequestException
    from sqlalchemy.exc import OperationalError

    lost = (RequestException, OperationalError, ConnectionError, TimeoutError)
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, lost):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
