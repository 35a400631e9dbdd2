"""Commands run in this process, in a home of their own, beside a trace and a platform."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.testbed import usage_trace
from infra.testbed.simulator import served
from pla.cli import main

START_S = 1_700_006_400 // 86_400 * 86_400


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`run("plan", "--json")`: that command in this process, in a home of its own."""
    monkeypatch.setenv("PLA_HOME", str(tmp_path / "home"))

    def call(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["pla", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Ran(
            code if isinstance(code, int) else 0, captured.out, " ".join(captured.err.split())
        )

    return call


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three workloads over three days."""
    path = tmp_path_factory.mktemp("trace") / "usage.parquet"
    random = np.random.default_rng(0)
    shape = 3 * 288, 3
    usage = np.stack([random.gamma(3.0, 0.1, shape), 1e8 + 1e7 * random.random(shape)], axis=1)
    usage_trace.write(path, ["a", "b", "c"], usage, START_S, 300)
    return path


Spoil = Callable[[Callable[[pa.Table], pa.Table]], Path]


@pytest.fixture
def spoil(trace: Path, tmp_path: Path) -> Spoil:
    """`spoil(change)`: the trace with its table changed."""

    def do(change: Callable[[pa.Table], pa.Table]) -> Path:
        path = tmp_path / "spoilt.parquet"
        pq.write_table(change(pq.read_table(trace)), path)
        return path

    return do


@pytest.fixture(scope="module")
def platform(trace: Path) -> Iterator[str]:
    """The address of a cluster that has lived through the trace's first two days."""
    with served(trace, 300, START_S + 2 * 86_400) as url:
        yield url


@pytest.fixture
def config(tmp_path: Path, platform: str) -> Path:
    """A pla.yaml for that platform; MLflow is down."""
    path = tmp_path / "pla.yaml"
    path.write_text(
        "tick: {interval_s: 300, step_s: 300, stale_after_s: 900}\n"
        f"simulator: {{enabled: true, url: {platform}}}\n"
        "mlflow: {tracking_uri: 'http://127.0.0.1:9'}\n",
        encoding="utf-8",
    )
    return path
