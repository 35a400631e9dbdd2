"""`python -m pla.cli` is `pla`."""

from pla.cli import main

main()
