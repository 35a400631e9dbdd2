"""Prefect: the flows, the worker that runs them, their deployments, and `pla up`.

The only code that imports Prefect. Nothing in `pla` or `actuators` imports this; the command line
loads `flows.up` by name.
"""
