"""What the recording ran on: processor, kernel, memory, and the versions of the programs."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from infra.recorder.catalogue import Workload
from infra.recorder.executables import RecorderError, program

_FLAGS = {
    "java": "-version",
    "nginx": "-v",
    "memcached": "-V",
    "openssl": "version",
    "awk": "-W version",
}


def _version(name: str) -> str:
    """The first line of a program's own version message."""
    command = [program(name), *_FLAGS.get(name, "--version").split()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
    )
    text = (done.stdout + done.stderr).strip().splitlines()
    return text[0].strip() if text else "unknown"


def describe(chosen: tuple[Workload, ...]) -> dict[str, Any]:
    """The machine and the programs; nothing that names the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    kib = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    versions = {"python": platform.python_version()}
    for name in sorted({w.program for w in chosen if not w.program.startswith("python:")}):
        try:
            versions[name] = _version(name)
        except (OSError, RecorderError, subprocess.TimeoutExpired):
            versions[name] = "unknown"
    return {
        "cpu_model": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": int(kib.group(1)) * 1024 if kib else None,
        "kernel": platform.release().split("-")[0],
        "system": platform.system(),
        "versions": versions,
    }
