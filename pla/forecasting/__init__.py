"""Forecasts from a usage window: the champion model, and what acts before there is one."""
