"""What `make run` says on a machine that lacks something, before it installs anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def bootstrap(python: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`make run` as far as the virtual environment, which would be made in `folder`."""
    venv = folder / "venv"
    return subprocess.run(
        ["make", "run", f"PYTHON={python}", f"VENV={venv}"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python_that_lacks(word: str, folder: Path) -> str:
    """A Python that fails whenever `word` is in what it is asked to run."""
    program = folder / "python3"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$*$(test -t 0 || cat)" in *{word}*) exit 1;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("lacks", "cure"),
    [
        ("ensurepip", "sudo apt-get install python3-venv"),
        ("version_info", "PLA needs Python 3.11 to 3.13 (choose with PYTHON=python3.12 make ...)"),
    ],
)
def test_what_is_missing_is_named_with_its_cure(tmp_path: Path, lacks: str, cure: str) -> None:
    ended = bootstrap(python_that_lacks(lacks, tmp_path), tmp_path)
    assert ended.returncode == 2  # make's own, for a command that failed
    assert cure in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "venv").exists()


def test_no_python_at_all(tmp_path: Path) -> None:
    ended = bootstrap("python3-of-nowhere", tmp_path)
    assert ended.returncode == 2
    assert "python3-of-nowhere is missing" in ended.stderr
    assert "sudo apt-get install python3 python3-venv" in ended.stderr
