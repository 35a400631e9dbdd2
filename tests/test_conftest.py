"""A skip of a required test is a failure: the rule of `conftest.py`, seen from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

@pytest.mark.docker
def test_docker():
    pytest.skip("no Docker Engine here")

@pytest.mark.kvm
@pytest.mark.skipif(True, reason="no libvirtd here")
def test_kvm():
    pass

@pytest.fixture
def server():
    pytest.skip("no server here")

@pytest.mark.prometheus
def test_prometheus(server):
    pass

@pytest.mark.docker
@pytest.mark.xfail(reason="known", strict=True)
def test_expected():
    assert False

def test_unmarked():
    pytest.skip("no trace here")

@pytest.mark.docker
def test_fine():
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(SUITE)
    pytester.makeini(
        "[pytest]\nmarkers =\n    docker: a\n    kvm: b\n    prometheus: c\n    prefect: d\n"
    )
    return pytester


@pytest.mark.parametrize(
    ("required", "wrong"),
    [
        ("", set()),
        ("docker", {"test_docker"}),
        ("kvm, prometheus", {"test_kvm", "test_prometheus"}),
        ("prefect", set()),
        ("all", {"test_docker", "test_kvm", "test_prometheus"}),
    ],
)
def test_a_skip_of_a_required_test_is_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, wrong: set[str]
) -> None:
    monkeypatch.setenv("PLA_TEST_REQUIRE", required)
    result = suite.runpytest_inprocess("-rfE", "-p", "no:cacheprovider")
    lines = [line.split()[1] for line in result.outlines if line.startswith(("FAILED", "ERROR "))]
    assert {line.split("::")[-1] for line in lines} == wrong
    # A skip before the test itself fails in its setup, which pytest counts as an error.
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == len(wrong)
    assert outcomes.get("skipped", 0) == 4 - len(wrong)
    assert (outcomes["passed"], outcomes["xfailed"]) == (1, 1)


def test_the_failure_says_what_was_required_and_why_it_was_skipped(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLA_TEST_REQUIRE", "docker")
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["*PLA_TEST_REQUIRE wants the tests marked docker: *no Docker Engine here*"]
    )


def test_a_name_that_no_test_carries_is_refused(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLA_TEST_REQUIRE", "dokcer")
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*PLA_TEST_REQUIRE: no such marker: dokcer"])


@pytest.mark.parametrize(("required", "failing"), [("", False), ("all", True)])
def test_a_module_may_not_skip_itself_when_all_are_required(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, failing: bool
) -> None:
    suite.makepyfile(test_module='import pytest\npytest.importorskip("no_such_module")\n')
    monkeypatch.setenv("PLA_TEST_REQUIRE", required)
    result = suite.runpytest_inprocess("test_module.py", "-p", "no:cacheprovider")
    assert (result.ret == pytest.ExitCode.INTERRUPTED) is failing
