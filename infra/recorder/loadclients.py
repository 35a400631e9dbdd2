"""One client per kind of server: a call of `request` is one real request."""

from __future__ import annotations

import http.client
import random
import socket
from typing import Any, Protocol

TIMEOUT_S = 5.0


class Client(Protocol):
    """A kept-alive connection to one server; OSError means: reconnect."""

    def request(self) -> tuple[int, int]:
        """Sends one request and reads its answer; returns bytes the server received and sent."""
        ...

    def close(self) -> None:
        """Closes the connection."""


class Http:
    """GETs one of the bodies, gzip accepted; small bodies are asked for more often."""

    def __init__(self, target: dict[str, Any], rng: random.Random) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", target["port"], timeout=TIMEOUT_S
        )
        self._rng = rng

    def request(self) -> tuple[int, int]:
        """See `Client`."""
        path = f"/{min(11, int(self._rng.expovariate(0.35)))}.json"
        try:
            self._connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
            body = self._connection.getresponse().read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        return 120, len(body) + 220

    def close(self) -> None:
        """See `Client`."""
        self._connection.close()


class _Lines:
    """A socket with buffered reads of lines."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> bytes:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        return line

    def skip(self, size: int) -> None:
        if len(self._file.read(size)) != size:
            raise ConnectionError("the server closed the connection")

    def close(self) -> None:
        """See `Client`."""
        self._file.close()
        self._socket.close()


def _resp(*words: object) -> bytes:
    parts = [str(word).encode() if not isinstance(word, bytes) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(
        b"$%d\r\n%b\r\n" % (len(part), part) for part in parts
    )


class Redis:
    """A pipeline per request: sets and gets with expiry, a sorted set, and a union of two sets."""

    def __init__(self, target: dict[str, Any], rng: random.Random) -> None:
        self._lines, self._rng = _Lines(target["port"]), rng
        self._ttl_s, self._value = target["ttl_s"], rng.randbytes(target["value_bytes"])
        self._heavy = target.get("heavy", 1)
        for name in ("a", "b"):
            self._pipeline([_resp("SADD", name, *(rng.randrange(10**6) for _ in range(1_500)))])

    def request(self) -> tuple[int, int]:
        """See `Client`."""
        key = self._rng.randrange(10**9)
        commands = [_resp("SET", f"s:{key + i}", self._value, "EX", self._ttl_s) for i in range(4)]
        commands += [_resp("GET", f"s:{key + i % 4}") for i in range(8)]
        commands += [
            _resp("ZADD", "board", key % 10_007, f"m{key % 3_000}"),
            _resp("ZREVRANGE", "board", 0, 20),
        ]
        commands += [_resp("SUNIONSTORE", "u", "a", "b")] * self._heavy
        return self._pipeline(commands)

    def _pipeline(self, commands: list[bytes]) -> tuple[int, int]:
        data = b"".join(commands)
        self._lines.send(data)
        return len(data), sum(self._reply() for _ in commands)

    def _reply(self) -> int:
        line = self._lines.line()
        size = len(line)
        if line[:1] == b"$" and line[1:2] != b"-":
            body = int(line[1:]) + 2
            self._lines.skip(body)
            size += body
        elif line[:1] == b"*":
            size += sum(self._reply() for _ in range(int(line[1:])))
        return size

    def close(self) -> None:
        """See `Client`."""
        self._lines.close()


class Memcached:
    """A multi-get of 40 keys, a fifth of them new, and 8 sets."""

    def __init__(self, target: dict[str, Any], rng: random.Random) -> None:
        self._lines, self._rng = _Lines(target["port"]), rng
        self._value = rng.randbytes(target["value_bytes"])
        self._newest = 0

    def request(self) -> tuple[int, int]:
        """See `Client`."""
        first = self._newest
        self._newest += 8
        size = len(self._value)
        sets = b"".join(
            b"set k%d 0 0 %d noreply\r\n%b\r\n" % (first + i, size, self._value) for i in range(8)
        )
        keys = b" ".join(
            b"k%d" % max(0, first + 8 - int(self._rng.expovariate(0.002)) - 1) for _ in range(40)
        )
        data = sets + b"get " + keys + b"\r\n"
        self._lines.send(data)
        sent = 0
        while True:
            line = self._lines.line()
            sent += len(line)
            if line.startswith(b"END"):
                return len(data), sent
            if not line.startswith(b"VALUE"):
                raise ConnectionError(f"unexpected reply {line[:40]!r}")
            body = int(line.rsplit(b" ", 1)[1]) + 2
            self._lines.skip(body)
            sent += body

    def close(self) -> None:
        """See `Client`."""
        self._lines.close()


class Java:
    """One line per request to the JVM service."""

    def __init__(self, target: dict[str, Any], rng: random.Random) -> None:
        self._lines = _Lines(target["port"])

    def request(self) -> tuple[int, int]:
        """See `Client`."""
        self._lines.send(b"query\n")
        return 6, len(self._lines.line())

    def close(self) -> None:
        """See `Client`."""
        self._lines.close()


CLIENTS: dict[str, type[Any]] = {
    "nginx": Http,
    "redis": Redis,
    "memcached": Memcached,
    "java": Java,
}
