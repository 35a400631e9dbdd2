"""A connection is cut when its time has come, also where the time came before the connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from pla.sources.hard_deadline import HardDeadline

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def ended(connection: socket.socket) -> bool:
    """Whether a read comes back with nothing, instead of waiting for who does not send."""
    return connection.recv(1) == b""


def test_a_reader_that_waits_is_cut(pair: Pair) -> None:
    with HardDeadline(0.05) as deadline:
        deadline.hold(pair[0])
        assert ended(pair[0])
    assert deadline.passed


def test_a_connection_that_comes_too_late_is_cut_at_once(pair: Pair) -> None:
    with HardDeadline(0.0) as deadline:
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(20)
        deadline.hold(pair[0])
        assert ended(pair[0])


def test_a_copy_cuts_the_connection_whoever_has_taken_the_socket_over(pair: Pair) -> None:
    copy = pair[0].dup()
    taken_over = socket.socket(fileno=pair[0].detach())  # as TLS does
    taken_over.settimeout(20)
    with copy, taken_over, HardDeadline(0.05) as deadline:
        deadline.hold(copy)
        assert ended(taken_over)


def test_what_ends_in_time_stays_open(pair: Pair) -> None:
    with HardDeadline(60.0) as deadline:
        deadline.hold(pair[0])
    assert not deadline.passed
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"
