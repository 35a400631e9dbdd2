"""The inputs of jobs and servers: logs, C sources, response bodies; seeded, in the run's folder."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
LOG_BYTES = {"s": 500_000, "m": 2_000_000, "l": 6_000_000}
C_FUNCTIONS = {"s": 25, "m": 80, "l": 200}
BODIES = 12


_C_FUNCTION = """int f%d(int *a, int n) { int s = %d; char b[64];
  for (int i = 0; i < n; i++) { s += a[i] * %d ^ (s >> %d);
    switch (s %% 5) { case 0: s -= a[n - i - 1]; break;
      case 1: snprintf(b, 64, "%%d", s); s += strlen(b); break;
      case 2: s ^= %d; break; default: s++; } }
  return s; }"""


def _log(rng: random.Random, size: int) -> str:
    paths = ["cart", "order", "item", "user", "search", "login", "static"]
    lines, length = [], 0
    while length < size:
        line = (
            f"10.0.{rng.randrange(256)}.{rng.randrange(256)} - - [{rng.randrange(10**6)}] "
            f'"{rng.choice(["GET", "POST", "PUT"])} /{rng.choice(paths)}/{rng.randrange(9999)}" '
            f"{rng.choice([200, 200, 200, 304, 404, 500])} {rng.expovariate(8):.4f}"
        )
        lines.append(line)
        length += len(line) + 1
    return "\n".join(lines) + "\n"


def _c_source(rng: random.Random, functions: int) -> str:
    parts = ["#include <stdio.h>", "#include <string.h>"]
    for i in range(functions):
        numbers = (
            rng.randrange(99),
            rng.randrange(1, 99),
            rng.randrange(1, 9),
            rng.randrange(9999),
        )
        parts.append(_C_FUNCTION % (i, *numbers))
    return "\n".join(parts) + "\n"


def write_corpus(folder: Path, seed: int) -> None:
    """Logs and C sources in three sizes, and the small programs that jobs run."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for size, length in LOG_BYTES.items():
        (folder / f"log-{size}.txt").write_text(_log(rng, length))
    for size, functions in C_FUNCTIONS.items():
        (folder / f"unit-{size}.c").write_text(_c_source(rng, functions))
    for program in PROGRAMS.iterdir():
        if program.suffix != ".java":
            shutil.copy(program, folder / program.name)
    (folder / "commit.sh").chmod(0o755)


def write_bodies(folder: Path, body_kb: int, seed: int) -> None:
    """Twelve JSON-like response bodies around `body_kb`, from half to twice of it."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for i in range(BODIES):
        size = int(body_kb * 1024 * (0.5 + 1.5 * i / (BODIES - 1)))
        (folder / f"{i}.json").write_text(_log(rng, size))
