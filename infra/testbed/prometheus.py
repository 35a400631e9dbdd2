"""A private Prometheus for tests and benchmarks: own folder, a loopback port, Debian's program."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.testbed.debian import Unavailable, program
from infra.testbed.openmetrics import Series, write
from infra.testbed.processes import free_port, serving

__all__ = ["Prometheus", "Series", "Unavailable", "create_blocks", "prometheus"]


@dataclass(frozen=True)
class Prometheus:
    """A running server.

    Attributes:
        url: where it answers.
        log: what it said.
    """

    url: str
    log: Path


def create_blocks(series: Iterable[Series], database: Path) -> int:
    """Write `series` into a database folder that no server uses yet; returns the samples.

    Raises:
        Unavailable: promtool cannot be had.
        RuntimeError: it refuses the samples; holds its words.
    """
    promtool = program("prometheus", "promtool")
    database.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".om", dir=database.parent) as text:
        samples = write(series, text.file)  # type: ignore[arg-type] # a wrapper of TextIO
        text.flush()
        # One block for all of it: with the default of 2 h the text is read again per block.
        long_blocks = ["--max-block-duration=384h", text.name, str(database)]
        done = subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", *long_blocks],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"promtool refuses the samples: {done.stderr[-2000:]}")
    return samples


@contextmanager
def prometheus(
    folder: Path,
    *,
    targets: Sequence[str] = (),
    scrape_s: float = 1.0,
    rules: Sequence[Path] = (),
    options: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """A server over `folder`/data that scrapes `targets` (`HOST:PORT`) every `scrape_s` [s].

    It evaluates the rule files `rules` as often.

    Raises:
        Unavailable: it cannot be had or does not start.
    """
    server = program("prometheus", "prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    # JSON is YAML.
    config.write_text(json.dumps(_config(targets, scrape_s, rules)), encoding="utf-8")
    log = folder / "prometheus.log"
    url = f"http://127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        server,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--web.enable-admin-api",
        *options,
    ]
    with serving(command, log, f"{url}/-/ready"):
        yield Prometheus(url, log)


def _config(targets: Sequence[str], scrape_s: float, rules: Sequence[Path]) -> dict[str, object]:
    every = f"{round(scrape_s * 1000)}ms"
    jobs = [{"job_name": "pla", "static_configs": [{"targets": [*targets]}]}] if targets else []
    return {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": every,
        },
        "rule_files": [str(path.absolute()) for path in rules],
        "scrape_configs": jobs,
    }
