"""One `pla up` per home, and what the second is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from flows.local.exclusive import AlreadyRunning, hold
from flows.local.ports import PortTaken, choose, free_port
from pla import home

STATE = home.Running(
    pid=os.getpid(),
    since_s=1_791_806_400.0,
    prefect_api_url="http://127.0.0.1:4201/api",
    mlflow_uri="http://127.0.0.1:5001",
    simulator_url="http://127.0.0.1:6001",
)


def test_a_second_one_is_told_what_runs(tmp_path: Path) -> None:
    with hold(tmp_path):
        home.write(tmp_path, STATE)
        with pytest.raises(AlreadyRunning) as refusal:
            hold(tmp_path)
    words = str(refusal.value)
    for fact in (
        str(tmp_path),
        f"pid {os.getpid()}",
        "2026-10-12 12:00:00 UTC",
        "http://127.0.0.1:4201",
        "http://127.0.0.1:5001",
        "http://127.0.0.1:6001",
    ):
        assert fact in words
    assert "/api" not in words, "people open the UI, not the API"


def test_one_that_is_just_starting_is_refused_too(tmp_path: Path) -> None:
    with hold(tmp_path), pytest.raises(AlreadyRunning, match="just starting"):
        hold(tmp_path)


def test_the_next_one_may_start_and_forgets_a_killed_one(tmp_path: Path) -> None:
    with hold(tmp_path):
        home.write(tmp_path, STATE)
    with hold(tmp_path):
        assert home.running(tmp_path) is None


def test_a_taken_port_is_replaced_unless_it_is_fixed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose("prefect.port", "127.0.0.1", port, fixed=False) != port
        with pytest.raises(PortTaken, match=rf"prefect\.port: port {port} on 127\.0\.0\.1"):
            choose("prefect.port", "127.0.0.1", port, fixed=True)


def test_a_free_port_is_the_wanted_one() -> None:
    wanted = free_port("127.0.0.1")
    assert choose("prefect.port", "127.0.0.1", wanted, fixed=True) == wanted
