"""The simulator as a real process of its own, on a free loopback port or a Unix socket."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actuators.simulator import (
    ClusterOptions,
    ManualClock,
    SimulatedCluster,
    SimulatorActuator,
    SimulatorClient,
    SimulatorSource,
    open_cluster,
)
from actuators.simulator import journal as journals
from actuators.simulator.__main__ import main
from actuators.simulator.server import SimulatorServer
from actuators.simulator.service import Service
from pla.core.plan import OutcomeStatus, Resize
from pla.ports import ActuatorError, FleetPart, SourceError

STEP_S = 300
START_S = 1_760_313_600
LIVE_S = START_S + 6 * 86_400
REPOSITORY = Path(__file__).parents[2]

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(trace_file: Path) -> Iterator[Start]:
    """`start(*arguments)` runs a server and returns (process, url); all are ended afterwards."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "actuators.simulator", "serve", "--trace", str(trace_file)]
        process = subprocess.Popen(
            [*command, "--start", "2025-10-19T00:00:00Z", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if "listening on" in line:
                return process, line.split()[-1]
        raise AssertionError(f"the server ended with {process.wait()}")

    yield run
    for process in running:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def embedded(trace_file: Path) -> SimulatedCluster:
    return open_cluster(
        trace_file,
        start_s=LIVE_S,
        options=ClusterOptions(nodes=2, lead_s=2.0, initial_fraction=0.7),
    )


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def plan_at(part: FleetPart, step: int) -> list[Resize]:
    """Some growth, some shrinks, some nonsense; the same for the same fleet."""
    actions = []
    for row, (instance, version) in enumerate(
        zip(part.instances.ids, part.instances.version, strict=True)
    ):
        factor = 0.8 if (row + step) % 3 else 1.4
        for column, resource in enumerate(("cpu", "memory")):
            target = float(part.instances.current[row, column]) * factor
            actions.append(Resize(instance, "", resource, 0.0, target, 0, version))
    return [*actions, Resize("nobody-0", "", "cpu", 0.0, 1.0, 0, "0")]


def test_a_server_is_the_embedded_cluster_and_ends_on_sigterm(
    start: Start, trace_file: Path, tmp_path: Path
) -> None:
    process, url = start("--speed", "0", "--nodes", "2", "--initial", "0.7", "--socket",
                         str(tmp_path / "sim.sock"))  # fmt: skip
    assert url == f"unix:{tmp_path / 'sim.sock'}"
    client = SimulatorClient(url)
    cluster = embedded(trace_file)
    actuator, source = SimulatorActuator(cluster), SimulatorSource(cluster)
    resources = ("cpu", "memory")
    for step in range(1, 9):
        to_s = LIVE_S + step * STEP_S + 1
        cluster.advance(to_s)
        client.advance(to_s)
        assert client.now_s() == cluster.now_s
        mine, theirs = actuator.list(resources), client.list(resources)
        for a, b in ((mine.workloads, theirs.workloads), (mine.instances, theirs.instances)):
            for name in a.__dataclass_fields__:
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(mine.nodes.capacity, theirs.nodes.capacity)
        plan = plan_at(mine, step)
        ours = [(o.status, o.message, o.action) for o in actuator.apply(plan, soon())]
        over = [(o.status, o.message, o.action) for o in client.apply(plan, soon())]
        assert ours == over
        read = (mine.workloads.ids, resources, LIVE_S - 3600, int(to_s), STEP_S)
        x, y = source.read(*read), client.read(*read)
        np.testing.assert_array_equal(x.values, y.values)
        np.testing.assert_array_equal(x.censored, y.censored)
        np.testing.assert_array_equal(x.killed, y.killed)
        assert (x.end_s, x.step_s) == (y.end_s, y.step_s)
    assert client.totals() == cluster.stats().totals()
    np.testing.assert_array_equal(client.stats().resizes, cluster.stats().resizes)
    back = [(o.status, o.amount) for o in actuator.restore(None)]
    assert back == [(o.status, o.amount) for o in client.restore(None)] and len(back) > 4
    process.terminate()
    assert process.wait(10) == 0
    assert not (tmp_path / "sim.sock").exists()


def test_a_running_clock_is_the_servers_own_and_time_moves_without_requests(
    start: Start, tmp_path: Path
) -> None:
    _, url = start("--speed", "600", "--journal", str(tmp_path))
    client = SimulatorClient(url)
    before = client._get("/v1/clock")["now_s"]
    mine = client.now_s()
    after = client._get("/v1/clock")["now_s"]
    assert LIVE_S <= before <= mine <= after
    instance = client.list(("cpu",)).instances.ids[0]
    outcomes = list(client.apply([Resize(instance, "", "cpu", 0.0, 1.1, 0)], soon()))
    assert [o.status for o in outcomes] == [OutcomeStatus.ACCEPTED]
    lines = wait_for(lambda: journals.read(tmp_path / "resizes.jsonl"))
    assert [line["to"] for line in lines] == [1.1]
    assert lines[0]["at_s"] > LIVE_S and (lines[0]["seq"], lines[0]["version"]) == (1, "")
    with pytest.raises(ActuatorError, match=r"409.*--speed 0"):
        client.advance(1e12)


def wait_for(probe: Callable[[], list[Any]], seconds: float = 20.0) -> list[Any]:
    until = soon(seconds)
    while not (found := probe()):
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.02)
    return found


WORKER = """
    import itertools, sys, time
    from actuators.simulator import SimulatorClient
    from pla.core.plan import Resize
    client = SimulatorClient(sys.argv[1])
    for round in itertools.count():
        table = client.list(("cpu",)).instances
        plan = [Resize(i, "", "cpu", 0.0, 0.5 + ((round + row) % 40) / 100, 0, version)
                for row, (i, version) in enumerate(zip(table.ids, table.version))]
        list(client.apply(plan, time.monotonic() + 5))
        print(round, flush=True)
"""


@pytest.mark.faults
def test_the_platform_outlives_a_killed_client(start: Start, tmp_path: Path) -> None:
    _, url = start("--speed", "0", "--lead", "0", "--journal", str(tmp_path), "--replicas", "3")
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert worker.stdout is not None
    for _ in itertools.islice(worker.stdout, 5):
        pass
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    client = SimulatorClient(url)
    table = client.list(("cpu",)).instances
    lines = journals.read(tmp_path / "resizes.jsonl")
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    amount: dict[str, float] = {}
    for line in lines:  # each change starts from where the one before it ended
        assert amount.get(line["instance"], line["from"]) == line["from"] != line["to"]
        amount[line["instance"]] = line["to"]
    now = dict(zip(table.ids, table.current[:, 0].tolist(), strict=True))
    assert amount.items() <= now.items() and len(amount) == 12
    assert client.totals()["resizes"] == len(lines)


@pytest.mark.faults
def test_a_stopped_server_answers_no_one_and_does_nothing_late(
    start: Start, tmp_path: Path
) -> None:
    process, url = start("--speed", "0", "--lead", "0", "--journal", str(tmp_path))
    client = SimulatorClient(url, timeout_s=0.3)
    instance = client.list(("cpu",)).instances.ids[0]
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ActuatorError, match=f"{url}.*does not answer.*timed out"):
        list(client.apply([Resize(instance, "", "cpu", 0.0, 0.6, 0)], soon(0.3)))
    with pytest.raises(SourceError, match="does not answer"):
        client.read(("sim://app-0",), ("cpu",), LIVE_S - STEP_S, LIVE_S, STEP_S)
    process.send_signal(signal.SIGCONT)
    patient = SimulatorClient(url)
    assert patient.list(("cpu",)).instances.current[0, 0] != 0.6
    assert journals.read(tmp_path / "resizes.jsonl") == []


@pytest.mark.faults
def test_a_restarted_server_is_recognised_and_its_journal_goes_on(
    start: Start, tmp_path: Path
) -> None:
    socket = tmp_path / "sim.sock"
    arguments = ("--speed", "0", "--lead", "0", "--journal", str(tmp_path), "--socket", str(socket))
    process, url = start(*arguments)
    client = SimulatorClient(url)
    instance = client.list(("cpu",)).instances.ids[0]
    list(client.apply([Resize(instance, "", "cpu", 0.0, 0.6, 0)], soon()))
    process.kill()
    process.wait()
    with pytest.raises(ActuatorError, match="does not answer"):
        client.list(("cpu",))
    with (tmp_path / "resizes.jsonl").open("a") as file:
        file.write('{"seq": 2, "at')  # as a crash in mid-write leaves it
    _, again = start(*arguments, "--replicas", "2")
    assert again == url
    part = client.list(("cpu",))
    assert len(part.instances) == 8 and part.instances.current[0, 0] == 1.0
    list(client.apply([Resize(part.instances.ids[0], "", "cpu", 0.0, 0.75, 0)], soon()))
    lines = journals.read(tmp_path / "resizes.jsonl")
    assert [(line["seq"], line["to"]) for line in lines] == [(1, 0.6), (2, 0.75)]


def test_no_simulator_at_the_address() -> None:
    with pytest.raises(ActuatorError, match=r"127\.0\.0\.1:9.*python -m actuators.simulator"):
        SimulatorClient("http://127.0.0.1:9", timeout_s=1.0)
    with pytest.raises(ActuatorError, match=r"expected http://127\.0\.0\.1:PORT"):
        SimulatorClient("localhost:1234")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "loopback"),
        (("--host", "example.org"), "loopback"),
        (("--start", "yesterday"), "is no time"),
        (("--start", "2025-10-19T00:00:01Z"), "multiple of the step"),
        (("--speed", "-1"), "is no speed"),
        (("--nodes", "0"), "nodes"),
        (("--trace", "nowhere.parquet"), "nowhere.parquet: no such file"),
        (("--workloads", "nowhere.json"), "nowhere.json"),
        (("--initial", "-1"), "initial"),
        (("--lead", "-1"), "lead"),
    ],
)
def test_bad_usage_is_exit_code_2_and_words(
    trace_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.setattr(SimulatorServer, "serve", lambda server: pytest.fail("it serves"))
    code: Any
    try:
        code = main(["serve", "--trace", str(trace_file), *arguments])
    except SystemExit as left:
        code = left.code  # argparse leaves by itself
    assert code == 2
    assert words in capsys.readouterr().err


def test_a_foreign_file_in_the_journals_place_is_kept(tmp_path: Path) -> None:
    (tmp_path / "resizes.jsonl").write_text("shopping list\n")
    with pytest.raises(ValueError, match=r"resizes\.jsonl: line 1 is no journal line"):
        journals.Journal(tmp_path)
    assert (tmp_path / "resizes.jsonl").read_text() == "shopping list\n"


def test_requests_that_make_no_sense_are_answered_in_words(trace_file: Path) -> None:
    service = Service(embedded(trace_file), ManualClock(LIVE_S))
    asked = {
        "/v1/resize": [
            b"{",
            b"[]",
            b"{}",
            b'{"actions": [["a"]]}',
            b'{"actions": [["a","b","c",1]]}',
        ],
        "/v1/restore": [b'{"workloads": "all"}'],
        "/v1/advance": [b"{}", b'{"to_s": NaN}', b'{"to_s": 5}'],
    }
    for path, bodies in asked.items():
        for body in bodies:
            answer = service.post(path, body)
            assert answer.status == 400 and json.loads(answer.body)["error"], (path, body)
    assert service.get("/v1/usage", {"start_s": "x"}).status == 400
    assert service.get("/v1/nothing", {}).status == service.post("/", b"{}").status == 404
