"""`python -m tests.benchmarks [NAME ...]`: print the figures that the documents quote.

Times are of this machine at this moment: compare ratios within one run.
"""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = ("schedule", "tick", "closed_loop", "open_loop", "prometheus", "influxdb")


def main() -> int:
    """Runs the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}: there are {', '.join(NAMES)}")
        print(f"\n== {name} ==", flush=True)
        importlib.import_module(f"tests.benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
