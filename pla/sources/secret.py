"""Secrets, which come from files and never from pla.yaml."""

from __future__ import annotations

from pathlib import Path

from pla.ports import SourceError


def read(file: Path, server: str, key: str) -> str:
    """The secret in `file`, without the line's end; `key` of `sources` names it for `server`.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{server}: sources.{key}: {file} cannot be read ({error}); check it"
        ) from None
