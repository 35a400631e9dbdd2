"""The kinds of real work that `service.py` does per request; one unit takes about a millisecond."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import sqlite3
import zlib
from pathlib import Path
from typing import Any, Protocol


class Work(Protocol):
    """One unit of work; `data` is a private directory."""

    def unit(self) -> None:
        """Does it."""


def _log_lines(rng: random.Random, lines: int) -> bytes:
    words = [
        "GET /cart",
        "POST /order",
        "GET /item",
        "PUT /user",
        "error timeout",
        "warn retry",
        "info ok",
    ]
    rows = (
        f"{rng.choice(words)}/{rng.randrange(9999)} status={rng.choice([200, 200, 304, 500])}"
        f" ms={rng.random():.4f}"
        for _ in range(lines)
    )
    return "\n".join(rows).encode()


class Json:
    """Encodes and decodes an order document."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._doc = {
            "items": [
                {
                    "id": i,
                    "sku": f"sku-{rng.randrange(10**6)}",
                    "price": i * 1.25,
                    "tags": ["a", str(i)],
                }
                for i in range(480)
            ]
        }

    def unit(self) -> None:
        """See `Work`."""
        json.loads(json.dumps(self._doc))


class Zlib:
    """Compresses 60 kB of log lines."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._text = _log_lines(rng, 1_400)

    def unit(self) -> None:
        """See `Work`."""
        zlib.compress(self._text, 6)


class Hash:
    """Checks a password hash (PBKDF2)."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._salt = rng.randbytes(16)

    def unit(self) -> None:
        """See `Work`."""
        hashlib.pbkdf2_hmac("sha256", b"correct horse", self._salt, 3_800)


class Regex:
    """Parses log lines with a regular expression."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._text = _log_lines(rng, 1_400)
        self._pattern = re.compile(rb"(\w+) /(\w+)/(\d+) status=(\d+) ms=([\d.]+)")

    def unit(self) -> None:
        """See `Work`."""
        sum(int(match.group(4)) for match in self._pattern.finditer(self._text))


class Sort:
    """Ranks 22,000 scores."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._values = [rng.random() for _ in range(22_000)]

    def unit(self) -> None:
        """See `Work`."""
        sorted(self._values)


class Sqlite:
    """Inserts twenty orders and aggregates the last thousand, in a database file."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._rng = rng
        self._db = sqlite3.connect(data / "orders.sqlite")
        self._db.executescript(
            "pragma journal_mode=wal; pragma synchronous=off; drop table if exists o;"
            "create table o (id integer primary key, customer int, cents int)"
        )

    def unit(self) -> None:
        """See `Work`."""
        rows = [(self._rng.randrange(5_000), self._rng.randrange(10_000)) for _ in range(20)]
        with self._db:
            self._db.executemany("insert into o (customer, cents) values (?, ?)", rows)
            self._db.execute("delete from o where id < (select max(id) from o) - 5000")
        query = (
            "select customer % 50, sum(cents) from o"
            " where id > (select max(id) from o) - 1000 group by 1"
        )
        self._db.execute(query).fetchall()


class FileIo:
    """Appends 64 kB to a log, reads back the last megabyte, rotates at 24 MB."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        self._path = data / "service.log"
        self._block = _log_lines(rng, 1_300)

    def unit(self) -> None:
        """See `Work`."""
        with self._path.open("ab+") as file:
            file.write(self._block)
            size = file.tell()
            file.seek(max(0, size - 1_000_000))
            file.read().count(b"error")
        if size > 24_000_000:
            self._path.replace(self._path.with_suffix(".old"))


class Image:
    """Makes a thumbnail of a photo-sized picture and encodes it as JPEG (Pillow)."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        from PIL import Image as Pillow

        self._picture = Pillow.frombytes("RGB", (320, 240), rng.randbytes(320 * 240 * 3))

    def unit(self) -> None:
        """See `Work`."""
        self._picture.resize((160, 120)).save(io.BytesIO(), "JPEG", quality=80)


class Matmul:
    """Scores a batch against an embedding table (numpy)."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        import numpy as np

        generator = np.random.default_rng(rng.randrange(2**31))
        self._table = generator.normal(size=(40_000, 32)).astype(np.float32)
        self._query = generator.normal(size=(32, 8)).astype(np.float32)

    def unit(self) -> None:
        """See `Work`."""
        (self._table @ self._query).argmax(axis=0)


class Predict:
    """Predicts with a random forest, and refits it once every 400 units (scikit-learn)."""

    def __init__(self, data: Path, rng: random.Random) -> None:
        import numpy as np
        from sklearn.ensemble import RandomForestClassifier

        generator = np.random.default_rng(rng.randrange(2**31))
        self._x = generator.normal(size=(2_000, 12)).astype(np.float32)
        self._y = (self._x[:, 0] * self._x[:, 1] > 0.2).astype(int)
        self._model: Any = RandomForestClassifier(20, max_depth=9, random_state=0)
        self._model.fit(self._x, self._y)
        self._done = 0

    def unit(self) -> None:
        """See `Work`."""
        self._model.predict(self._x[:100])
        self._done += 1
        if self._done % 400 == 0:
            self._model.fit(self._x, self._y)


KINDS: dict[str, type[Any]] = {
    "json": Json,
    "zlib": Zlib,
    "hash": Hash,
    "regex": Regex,
    "sort": Sort,
    "sqlite": Sqlite,
    "fileio": FileIo,
    "image": Image,
    "matmul": Matmul,
    "predict": Predict,
}
