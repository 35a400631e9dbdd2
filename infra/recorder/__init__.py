"""Recorder of usage traces: real programs in cgroups, on a seeded schedule, in stretched time."""
