"""Checks the documents: what they name must exist.

Every relative link and anchor leads somewhere, every `make` target and `pla` command is there.
Exit 1 with one line per fault.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TARGET = re.compile(r"`?\bmake ([a-z][a-z-]*)")
COMMAND = re.compile(r"`pla ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")


def documents() -> list[Path]:
    """Every Markdown file that git knows, or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def anchors(path: Path) -> set[str]:
    """The anchors that a Markdown page's headings make, as code hosts build them."""
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = re.sub(r"[`*]", "", line.lstrip("#").strip().lower())
            found.add(re.sub(r"[^\w\- ]", "", title).replace(" ", "-"))
    return found


def broken_links(path: Path) -> list[str]:
    """Relative links of `path` that lead nowhere."""
    faults = []
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        page = (path.parent / target).resolve() if target else path
        if not page.exists():
            faults.append(f"{path.relative_to(ROOT)}: link to {link}: no such file")
        elif anchor and page.suffix == ".md" and anchor not in anchors(page):
            faults.append(f"{path.relative_to(ROOT)}: link to {link}: no such heading")
    return faults


def unknown_targets(path: Path, targets: set[str]) -> list[str]:
    """`make` targets that `path` names and the Makefile lacks."""
    named = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if "`make " in line or line.startswith(("make ", "    make ")):
            named.update(TARGET.findall(line))
    return [f"{path.relative_to(ROOT)}: no target `make {name}`" for name in named - targets]


def unknown_commands(path: Path, commands: set[tuple[str, ...]]) -> list[str]:
    """`pla` commands that `path` names and the program lacks."""
    faults = []
    for first, second in COMMAND.findall(path.read_text(encoding="utf-8")):
        group = any(command[0] == first and len(command) > 1 for command in commands)
        wanted = (first, second) if group and second else (first,)
        known = commands | {command[:1] for command in commands}
        if wanted not in known:
            faults.append(f"{path.relative_to(ROOT)}: no command `pla {' '.join(wanted)}`")
    return faults


def main() -> int:
    """Prints the faults; 1 if there are any."""
    sys.path.insert(0, str(ROOT))
    from pla.cli import command_names

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    commands = command_names()
    faults = []
    for path in documents():
        faults += broken_links(path)
        faults += unknown_targets(path, targets)
        faults += unknown_commands(path, commands)
    print("\n".join(faults) if faults else f"{len(documents())} documents: links and names hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
